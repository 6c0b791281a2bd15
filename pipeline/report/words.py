"""Figures in the words of the report."""

from __future__ import annotations

from pipeline.report.models import Figure

__all__ = ["UNKNOWN", "change", "duration", "figure", "many", "percent", "plain"]

UNKNOWN = "–"


def duration(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 03 min`; a dash for None."""
    if seconds is None:
        return UNKNOWN
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min"


def many(count: int, one: str, more: str = "") -> str:
    """`1 image`, `1,200 images`."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def figure(found: Figure | float | None) -> str:
    """`0.692`, with its interval where there is one: `0.692 (0.650–0.731)`."""
    value = found.value if isinstance(found, Figure) else found
    if value is None:
        return UNKNOWN
    if isinstance(found, Figure) and found.low is not None and found.high is not None:
        return f"{value:.3f} ({found.low:.3f}–{found.high:.3f})"
    return f"{value:.3f}"


def change(difference: Figure) -> str:
    """`+0.079`; a dash where it is not known."""
    return UNKNOWN if difference.value is None else f"{difference.value:+.3f}"


def percent(share: float | None) -> str:
    """`83 %`; a dash for None."""
    return UNKNOWN if share is None else f"{100 * share:.0f} %"


def plain(name: str) -> str:
    """A name of the configuration as words."""
    return name.replace("_", " ")
