"""Which detections hit a truth, image by image: what average precision over any choice of images is made of.

COCO's own rules (Lin et al. 2014, https://cocodataset.org/#detection-eval): within an image and a class, detections
come in order of their confidence, each takes the free truth that it overlaps most, and truth outside an area range is
ignored there, with whatever takes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

__all__ = ["AREAS", "HIT", "IGNORED", "MISS", "THRESHOLDS", "Hits", "Matched", "gathered", "matched"]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""The ten IoUs at which COCO asks whether a detection hits."""
AREAS: Mapping[str, tuple[float, float]] = MappingProxyType({
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
})  # fmt: skip
"""COCO's area ranges in square pixels, both ends within."""

HIT, MISS, IGNORED = 1, 0, -1
_RANGES = np.array(list(AREAS.values()))

Areas = npt.NDArray[np.float64]
Outcomes = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Matched:
    """One class in one image: detections in order of confidence, and how many truths each area range counts.

    `scores` is `float64 (d,)`, `outcomes` is `int8 (4 areas, 10 IoUs, d)` of HIT, MISS and IGNORED, `truths` is
    `int64 (4,)`.
    """

    image: int
    label: int
    scores: npt.NDArray[np.float64]
    outcomes: Outcomes
    truths: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Hits:
    """All detections of one model on one split.

    `images` are sample ids, i of them, and `classes` k names. Of each of n detections, in the images' order and
    within one by confidence: `image` and `label` number into those, `score` is its confidence, and `outcomes` is
    `int8 (4 areas, 10 IoUs, n)`. `truths` is `int64 (4, k, i)`.
    """

    images: tuple[str, ...]
    classes: tuple[str, ...]
    image: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    outcomes: Outcomes
    truths: npt.NDArray[np.int64]

    @property
    def found(self) -> int:
        """How many detections there are, whether they hit or not."""
        return len(self.score)


def gathered(images: Sequence[str], classes: Sequence[str], parts: Sequence[Matched]) -> Hits:
    """One table of what was matched image by image, and class by class within an image."""
    truths = np.zeros((len(AREAS), len(classes), len(images)), dtype=np.int64)
    for part in parts:
        truths[:, part.label, part.image] = part.truths
    sizes = [len(part.scores) for part in parts]
    outcomes = [np.zeros((len(AREAS), len(THRESHOLDS), 0), dtype=np.int8), *(part.outcomes for part in parts)]
    return Hits(
        images=tuple(images),
        classes=tuple(classes),
        image=np.repeat(np.array([part.image for part in parts], dtype=np.int64), sizes),
        label=np.repeat(np.array([part.label for part in parts], dtype=np.int64), sizes),
        score=np.concatenate([np.zeros(0), *(part.scores for part in parts)]),
        outcomes=np.concatenate(outcomes, axis=2),
        truths=truths,
    )


def matched(
    place: tuple[int, int],
    scores: npt.NDArray[np.float64],
    ious: npt.NDArray[np.float64],
    found_px: Areas,
    truth_px: Areas,
) -> Matched:
    """Match the d detections of one `place` (image, class), the surest first, with its g truths.

    `ious` is `float64 (d, g)`; `found_px` `(d,)` and `truth_px` `(g,)` are areas in square pixels.
    """
    counted, within = _within(truth_px), _within(found_px)
    outcomes = np.where(within, MISS, IGNORED).astype(np.int8)[:, None, :].repeat(len(THRESHOLDS), axis=1)
    free = np.ones((len(AREAS), len(THRESHOLDS), len(truth_px)), dtype=np.bool_)
    for number in np.flatnonzero((ious >= THRESHOLDS[0]).any(axis=1)) if ious.size else ():
        reached = free & (ious[number] >= THRESHOLDS[:, None])
        hits = reached & counted[:, None, :]
        # Truth that counts comes first; what is ignored takes only those who found nothing better.
        passed_by = reached & ~hits & ~hits.any(axis=2, keepdims=True)
        for able, outcome in ((hits, HIT), (passed_by, IGNORED)):
            area, threshold = np.nonzero(able.any(axis=2))
            free[area, threshold, _best(ious[number], able[area, threshold])] = False
            outcomes[area, threshold, number] = outcome
    return Matched(*place, scores, outcomes, counted.sum(axis=1))


def _best(ious: npt.NDArray[np.float64], able: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The able truth of each row that is overlapped most; of equals the last, as COCO has it."""
    order = np.where(able, ious, -1.0)[:, ::-1]
    return np.asarray(able.shape[1] - 1 - order.argmax(axis=1))


def _within(areas_px: Areas) -> npt.NDArray[np.bool_]:
    """`bool (4, n)`: which areas each range counts."""
    low, high = _RANGES[:, :1], _RANGES[:, 1:]
    return np.asarray((areas_px >= low) & (areas_px <= high))
