"""Whether a candidate takes the champion's place, and why, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.domain.bootstrap import FEWEST, Compared, Comparison, Estimate

__all__ = ["COLLAPSE", "Decision", "decide"]

COLLAPSE = 0.5
"""A candidate below this share of the champion's figure did not learn: its training went wrong."""


@dataclass(frozen=True)
class Decision:
    """The gate's word. `reasons` are sentences, the one that decided first; `comparison` is what they rest on."""

    promoted: bool
    reasons: tuple[str, ...]
    comparison: Comparison

    @property
    def reason(self) -> str:
        return "; ".join(self.reasons)

    def row(self) -> dict[str, Any]:
        """All figures as plain JSON values, by the names of `Comparison`, `Compared` and `Estimate`."""
        return asdict(self.comparison)


def decide(
    comparison: Comparison,
    *,
    found: tuple[int, int],
    min_gain: float = 0.0,
    tolerance: Mapping[str, float] | None = None,
) -> Decision:
    """Promote only what is better beyond doubt, and loses no class.

    The gain is real if its interval lies over `min_gain`; a negative one asks less: that the candidate is not worse
    by more than that. Whatever the gain, no class may lose more than its `tolerance` (mAP50-95; a class that is not
    named may lose anything) if the loss is no chance either, which means that its interval lies below 0. So a rare
    class cannot be traded for a frequent one, and noise in a class with three objects stops nobody.

    `found` is how many detections the candidate and the champion made at all. A candidate that finds nothing where the
    champion does, or reaches less than half of its figure, has collapsed. Where no image has truth, no model can ever
    have a figure: then the newest, which has learnt from the most answers, takes over, or the loop would never use
    what people said. Where fewer than `FEWEST` images have some, a gain cannot be told from luck, and the champion
    stays: a person may promote by hand.
    """
    whole = comparison.whole
    if (problem := _collapse(comparison, *found)) is not None:
        return Decision(False, (problem,), comparison)
    if whole is None:
        return Decision(
            True, ("no held-out image has labels to judge it by: the newest model takes over",), comparison
        )
    if whole.difference.low is None:
        return Decision(False, (_too_few(comparison, whole),), comparison)
    losses = _losses(comparison, tolerance or {})
    gained = whole.difference.low > min_gain
    told = _gain(comparison, whole, min_gain) if gained else _no_gain(comparison, whole, min_gain)
    return Decision(gained and not losses, (*losses, told) if gained else (told, *losses), comparison)


def _collapse(comparison: Comparison, candidate: int, champion: int) -> str | None:
    if not candidate and champion:
        return f"collapsed: it finds nothing at all in {comparison.images} held-out images"
    whole = comparison.whole
    if whole is None or whole.candidate.value >= COLLAPSE * whole.champion.value:
        return None
    return f"collapsed: {_change(comparison, whole)}, less than half"


def _too_few(comparison: Comparison, whole: Compared) -> str:
    return (
        f"{_change(comparison, whole)}, but only {whole.units} held-out images show anything: fewer than {FEWEST} "
        "cannot tell a gain from luck; label more of them, or promote by hand"
    )


def _losses(comparison: Comparison, tolerance: Mapping[str, float]) -> list[str]:
    """The classes that lose too much, in words."""
    told = []
    for name, row in comparison.classes.items():
        loss, certain = -row.difference.value, row.difference.high is not None and row.difference.high < 0
        if certain and loss > tolerance.get(name, 1.0):
            told.append(
                f"class {name} loses {loss:.3f} ({_interval(comparison, row.difference)}), more than its tolerance of "
                f"{tolerance[name]:g}"
            )
    return told


def _gain(comparison: Comparison, whole: Compared, min_gain: float) -> str:
    asked = f": a loss of more than {-min_gain:g} is ruled out" if min_gain < 0 else ""
    asked = f": more than {min_gain:g} beyond doubt" if min_gain > 0 else asked
    return f"{_change(comparison, whole)} ({_basis(comparison, whole)}){asked}"


def _no_gain(comparison: Comparison, whole: Compared, min_gain: float) -> str:
    told = f"{_change(comparison, whole)} ({_basis(comparison, whole)})"
    if whole.difference.value <= min_gain:
        wanted = f", and must gain more than {min_gain:g}" if min_gain > 0 else ""
        return f"{told}: no gain{wanted}"
    return f"{told}: that may be chance; more labelled held-out images would narrow the interval"


def _change(comparison: Comparison, whole: Compared) -> str:
    before, after = whole.champion.value, whole.candidate.value
    verb = "rises" if after > before else "falls" if after < before else "stays"
    to = f" to {after:.3f}" if after != before else ""
    return f"{comparison.by} mAP50-95 {verb} {'from' if to else 'at'} {before:.3f}{to}"


def _basis(comparison: Comparison, whole: Compared) -> str:
    drawn = f"{comparison.images} held-out images"
    if comparison.units < comparison.images:
        drawn += f" in {comparison.units} groups"
    return f"by {whole.difference.value:+.3f}, {_interval(comparison, whole.difference)}, {drawn}"


def _interval(comparison: Comparison, estimate: Estimate) -> str:
    level = f"{100 * comparison.confidence_level:g} % interval"
    if estimate.low is None or estimate.high is None:
        return f"no {level}"
    return f"{level} {estimate.low:+.3f} to {estimate.high:+.3f}"
