"""What people made of what the machine showed them: the report's facts about every answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from pipeline.domain.mask import Mask
from pipeline.domain.records import HUMAN_VERIFIED, Annotation, Before, Instance, OriginKind, State

__all__ = [
    "FALSE",
    "MISSED",
    "VERDICTS",
    "Answer",
    "Calibration",
    "Confusion",
    "Judged",
    "Share",
    "answers_of",
    "calibration",
    "clicks_by_count",
    "confusion",
    "middle",
    "most_edited",
    "seconds_by_bin",
    "shares",
]

VERDICTS = (State.ACCEPTED, State.EDITED, State.DRAWN, State.REJECTED)
"""What a person can say of an object, in the order in which it is told."""
MISSED, FALSE = "missed", "nothing there"
BINS = 10


@dataclass(frozen=True)
class Judged:
    """One object after a person's verdict, with what was shown of it (None: nothing) and the IoU that the machine told
    of its own mask.
    """

    sample_id: str
    round: int
    author: str
    instance: Instance
    before: Before | None
    predicted_iou: float | None

    @property
    def found_iou(self) -> float | None:
        """IoU of the mask that was shown and the one that came of it; None where either is not there."""
        shown = self.before.mask if self.before is not None else None
        if shown is None or self.instance.state not in HUMAN_VERIFIED:
            return None
        return _iou(shown, self.instance.mask)


@dataclass(frozen=True)
class Answer:
    """One person's standing word on one image."""

    sample_id: str
    round: int
    author: str
    seconds: float
    objects: tuple[Judged, ...]


@dataclass(frozen=True)
class Share:
    """How many objects met each verdict; `shown` of them had been shown by the machine."""

    name: str
    counts: Mapping[State, int]
    shown: int

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def accepted(self) -> float | None:
        """The share of the shown objects that were right as they were; None where nothing was shown."""
        return self.counts[State.ACCEPTED] / self.shown if self.shown else None


@dataclass(frozen=True)
class Confusion:
    """`rows[person][machine]`: how often the person's class met the machine's. The last row holds what was shown and is
    not there, the last column what the machine had missed.
    """

    people: Sequence[str]
    machine: Sequence[str]
    rows: Sequence[Sequence[int]]

    @property
    def total(self) -> int:
        return sum(map(sum, self.rows))


@dataclass(frozen=True)
class Calibration:
    """Bins of (mean IoU told, mean IoU found, how many), and the expected calibration error: the mean gap between the
    two, weighted by count (Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015).
    """

    bins: Sequence[tuple[float, float, int]]
    error: float
    masks: int


def answers_of(history: Iterable[Annotation], asked: Container[tuple[int, str]]) -> Iterator[Answer]:
    """From every revision, by sample and revision: what each person said last and has not taken back.

    Reviewers' words are left out: they are on single objects, or on images that nobody was asked about in that round
    (`asked` has the round and sample of every task).
    """
    for _, revisions in groupby(history, key=lambda row: row.sample_id):
        shown: dict[str, Instance] = {}
        newest: dict[str, Annotation] = {}
        for said in revisions:
            if said.origin.kind is OriginKind.MODEL:
                shown.update((instance.id, instance) for instance in said.instances)
            elif _is_answer(said) and (said.round, said.sample_id) in asked:
                newest[said.origin.name] = said
        for author, said in sorted(newest.items()):
            if not said.withdrawn:
                objects = tuple(_judged(said, instance, shown.get(instance.id)) for instance in said.instances)
                yield Answer(said.sample_id, said.round, author, said.seconds, objects)


def _is_answer(said: Annotation) -> bool:
    return said.origin.kind is OriginKind.HUMAN and not said.partial


def _judged(said: Annotation, instance: Instance, shown: Instance | None) -> Judged:
    before, told = instance.before, instance.predicted_iou
    if shown is not None:
        before = before or Before(shown.origin, shown.label, shown.mask)
        told = shown.predicted_iou
    return Judged(said.sample_id, said.round, said.origin.name, instance, before, told)


