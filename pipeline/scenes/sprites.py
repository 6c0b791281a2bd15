"""One object as pixels: its soft coverage for the picture, its exact mask for the truth."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.scenes.outlines import Contour, Outline

_FINER = 8  # outlines are drawn on a grid this many times finer, then averaged: smooth edges
_MARGIN_PX = 2
_SHIFT = 4  # cv2's fixed-point coordinates: 1/16 of a fine pixel


@dataclass(frozen=True, eq=False)
class Sprite:
    """A window around one object.

    Attributes:
        coverage: (h, w) uint8, how much of each pixel the object covers; 255 is all of it.
        mask: (h, w) bool, the pixels of which it covers at least half.
        relief: (h, w) uint8, the coverage of what is embossed on it.
        radius_px: the radius of its outline's unit disc.
    """

    coverage: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    relief: NDArray[np.uint8]
    radius_px: float

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the window."""
        return self.mask.shape[0], self.mask.shape[1]

    @property
    def area_px(self) -> int:
        """Pixels of the whole mask."""
        return int(np.count_nonzero(self.mask))


def rasterise(outline: Outline, radius_px: float, rng: np.random.Generator) -> Sprite:
    """Turn `outline` by a random angle, centre it on a random fraction of a pixel and fill it."""
    angle = rng.uniform(0.0, 2.0 * np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    contours, relief = (
        [contour @ turn * radius_px for contour in group] for group in (outline.contours, outline.relief)
    )
    points = np.concatenate(contours)
    low = np.floor(points.min(axis=0)) - _MARGIN_PX
    width, height = (np.ceil(points.max(axis=0)) + _MARGIN_PX + 1 - low).astype(int).tolist()
    offset = rng.random(2) - low
    coverage = _fill(contours, offset, (height, width))
    embossed = _fill(relief, offset, (height, width)) if relief else np.zeros_like(coverage)
    return Sprite(coverage, coverage >= 128, np.minimum(embossed, coverage), radius_px)


def _fill(contours: list[Contour], offset: NDArray[np.float64], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """(h, w) coverage of the even-odd filled contours."""
    height, width = size_hw
    fine = np.zeros((height * _FINER, width * _FINER), dtype=np.uint8)
    # cv2 puts integer coordinates on pixel centres, we put them on pixel corners: half a fine pixel apart.
    scaled = [np.round(((xy + offset) * _FINER - 0.5) * (1 << _SHIFT)).astype(np.int32) for xy in contours]
    cv2.fillPoly(fine, scaled, 255, lineType=cv2.LINE_8, shift=_SHIFT)
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
