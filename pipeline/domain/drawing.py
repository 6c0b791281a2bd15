"""Objects drawn on pictures: an image made larger or smaller, and on it the outlines of masks, exact to the pixel."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Mask

__all__ = ["Colour", "Rings", "covered", "outline", "rings_at", "scaled"]

Colour = tuple[int, int, int]
"""Red, green, blue in [0, 255]."""

Rings = list[npt.NDArray[np.int32]]
"""Each `int32 (n, 2)`: x, y in sixteenths of a pixel, centres at whole pixels, as OpenCV draws them."""

_SHIFT = 4
_BIG_PIXELS = 4.0
"""From this enlargement on, pixels are shown as the squares they are."""


def scaled(image: Image, scale: float) -> Image:
    """The image `scale` times as large, `uint8 (h, w, 3)`, at least one pixel either way."""
    size_wh = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    enlarged = cv2.INTER_NEAREST if scale >= _BIG_PIXELS else cv2.INTER_CUBIC
    way = enlarged if scale > 1 else cv2.INTER_AREA
    return np.ascontiguousarray(cv2.resize(image, size_wh, interpolation=way), dtype=np.uint8)


def rings_at(shape: Mask | Box, scale: float, origin: tuple[int, int] = (0, 0)) -> Rings:
    """The rings around a mask's parts and holes, or around a box, on an image that is `scale` times as large, and of
    which only what is right of and below `origin` (x, y; in pixels of the image) is shown."""
    if isinstance(shape, Mask):
        outer, holes = shape.outline()
        rings = [*outer, *holes]
    else:
        left, top, right, bottom = shape
        rings = [np.array([[left, top], [right, top], [right, bottom], [left, bottom]])]
    return [np.rint(((ring - origin) * scale - 0.5) * 2**_SHIFT).astype(np.int32) for ring in rings]


def covered(canvas: Image, rings: Rings) -> npt.NDArray[np.float32]:
    """How much of each pixel of `canvas` lies inside, `float32 (h, w)` in [0, 1]; holes stay clear."""
    share = np.zeros(canvas.shape[:2], dtype=np.uint8)
    if rings:
        cv2.fillPoly(share, rings, 255, cv2.LINE_AA, _SHIFT)  # even-odd
    return share.astype(np.float32) / np.float32(255)


def outline(canvas: Image, rings: Rings, strokes: Sequence[tuple[Colour, int]]) -> None:
    """Draw the rings onto `canvas`, once for each stroke (colour, thickness in pixels): the widest goes first."""
    for colour, thickness in strokes:
        cv2.polylines(canvas, rings, True, colour, thickness, cv2.LINE_AA, _SHIFT)
