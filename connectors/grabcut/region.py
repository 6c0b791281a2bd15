"""What a cut is about: a window of the image, what is known of its pixels, and the colours on either side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import Box, Image, SizeHW
from pipeline.domain.mask import Bitmap

__all__ = [
    "PROBABLY",
    "PROBABLY_NOT",
    "SURELY",
    "SURELY_NOT",
    "Pixels",
    "Task",
    "Trimap",
    "Window",
    "around_prior",
    "in_box",
    "sample",
    "spread",
]

Pixels = npt.NDArray[np.uint8]
"""`uint8 (n, 3)`."""

Trimap = npt.NDArray[np.uint8]
"""`uint8 (h, w)` of OpenCV's four labels."""

SURELY_NOT, SURELY, PROBABLY_NOT, PROBABLY = cv2.GC_BGD, cv2.GC_FGD, cv2.GC_PR_BGD, cv2.GC_PR_FGD

_ENOUGH = 1500
_RING_PX, _RING_SHARE = 20.0, 0.2


class Window(NamedTuple):
    """Whole pixels of the image, half-open."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an image with."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def slices_in(self, outer: Window) -> tuple[slice, slice]:
        """The same pixels where an array begins at the first pixel of `outer`, which holds this window."""
        return (
            slice(self.top - outer.top, self.bottom - outer.top),
            slice(self.left - outer.left, self.right - outer.left),
        )

    @property
    def size_hw(self) -> SizeHW:
        return self.bottom - self.top, self.right - self.left

    @staticmethod
    def around(box: Box, grow_x: float, grow_y: float, size_hw: SizeHW) -> Window:
        """The pixels of the image that the box touches after its sides have moved outwards."""
        grown = Box(box.x1 - grow_x, box.y1 - grow_y, box.x2 + grow_x, box.y2 + grow_y).clipped(size_hw)
        left, top = (int(np.floor(value)) for value in grown[:2])
        right, bottom = (int(np.ceil(value)) for value in grown[2:])
        return Window(left, top, right, bottom)


@dataclass(frozen=True, eq=False)
class Task:
    """One graph cut. The window's pixels take part as `trimap` says.

    `object_pixels` and `background_pixels`, from anywhere in the image, are what the two colour models are fitted
    to; if either is empty there is nothing to tell apart, and the trimap stands as it is. Outside the window the
    prior holds.
    """

    window: Window
    trimap: Trimap
    object_pixels: Pixels
    background_pixels: Pixels


def in_box(image: Image, box: Box, margin: float, slack: float, reached: Sequence[tuple[int, int]] = ()) -> Task:
    """Object probably inside the box, background surely outside the box grown by `slack` of its sides.

    The background's colours come from within `margin` of the sides, and at least 6 pixels, around the box. A box
    that fills the image leaves none; then they come from outside the inscribed ellipse. The window is smaller:
    what may be object, a ring of sure background, and every (x, y) pixel of `reached`.
    """
    size_hw = (int(image.shape[0]), int(image.shape[1]))
    ring = max(_RING_PX, _RING_SHARE * max(box.width, box.height))
    window = Window.around(box, slack * box.width + ring, slack * box.height + ring, size_hw)
    if reached:
        columns, rows = zip(*reached, strict=True)
        left, top = min(window.left, *columns), min(window.top, *rows)
        right, bottom = max(window.right, *(x + 1 for x in columns)), max(window.bottom, *(y + 1 for y in rows))
        window = Window(left, top, right, bottom)
    trimap = np.full(window.size_hw, SURELY_NOT, dtype=np.uint8)
    for share, label in ((slack, PROBABLY_NOT), (0.0, PROBABLY)):
        inner = Window.around(box, share * box.width, share * box.height, size_hw)
        trimap[inner.slices_in(window)] = label
    around = Window.around(box, max(6.0, margin * box.width), max(6.0, margin * box.height), size_hw)
    inside = np.zeros(around.size_hw, dtype=np.bool_)
    inside[Window.around(box, 0.0, 0.0, size_hw).slices_in(around)] = True
    if inside.all():
        inside = _inscribed_ellipse(around.size_hw)
    seen = image[around.slices]
    return Task(window, trimap, sample(seen, inside, _ENOUGH), sample(seen, ~inside, _ENOUGH))


def around_prior(image: Image, prior: Bitmap, band: float) -> Task:
    """A non-empty `prior` may change near its edge: within `band` of its area's square root, at least 2 px."""
    reach = max(2.0, band * float(np.sqrt(prior.sum())))
    window = spread(prior, reach + 6.0)
    crop, known = image[window.slices], prior[window.slices]
    framed = np.pad(known.astype(np.uint8), 1, mode="edge")
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    height = cv2.distanceTransform(1 - framed, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    # A thin object keeps its middle: otherwise nothing of it would be sure.
    sure = depth > min(reach, 0.5 * float(depth.max()))
    trimap = np.where(known, PROBABLY, PROBABLY_NOT).astype(np.uint8)
    trimap[sure], trimap[height > reach] = SURELY, SURELY_NOT
    return Task(window, trimap, sample(crop, known, _ENOUGH), sample(crop, ~known, _ENOUGH))


def sample(crop: Image, wanted: Bitmap, most: int) -> Pixels:
    """At most `most` of the pixels that are wanted, evenly spaced; `wanted` is of the crop's size."""
    numbers = np.flatnonzero(wanted)
    chosen = numbers[:: max(1, -(-len(numbers) // most))]
    rows, columns = np.divmod(chosen, wanted.shape[1])
    pixels: Pixels = crop[rows, columns]
    return pixels


def spread(bitmap: Bitmap, grow_px: float) -> Window:
    """The tight window of a non-empty bitmap, grown on all sides inside the image."""
    rows, columns = np.flatnonzero(bitmap.any(axis=1)), np.flatnonzero(bitmap.any(axis=0))
    box = Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return Window.around(box, grow_px, grow_px, (int(bitmap.shape[0]), int(bitmap.shape[1])))


def _inscribed_ellipse(size_hw: SizeHW) -> Bitmap:
    height, width = size_hw
    y, x = np.mgrid[:height, :width] + 0.5
    inside: Bitmap = (2 * x / width - 1) ** 2 + (2 * y / height - 1) ** 2 <= 1
    return inside