def _iou(first: Mask, second: Mask | None) -> float | None:
    if second is None or first.size_hw != second.size_hw:
        return None
    return 1.0 if first == second else first.iou(second)


def shares(groups: Iterable[tuple[str, Iterable[Judged]]]) -> list[Share]:
    """Verdicts by group, in the groups' order; a group without an object is left out."""
    found = []
    for name, objects in groups:
        rows = list(objects)
        counts = Counter(row.instance.state for row in rows)
        shown = sum(row.before is not None for row in rows)
        if rows:
            found.append(Share(name, {state: counts[state] for state in VERDICTS}, shown))
    return found


def clicks_by_count(objects: Iterable[Judged], *, most: int = 12) -> list[tuple[str, int]]:
    """(clicks, verified masks that took as many), from none on; the last stands for `most` and more."""
    counts = Counter(min(row.instance.clicks, most) for row in objects if row.instance.state in HUMAN_VERIFIED)
    if not counts:
        return []
    return [(f"{value}+" if value == most else str(value), counts[value]) for value in range(max(counts) + 1)]


def seconds_by_bin(answers: Sequence[Answer], *, most: int = 16) -> list[tuple[float, float, int]]:
    """(from, to, images) in seconds, in at most `most` bins of a round width; the last holds whatever took longer than
    nearly all.
    """
    times = sorted(answer.seconds for answer in answers)
    if not times or times[-1] <= 0:
        return []
    high = times[min(int(len(times) * 0.98), len(times) - 1)] or times[-1]
    widths = (base * 10**power for power in range(-1, 6) for base in (1, 2, 2.5, 5))
    width = next(width for width in widths if width * most > high)
    count = int(high // width) + 1
    bins = Counter(min(int(value // width), count - 1) for value in times)
    return [(index * width, (index + 1) * width, bins[index]) for index in range(count)]


def middle(values: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return median(values) if values else None


def calibration(objects: Iterable[Judged]) -> Calibration | None:
    """The IoU that the segmenter told of each shown mask against the IoU with what the person made of it. What was
    rejected has no true mask and is left out. None where no mask can be compared.
    """
    pairs = [
        (row.predicted_iou, found)
        for row in objects
        if row.predicted_iou is not None and (found := row.found_iou) is not None
    ]
    if not pairs:
        return None
    cells: dict[int, list[tuple[float, float]]] = {}
    for told, found in pairs:
        cells.setdefault(min(int(told * BINS), BINS - 1), []).append((told, found))
    bins = [
        (sum(told for told, _ in cell) / len(cell), sum(found for _, found in cell) / len(cell), len(cell))
        for _, cell in sorted(cells.items())
    ]
    gap = sum(abs(told - found) * count for told, found, count in bins)
    return Calibration(bins, gap / len(pairs), len(pairs))


def confusion(objects: Iterable[Judged], classes: Sequence[str]) -> Confusion:
    """People's class against the machine's for the same object. Classes that nobody named are left out."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in objects:
        machine = row.before.label if row.before is not None else MISSED
        there = row.instance.state in HUMAN_VERIFIED
        if there or row.instance.state is State.REJECTED:
            counts[row.instance.label if there else FALSE, machine] += 1
    named = {name for pair in counts for name in pair}
    rows = [*(name for name in classes if name in named), FALSE]
    columns = [*(name for name in classes if name in named), MISSED]
    return Confusion(rows, columns, [[counts[person, machine] for machine in columns] for person in rows])


def most_edited(objects: Iterable[Judged], limit: int) -> list[tuple[Judged, float]]:
    """The masks that people changed most, with the IoU of before and after; those most changed first."""
    pairs = ((row, row.found_iou) for row in objects)
    changed = [(row, found) for row, found in pairs if found is not None and found < 1.0]
    changed.sort(key=lambda pair: (pair[1], pair[0].sample_id, pair[0].instance.id))
    return changed[:limit]
