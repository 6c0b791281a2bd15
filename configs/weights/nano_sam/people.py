"""What a person would say about an object: a first prompt, then clicks on what the answer has wrong.

Unlike the simulated person of `pipeline.domain.clicks`, who always clicks on the deepest error, these click anywhere
in it, rather deep than not; and their boxes are not exact.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from connectors.nano_sam.prompting import NO_POINT

Bitmap = NDArray[np.bool_]
Logits = NDArray[np.float32]

_BOX, _POINT, _BOX_AND_POINT, _MASK = range(4)
_SHARES = (0.4, 0.37, 0.08, 0.15)


@dataclass
class Said:
    """All that was said so far, in the piece's pixels; a click is (x, y, 1 on the object or 0 off it)."""

    clicks: list[tuple[float, float, int]] = field(default_factory=list)
    box: tuple[float, float, float, float] | None = None
    prior: Logits | None = None

    @property
    def is_one_point(self) -> bool:
        return self.box is None and self.prior is None and [on for *_, on in self.clicks] == [1]


def first_said(mask: Bitmap, low: Bitmap, rng: np.random.Generator) -> Said:
    """About the object `mask`, which is `low` at half the resolution."""
    kind = rng.choice(len(_SHARES), p=_SHARES)
    said = Said()
    if kind in {_BOX, _BOX_AND_POINT}:
        said.box = _box(mask, rng)
    if kind == _MASK:
        wrong = _spoilt(low, rng)
        edge = cv2.GaussianBlur(np.where(wrong, 1.0, -1.0).astype(np.float32), (0, 0), rng.uniform(0.3, 1.2))
        said.prior = np.asarray(edge * rng.uniform(4, 10), dtype=np.float32)
        if rng.random() < 0.7:
            click(said, wrong, low, rng)
    elif said.box is None or kind == _BOX_AND_POINT:
        x, y = _somewhere(mask, rng, deepest=rng.random() < 0.5)
        said.clicks.append((x, y, 1))
    return said


def click(said: Said, answer: Bitmap, low: Bitmap, rng: np.random.Generator) -> None:
    """Add a click on the larger kind of error; none where the answer is right. Both are at half the resolution."""
    missing, surplus = low & ~answer, answer & ~low
    on = _depths(missing).max() > _depths(surplus).max()
    error = missing if on else surplus
    if error.any():
        x, y = _somewhere(error, rng, deepest=rng.random() < 0.75)
        said.clicks.append((2 * x, 2 * y, int(on)))


def packed(said: list[Said], low_side: int) -> tuple[NDArray[np.float32], ...]:
    """Points, labels, boxes and priors as `connectors.nano_sam.prompting.Prompts` has them."""
    count, most = len(said), max(1, *(len(one.clicks) for one in said))
    points = np.zeros((count, most, 2), np.float32)
    labels = np.full((count, most), NO_POINT, np.float32)
    boxes = np.full((count, 4), np.nan, np.float32)
    priors = np.full((count, 1, low_side, low_side), np.nan, np.float32)
    for index, one in enumerate(said):
        for place, (x, y, on) in enumerate(one.clicks):
            points[index, place], labels[index, place] = (x, y), on
        if one.box is not None:
            boxes[index] = one.box
        if one.prior is not None:
            priors[index, 0] = one.prior
    return points, labels, boxes, priors


def _box(mask: Bitmap, rng: np.random.Generator) -> tuple[float, float, float, float] | None:
    """The object's box, four times in five drawn by a hand that is 5 % off; None if nothing of it is left."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
    if rng.random() < 0.8:
        sides = np.tile(box[2:] - box[:2], 2)
        box += np.clip(rng.normal(0, 0.05, 4) * sides, -8, 8)
    x1, y1, x2, y2 = np.clip(box, 0, mask.shape[0]).tolist()
    return (x1, y1, x2, y2) if min(x2 - x1, y2 - y1) >= 2 else None


def _spoilt(low: Bitmap, rng: np.random.Generator) -> Bitmap:
    """The mask with discs added and taken away along its edge, until its IoU is under 0.85."""
    spoilt = low.astype(np.uint8)
    for _ in range(8):
        rim = cv2.dilate(spoilt, np.ones((5, 5), np.uint8)) - cv2.erode(spoilt, np.ones((3, 3), np.uint8))
        rows, columns = np.nonzero(rim)
        if not rows.size:
            break
        at = rng.integers(rows.size)
        radius = max(1, int(np.sqrt(low.sum()) * rng.uniform(0.08, 0.3)))
        cv2.circle(spoilt, (int(columns[at]), int(rows[at])), radius, int(rng.integers(2)), -1)
        now = spoilt.astype(np.bool_)
        if (now & low).sum() < 0.85 * (now | low).sum():
            break
    return spoilt.astype(np.bool_) if spoilt.any() else low


def _somewhere(region: Bitmap, rng: np.random.Generator, *, deepest: bool) -> tuple[float, float]:
    """The centre of the deepest pixel of a region, or of any, the likelier the deeper: (x, y)."""
    depths = _depths(region).ravel().astype(np.float64)
    index = int(depths.argmax()) if deepest else int(rng.choice(depths.size, p=depths / depths.sum()))
    y, x = divmod(index, region.shape[1])
    return x + 0.5, y + 0.5


def _depths(region: Bitmap) -> NDArray[np.float32]:
    framed = np.pad(region.astype(np.uint8), 1)
    return np.asarray(cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_3)[1:-1, 1:-1], dtype=np.float32)
