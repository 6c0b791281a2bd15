"""Boxes: float `xyxy`, half-open, in pixels of the canonical frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError

__all__ = ["Box", "Image", "SizeHW", "box_iou", "boxes_array"]

Image = npt.NDArray[np.uint8]
"""`uint8 (h, w, 3)`, RGB, C-contiguous."""

SizeHW = tuple[int, int]
"""(height, width) in pixels."""


class Box(NamedTuple):
    """A half-open rectangle `[x1, x2) x [y1, y2)` in float pixels."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def width(self) -> float:
        return max(0.0, self.x2 - self.x1)

    @property
    def height(self) -> float:
        return max(0.0, self.y2 - self.y1)

    @property
    def area_px(self) -> float:
        return self.width * self.height

    def clipped(self, size_hw: SizeHW) -> Box:
        """The part of the box that lies inside an image of `size_hw`; may be empty."""
        height, width = size_hw
        return Box(
            min(max(self.x1, 0.0), width),
            min(max(self.y1, 0.0), height),
            min(max(self.x2, 0.0), width),
            min(max(self.y2, 0.0), height),
        )

    def checked(self, size_hw: SizeHW | None = None) -> Box:
        """The box clipped to `size_hw`. Raises DataError if it is not finite, inverted, or empty there."""
        if not all(math.isfinite(value) for value in self):
            raise DataError(f"box {tuple(self)} is not finite")
        if self.x2 <= self.x1 or self.y2 <= self.y1:
            raise DataError(f"box {tuple(self)} has no area: boxes are x1, y1, x2, y2 with x1 < x2 and y1 < y2")
        if size_hw is None:
            return self
        inside = self.clipped(size_hw)
        if inside.area_px <= 0:
            raise DataError(f"box {tuple(self)} lies outside the image of height x width {size_hw}")
        return inside

    def iou(self, other: Box) -> float:
        """Intersection over union in [0, 1]; 0 when both are empty."""
        width = min(self.x2, other.x2) - max(self.x1, other.x1)
        height = min(self.y2, other.y2) - max(self.y1, other.y1)
        intersection = max(0.0, width) * max(0.0, height)
        union = self.area_px + other.area_px - intersection
        return intersection / union if union > 0 else 0.0


def boxes_array(boxes: Sequence[Box]) -> npt.NDArray[np.float64]:
    """Boxes as `float64 (n, 4)`, also for n = 0."""
    return np.asarray(boxes, dtype=np.float64).reshape(len(boxes), 4)


def box_iou(first: Sequence[Box], second: Sequence[Box]) -> npt.NDArray[np.float64]:
    """IoU of every pair, `float64 (len(first), len(second))` in [0, 1]."""
    a, b = boxes_array(first)[:, None, :], boxes_array(second)[None, :, :]
    extent = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    intersection = extent[..., 0] * extent[..., 1]
    area_a = np.clip(a[..., 2:] - a[..., :2], 0, None).prod(axis=-1)
    area_b = np.clip(b[..., 2:] - b[..., :2], 0, None).prod(axis=-1)
    union = area_a + area_b - intersection
    table: npt.NDArray[np.float64] = np.divide(
        intersection, union, out=np.zeros_like(intersection), where=union > 0
    )
    return table
