"""How good the models have become: the report's facts about every round's candidate and the champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.domain.metrics import Metrics
from pipeline.domain.rounds import Round
from pipeline.services.judging import START
from pipeline.store.promotions import Promotion
from pipeline.store.workspace import Workspace

__all__ = ["Figure", "Models", "Trial", "Versus", "models_of"]


_BY_THE_GATE = ("promoted", "kept")


@dataclass(frozen=True)
class Figure:
    """A figure, None where it is not known, with the ends of its interval where there is one."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Versus:
    """One figure in [0, 1] of the candidate and of the champion, and by how much the candidate's is higher.

    `instances` is how many true objects it rests on.
    """

    instances: int
    candidate: Figure
    champion: Figure
    difference: Figure


@dataclass(frozen=True)
class Trial:
    """One round's candidate against the champion it met, on the same held-out images. Counts are totals so far."""

    round: int
    labelled: int
    clicks: int
    human_seconds: float
    candidate: str
    champion: str
    whole: Versus
    promoted: bool
    reason: str
    classes: Mapping[str, Versus]
    sizes: Mapping[str, Versus]


@dataclass(frozen=True)
class Models:
    """`kind` is what figures speak of, as the gate does: "mask", or "box" where the held-out truth has no masks.

    `start` is the figure of the detector's own starting weights, `figure` that of the `champion` (None: the starting
    weights still), on `held_out` images with intervals at `level`. `by_hand` are the decisions that people made;
    `chosen` is the one by which the champion stands, None where the gate's word or nobody's made it champion, and
    `best` the other candidate that had the highest figure, None where none was higher than the champion's.
    """

    kind: str
    trials: Sequence[Trial]
    start: Figure
    champion: str | None
    figure: Figure
    held_out: int
    level: float | None
    by_hand: Sequence[Promotion]
    chosen: Promotion | None
    best: Trial | None


def models_of(workspace: Workspace) -> Models:
    """Facts of every finished round."""
    ledger = workspace.ledger
    rounds = ledger.rounds.all()
    every = ledger.promotions.all()
    decisions = {row.round: row for row in every if row.decision in _BY_THE_GATE}
    kind = _kind(rounds, decisions)
    trials = [
        _trial(row, ledger.rounds.marked(row.round, "evaluate") or {}, decisions.get(row.round), kind)
        for row in rounds
    ]
    champion = ledger.promotions.champion()
    figure = _standing(trials, champion or START)
    return Models(
        kind=kind,
        trials=trials,
        start=next((trial.whole.champion for trial in trials if trial.champion == START), Figure(None)),
        champion=champion,
        figure=figure,
        held_out=rounds[-1].metrics.images if rounds else 0,
        level=next((row.body.get("confidence_level") for row in decisions.values()), None),
        by_hand=[row for row in every if row.decision not in _BY_THE_GATE],
        chosen=_chosen(every),
        best=_best([trial for trial in trials if trial.candidate != champion], figure),
    )


def _kind(rounds: Sequence[Round], decisions: Mapping[int, Promotion]) -> str:
    """What the newest decision speaks of; without one, masks where any has a figure."""
    told = [str(row.body["by"]) for row in decisions.values() if "by" in row.body]
    masks = any(row.metrics.mask_map50_95 is not None for row in rounds)
    return told[-1] if told else "mask" if masks else "box"


def _standing(trials: Sequence[Trial], champion: str) -> Figure:
    """The newest figure of the model in use."""
    for trial in reversed(trials):
        if trial.candidate == champion:
            return trial.whole.candidate
        if trial.champion == champion:
            return trial.whole.champion
    return Figure(None)


def _chosen(every: Sequence[Promotion]) -> Promotion | None:
    """The newest decision that changed the champion, if a person made it."""
    last = next((row for row in reversed(every) if row.decision != "kept"), None)
    return last if last is not None and last.decision not in _BY_THE_GATE else None


def _best(trials: Sequence[Trial], figure: Figure) -> Trial | None:
    """The first of the candidates with the highest figure, if that is higher than this one."""
    known = [(trial.whole.candidate.value, trial) for trial in trials if trial.whole.candidate.value is not None]
    value, best = max(known, key=lambda pair: pair[0], default=(None, None))
    return best if value is not None and figure.value is not None and value > figure.value else None


def _trial(row: Round, facts: Mapping[str, Any], decision: Promotion | None, kind: str) -> Trial:
    """What the gate wrote down; without its figures, those of the evaluation, which have no intervals."""
    body = decision.body if decision is not None and decision.body.get("by") == kind else {}
    key = f"{kind}_map50_95"
    candidate, champion = Figure(getattr(row.metrics, key)), Figure((facts.get("standing") or {}).get(key))
    plain = Versus(row.metrics.instances, candidate, champion, _difference(candidate, champion))
    return Trial(
        round=row.round,
        labelled=row.labelled,
        clicks=row.clicks,
        human_seconds=row.human_seconds,
        candidate=str(facts.get("model", "")),
        champion=str(facts.get("champion", "")),
        whole=_versus(body["whole"]) if body.get("whole") else plain,
        promoted=row.promoted,
        reason=decision.reason if decision is not None else "",
        classes=_each(body["classes"]) if body.get("classes") else _classes(row.metrics, key),
        sizes=_each(body.get("sizes", {})),
    )


def _difference(candidate: Figure, champion: Figure) -> Figure:
    if candidate.value is None or champion.value is None:
        return Figure(None)
    return Figure(candidate.value - champion.value)


def _classes(metrics: Metrics, key: str) -> dict[str, Versus]:
    found = {name: (row.instances, getattr(row, key)) for name, row in metrics.per_class.items()}
    unknown = Figure(None)
    return {
        name: Versus(instances, Figure(value), unknown, unknown)
        for name, (instances, value) in found.items()
        if value is not None
    }


def _each(rows: Mapping[str, Any]) -> dict[str, Versus]:
    return {name: _versus(row) for name, row in rows.items()}


def _versus(row: Mapping[str, Any]) -> Versus:
    """From what the gate wrote: a `Compared` as plain values."""
    figures = {name: Figure(**row[name]) for name in ("candidate", "champion", "difference")}
    return Versus(instances=int(row["instances"]), **figures)
