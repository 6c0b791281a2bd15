"""Outlines lie where the mask ends, at any size of the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.domain.drawing import covered, outline, rings_at, scaled
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask

SIZE_HW = (12, 16)


def ring() -> Mask:
    """A square of 8 with a hole of 4, off the middle."""
    bitmap = np.zeros(SIZE_HW, dtype=np.bool_)
    bitmap[2:10, 5:13] = True
    bitmap[4:8, 7:11] = False
    return Mask.from_bitmap(bitmap)


@pytest.mark.parametrize("scale", [4.0, 10.0])
def test_what_is_covered_is_the_mask(scale: float) -> None:
    canvas = scaled(np.zeros((*SIZE_HW, 3), dtype=np.uint8), scale)
    share = covered(canvas, rings_at(ring(), scale))
    block = round(scale)
    wanted = ring().bitmap().astype(np.uint8).repeat(block, axis=0).repeat(block, axis=1)
    assert share.shape == wanted.shape == canvas.shape[:2]
    around = np.ones((5, 5), dtype=np.uint8)  # OpenCV softens two pixels on either side of an edge
    assert share[cv2.erode(wanted, around) == 1].min() == 1
    assert share[cv2.dilate(wanted, around) == 0].max() == 0


def test_a_box_is_a_ring_too() -> None:
    (found,) = rings_at(Box(2, 3, 6, 5), 2.0)
    assert (found / 16).tolist() == [[3.5, 5.5], [11.5, 5.5], [11.5, 9.5], [3.5, 9.5]]


def test_an_empty_mask_covers_nothing() -> None:
    canvas = np.zeros((*SIZE_HW, 3), dtype=np.uint8)
    assert rings_at(Mask.empty(SIZE_HW), 1.0) == []
    assert covered(canvas, []).max() == 0


def test_strokes_are_drawn_in_their_order() -> None:
    canvas = np.zeros((48, 64, 3), dtype=np.uint8)
    outline(canvas, rings_at(Box(2, 2, 14, 10), 4.0), [((255, 0, 0), 5), ((0, 255, 0), 1)])
    colours = {tuple(row) for row in canvas.reshape(-1, 3).tolist()}
    assert {(0, 0, 0), (255, 0, 0)} <= colours
    assert canvas[20, 8].tolist() != canvas[20, 6].tolist()
    assert canvas[:, :, 1].any()


@pytest.mark.parametrize(("scale", "size_hw"), [(0.25, (3, 4)), (3.0, (36, 48)), (8.0, (96, 128)), (0.01, (1, 1))])
def test_images_are_scaled(scale: float, size_hw: tuple[int, int]) -> None:
    image = np.zeros((*SIZE_HW, 3), dtype=np.uint8)
    image[:6] = 200
    made = scaled(image, scale)
    assert made.shape == (*size_hw, 3)
    if scale >= 4:
        assert set(np.unique(made).tolist()) == {0, 200}, "pixels stay squares"
