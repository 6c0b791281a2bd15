"""The field's click simulator: where a person would click next to correct a mask.

The protocol is that of Sofiiuk, Petrov, Konushin, "Reviving Iterative Training with Mask Guidance for
Interactive Segmentation" (ICIP 2022), which later work evaluates by: click the pixel of the larger kind
of error (missing or surplus) that lies farthest from that error's border. Results are the same to the
pixel; only the work is less, because distances are computed inside the error's tight box.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.domain.mask import Bitmap
from pipeline.errors import ShapeMismatch

__all__ = ["Click", "next_click", "progressive_merge"]


@dataclass(frozen=True)
class Click:
    """A click on the pixel in column `x` and row `y`; `positive` says that the object is there."""

    x: int
    y: int
    positive: bool

    @property
    def point_xy(self) -> tuple[float, float]:
        """The pixel's centre (x + 0.5, y + 0.5), as prompts want their points."""
        return self.x + 0.5, self.y + 0.5


def next_click(
    pred: Bitmap, truth: Bitmap, ignore: Bitmap | None = None, clicked: Collection[Click] = ()
) -> Click | None:
    """The protocol's next click on `pred`, None if no error is left to click on.

    All bitmaps are `bool (h, w)`. Pixels of `ignore` are no errors; pixels of `clicked` are not chosen again.
    Of equally deep errors the surplus wins, and in one map the smallest y, then the smallest x.
    Raises ShapeMismatch for bitmaps of different shapes.
    """
    for other in (truth, ignore):
        if other is not None and other.shape != pred.shape:
            raise ShapeMismatch(f"bitmaps of {pred.shape} and {other.shape} cannot be compared")
    missing, surplus = truth & ~pred, pred & ~truth
    if ignore is not None:
        missing, surplus = missing & ~ignore, surplus & ~ignore
    deepest_missing, deepest_surplus = _deepest(missing, clicked), _deepest(surplus, clicked)
    depth, x, y, positive = (
        (*deepest_missing, True) if deepest_missing[0] > deepest_surplus[0] else (*deepest_surplus, False)
    )
    return Click(x, y, positive) if depth > 0 else None


def progressive_merge(previous: Bitmap, prediction: Bitmap, click: Click) -> Bitmap:
    """`previous` with only that change of `prediction` which the click asked for.

    Taken over are the pixels that turn as the clicked one does, in the 8-connected component of the
    difference that holds the click (Chen et al., "FocalClick", CVPR 2022). If the prediction leaves the
    clicked pixel as it was, `previous` stays. Bitmaps are `bool (h, w)`; raises ShapeMismatch.
    """
    if previous.shape != prediction.shape:
        raise ShapeMismatch(f"bitmaps of {previous.shape} and {prediction.shape} cannot be merged")
    here = (click.y, click.x)
    changed = previous ^ prediction
    if not changed[here]:
        return previous
    _, components = cv2.connectedComponents(changed.astype(np.uint8), connectivity=8)
    merged: Bitmap = previous ^ ((components == components[here]) & (previous == previous[here]))
    return merged


def _deepest(error: Bitmap, clicked: Collection[Click]) -> tuple[float, int, int]:
    """The deepest error pixel: its squared distance from the nearest pixel without error, its x and its y.

    The nearest pixel without error always lies in the tight box grown by one pixel: clamp any other one
    to that ring, and no coordinate comes farther away. The image's own border counts as such a ring too.
    Squared distances are whole numbers and are rounded to them: the library behind OpenCV's small images
    takes roots that differ in their last digit from place to place, and equal depths must stay equal.
    """
    rows, columns = np.flatnonzero(error.any(axis=1)), np.flatnonzero(error.any(axis=0))
    if rows.size == 0:
        return 0.0, 0, 0
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    framed = np.zeros((bottom - top + 2, right - left + 2), dtype=np.uint8)
    framed[1:-1, 1:-1] = error[top:bottom, left:right]
    distances = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    depth: npt.NDArray[np.float32] = np.rint(np.square(distances, dtype=np.float32))
    for click in clicked:
        if left <= click.x < right and top <= click.y < bottom:
            depth[click.y - top, click.x - left] = 0
    y, x = divmod(int(np.argmax(depth)), depth.shape[1])
    return float(depth[y, x]), int(x + left), int(y + top)
