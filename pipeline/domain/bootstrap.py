"""How sure the difference between two models is: a paired bootstrap over images (Efron & Tibshirani 1993, ch. 16).

The same images are drawn again, with replacement, for both models, and average precision is computed anew for each
draw. Images of one group are drawn together: frames of one video do not speak independently. Intervals are expanded
percentiles (Hesterberg 2015, https://doi.org/10.1080/00031305.2015.1089789): plain ones are too narrow for few images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.domain.hits import AREAS, HIT, IGNORED, MISS, Hits
from pipeline.errors import ShapeMismatch

__all__ = ["FEWEST", "Compared", "Comparison", "Estimate", "average_precision", "compare"]

FEWEST = 5
"""Images (or groups) with truth below which chance alone, 1 in 2 ** n, would pass for a gain too often."""

_RECALLS = np.linspace(0.0, 1.0, 101)
_BLOCK = 50_000
"""Numbers worked on at once: few enough to stay in a processor's cache."""

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval; None where too few images have truth to give one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Compared:
    """One figure, mAP50-95 in [0, 1], of both models, and by how much the candidate's is higher.

    `p` is how often chance alone would show such a gain (one-sided), in (0, 1]. `units` counts the images (or groups)
    with any of the `instances`.
    """

    instances: int
    units: int
    candidate: Estimate
    champion: Estimate
    difference: Estimate
    p: float


@dataclass(frozen=True)
class Comparison:
    """Candidate against champion on one split: as a whole, by class, and by COCO's sizes (mean over classes).

    What has no truth is left out; `whole` is None if nothing has. `units` is how many images (or groups) were drawn
    from, `confidence_level` that of the two-sided intervals.
    """

    by: Literal["mask", "box"]
    images: int
    units: int
    resamples: int
    confidence_level: float
    whole: Compared | None
    classes: Mapping[str, Compared]
    sizes: Mapping[str, Compared]


def compare(
    candidate: Hits,
    champion: Hits,
    groups: Sequence[str],
    rng: np.random.Generator,
    *,
    by: Literal["mask", "box"] = "mask",
    resamples: int = 1000,
    confidence_level: float = 0.95,
    min_gain: float = 0.0,
) -> Comparison:
    """Compare two models that were judged on the same images; `groups` names each image's group.

    `p` is that of a gain over `min_gain`. Raises ShapeMismatch for models judged on different images or classes.
    """
    if (candidate.images, candidate.classes) != (champion.images, champion.classes):
        raise ShapeMismatch("the two models were judged on different images or classes")
    names, unit = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)
    weights = _drawn(unit, len(names), resamples, rng)
    made = _Made(
        [_figures(average_precision(side, weights)) for side in (candidate, champion)],
        _units(candidate.truths, unit, len(names)),
        candidate.truths.sum(axis=2),
        1.0 - confidence_level,
        min_gain,
    )
    sizes = {name: made.compared(number, None) for number, name in enumerate(AREAS)}
    whole = sizes.pop("all")
    classes = {name: made.compared(0, number) for number, name in enumerate(candidate.classes)}
    return Comparison(
        by,
        len(candidate.images),
        len(names),
        resamples,
        confidence_level,
        whole,
        {name: row for name, row in classes.items() if row is not None},
        {name: row for name, row in sizes.items() if row is not None},
    )


def average_precision(hits: Hits, weights: Counts) -> Floats:
    """AP50-95 `float64 (r, 4 areas, k classes)` for r choices of images; `weights` `int64 (r, i)` says how often each
    choice has each image. NaN where a choice has no truth.

    Detections are sorted once; a choice is a weighted running sum over them.
    """
    found = np.full((len(weights), len(AREAS), len(hits.classes)), np.nan)
    order, exact = np.argsort(-hits.score, kind="stable"), weights.astype(np.float64)
    for label in range(len(hits.classes)):
        mine = order[hits.label[order] == label]
        for area in range(len(AREAS)):
            truths = weights @ hits.truths[area, label]
            there = truths > 0
            if there.any():
                curve = _Curve(hits.outcomes[area][:, mine], hits.image[mine])
                found[there, area, label] = curve.average(exact[there], truths[there])
    return found


class _Curve:
    """One class and area range: what its precision and recall depend on.

    Precision peaks at hits, so it is looked at only where a detection hits anywhere, or differs between thresholds:
    at `events`. What misses everywhere lowers the precision of those behind it; what is ignored everywhere is left out.
    """

    def __init__(self, outcomes: npt.NDArray[np.int8], image: Counts) -> None:
        eventful = (outcomes == HIT).any(axis=0) | (outcomes != outcomes[:1]).any(axis=0)
        kept = eventful | (outcomes[0] == MISS)
        self._image, self._events = image[kept], np.flatnonzero(eventful[kept])
        self._outcomes = outcomes[:, eventful]

    def average(self, weights: Floats, truths: Counts) -> Floats:
        """AP50-95 of each choice, `float64 (r,)`; `truths` is how many each has, none of them 0."""
        if not len(self._events):
            return np.zeros(len(weights))
        return np.concatenate(
            [self._block(part, truths[rows]) for rows, part in _blocks(weights, len(self._events))]
        )

    def _block(self, weights: Floats, truths: Counts) -> Floats:
        every = np.concatenate(
            [
                np.cumsum(part[:, self._image], axis=1)[:, self._events]
                for _, part in _blocks(weights, len(self._image))
            ]
        )
        drawn = weights[:, self._image[self._events]]
        total = np.zeros(len(weights))
        for outcomes in self._outcomes:
            hit, ignored = np.flatnonzero(outcomes == HIT), np.flatnonzero(outcomes == IGNORED)
            if len(hit):
                passed = np.cumsum(np.pad(drawn[:, ignored], ((0, 0), (1, 0))), axis=1)
                counted = every[:, hit] - passed[:, np.searchsorted(ignored, hit)]
                total += _interpolated(np.cumsum(drawn[:, hit], axis=1), counted, truths)
        return np.asarray(total / len(self._outcomes))


