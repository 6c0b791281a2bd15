"""Masks and boxes as FiftyOne keeps them, and back: the box relative XYWH, the mask cropped to the box.

Both ways are exact to the pixel: a pixel count divided by a length and multiplied by it again is off by far less than
half a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Bitmap, Mask
from pipeline.errors import ShapeMismatch

__all__ = ["box_of", "cropped", "mask_of", "relative"]


def relative(box: Box, size_hw: SizeHW) -> list[float]:
    """A box as x, y, width, height, each in [0, 1] of an image of `size_hw` for a box that lies inside."""
    height, width = size_hw
    return [box.x1 / width, box.y1 / height, box.width / width, box.height / height]


def box_of(xywh: Sequence[float], size_hw: SizeHW) -> Box:
    """The inverse of `relative`."""
    height, width = size_hw
    x, y, across, down = xywh
    return Box(x * width, y * height, (x + across) * width, (y + down) * height)


def cropped(mask: Mask) -> tuple[list[float], Bitmap] | None:
    """A mask as its tight box, relative, and its bitmap inside that; None for an empty mask."""
    box = mask.box
    if box is None:
        return None
    return relative(box, mask.size_hw), mask.crop()[1]


def mask_of(xywh: Sequence[float], crop: npt.NDArray[np.generic], size_hw: SizeHW) -> Mask:
    """The inverse of `cropped`. Raises ShapeMismatch if the crop is not of the box's size, or leaves the image."""
    box = box_of(xywh, size_hw)
    left, top, right, bottom = (round(value) for value in box)
    if crop.shape != (bottom - top, right - left):
        raise ShapeMismatch(f"a crop of {crop.shape} does not fill a box of {(bottom - top, right - left)} pixels")
    return Mask.from_crop(np.asarray(crop != 0), left, top, size_hw)
