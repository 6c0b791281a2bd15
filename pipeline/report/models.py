"""How good the models have become: the report's facts about every round's candidate and the champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.domain.metrics import ClassMetrics, Metrics
from pipeline.store.workspace import Workspace

__all__ = ["Figure", "Models", "Trial", "models_of"]


@dataclass(frozen=True)
class Figure:
    """A figure in [0, 1], None where it is not known, with the ends of its interval where there is one."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Trial:
    """One round's candidate against the champion it met, on the same held-out images."""

    round: int
    labelled: int
    instances: int
    clicks: int
    human_seconds: float
    candidate: str
    champion: str
    figure: Figure
    standing: Figure
    promoted: bool
    reason: str
    metrics: Metrics


@dataclass(frozen=True)
class Models:
    """`kind` is what figures speak of: "mask", or "box" where the held-out truth has no masks. `start` is the figure
    of the detector's own starting weights, `champion` that of the model in use (None: the starting weights).
    """

    kind: str
    trials: Sequence[Trial]
    start: Figure
    champion: str | None
    figure: Figure

    @property
    def held_out(self) -> int:
        """Images of the held-out split that the newest trial was made on."""
        return self.trials[-1].metrics.images if self.trials else 0

    @property
    def classes(self) -> Mapping[str, ClassMetrics]:
        """The newest candidate's figures by class."""
        return self.trials[-1].metrics.per_class if self.trials else {}


def models_of(workspace: Workspace) -> Models:
    """Facts of every finished round."""
    ledger = workspace.ledger
    rounds = ledger.rounds.all()
    masks = any(row.metrics.mask_map50_95 is not None for row in rounds)
    key = "mask_map50_95" if masks else "box_map50_95"
    trials = []
    for row in rounds:
        facts = ledger.rounds.marked(row.round, "evaluate") or {}
        trials.append(
            Trial(
                round=row.round,
                labelled=row.labelled,
                instances=row.instances,
                clicks=row.clicks,
                human_seconds=row.human_seconds,
                candidate=str(facts.get("model", "")),
                champion=str(facts.get("champion", "")),
                figure=Figure(getattr(row.metrics, key)),
                standing=Figure((facts.get("standing") or {}).get(key)),
                promoted=row.promoted,
                reason="",
                metrics=row.metrics,
            )
        )
    start = trials[0].standing if trials else Figure(None)
    last = trials[-1] if trials else None
    now = Figure(None) if last is None else last.figure if last.promoted else last.standing
    return Models("mask" if masks else "box", trials, start, ledger.pointers.get("champion"), now)