def _blocks(rows: Floats, width: int) -> Iterator[tuple[slice, Floats]]:
    """Rows, so many at a time that with `width` numbers each they stay in the cache."""
    step = max(1, _BLOCK // width)
    for start in range(0, len(rows), step):
        yield slice(start, start + step), rows[start : start + step]


def _interpolated(right: Floats, counted: Floats, truths: Counts) -> Floats:
    """COCO's AP of each row, the mean over 101 recalls of the best precision from there on, at the hits of a curve."""
    precision = right / np.maximum(counted, 1.0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = right / truths[:, None]
    reached = (recall * 100).astype(np.int64)
    # The product is rounded: look at the recalls beside it themselves.
    reached += (np.append(_RECALLS, np.inf)[reached + 1] <= recall).astype(np.int64)
    reached -= _RECALLS[reached] > recall
    return np.asarray((best * np.diff(reached + 1, axis=1, prepend=0)).sum(axis=1) / len(_RECALLS))


def _drawn(unit: Counts, units: int, resamples: int, rng: np.random.Generator) -> Counts:
    """How often each image was drawn, `(1 + resamples, i)`; the first row is the split as it is."""
    if not units:
        return np.zeros((1 + resamples, 0), dtype=np.int64)
    times = rng.multinomial(units, np.full(units, 1.0 / units), size=resamples)
    return np.vstack([np.ones(len(unit), dtype=np.int64), times[:, unit]])


def _figures(precision: Floats) -> Floats:
    """Each class's AP, and behind them their mean over the classes with truth: `(r, 4, k + 1)`."""
    known = ~np.isnan(precision)
    count = known.sum(axis=2)
    mean = np.where(known, precision, 0.0).sum(axis=2) / np.maximum(count, 1)
    return np.concatenate([precision, np.where(count > 0, mean, np.nan)[:, :, None]], axis=2)


def _units(truths: Counts, unit: Counts, units: int) -> Counts:
    """How many units have truth of each area and class, and of any class: `(4, k + 1)`."""
    if not units:
        return np.zeros((len(truths), truths.shape[1] + 1), dtype=np.int64)
    order = np.argsort(unit, kind="stable")
    by_unit = np.add.reduceat(truths[:, :, order], np.searchsorted(unit[order], np.arange(units)), axis=2)
    every = np.concatenate([by_unit, by_unit.sum(axis=1, keepdims=True)], axis=1)
    return np.asarray((every > 0).sum(axis=2))


@dataclass(frozen=True)
class _Made:
    """The figures of both sides over all draws, and what makes intervals of them."""

    sides: Sequence[Floats]
    units: Counts
    truths: Counts
    alpha: float
    min_gain: float

    def compared(self, area: int, label: int | None) -> Compared | None:
        """None without truth. Draws that left all truth out say nothing."""
        column = -1 if label is None else label
        candidate, champion = (side[:, area, column] for side in self.sides)
        if np.isnan(candidate[0]):
            return None
        known = ~np.isnan(candidate)
        candidate, champion, units = candidate[known], champion[known], int(self.units[area, column])
        gains = candidate - champion
        chance = (1 + int((gains[1:] <= self.min_gain).sum())) / len(gains)
        instances = self.truths[area].sum() if label is None else self.truths[area, label]
        of_candidate, of_champion, gain = (
            _estimate(values, units, self.alpha) for values in (candidate, champion, gains)
        )
        return Compared(int(instances), units, of_candidate, of_champion, gain, chance)


def _estimate(values: Floats, units: int, alpha: float) -> Estimate:
    """The first value, and expanded percentiles of the others."""
    if units < FEWEST or len(values) < 2:
        return Estimate(float(values[0]), None, None)
    share = NormalDist().cdf(-math.sqrt(units / (units - 1)) * _students_t(1.0 - alpha / 2, units - 1))
    low, high = np.quantile(values[1:], (share, 1.0 - share))
    return Estimate(float(values[0]), float(low), float(high))


def _students_t(probability: float, freedom: int) -> float:
    """A quantile of Student's t: Abramowitz & Stegun 26.7.5, good to 0.01 from four degrees of freedom on."""
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(z + sum(term / freedom**power for power, term in enumerate(terms, start=1)))
