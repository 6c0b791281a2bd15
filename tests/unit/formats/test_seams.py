"""Seams show as few pixels as can be to a reader that draws a polygon's border, and none inside a part."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import ndimage

from pipeline.domain.mask import Mask
from pipeline.formats.round_trip import read_back
from tests.properties.test_codecs import Bitmap, bitmaps


@pytest.mark.parametrize(("across", "down"), [(20, 0), (0, 15), (17, 17), (23, 9), (8, 30), (5, -5), (31, -12)])
def test_a_seam_shows_the_pixels_between_two_parts_once(across: int, down: int) -> None:
    """Also after the loader has put a thousand points on it."""
    bitmap = np.zeros((90, 90), dtype=np.bool_)
    bitmap[40:43, 30:33] = True
    bitmap[40 + down : 43 + down, 30 + across : 33 + across] = True
    mask = Mask.from_bitmap(bitmap)
    shown = read_back(mask).bitmap() & ~bitmap
    gap = max(abs(across), abs(down)) - 3
    assert shown.sum() == gap
    assert (read_back(mask).bitmap() & bitmap).sum() == bitmap.sum()


def test_a_seam_leaves_from_the_middle_of_an_edge_if_that_is_nearer() -> None:
    bitmap = np.zeros((60, 60), dtype=np.bool_)
    bitmap[5:55, 5:10] = True
    bitmap[28:30, 20:25] = True
    assert read_back(Mask.from_bitmap(bitmap)).area_px == bitmap.sum() + 10


def test_parts_are_joined_through_each_other() -> None:
    bitmap = np.zeros((9, 100), dtype=np.bool_)
    bitmap[2:5, [5, 30, 55, 80]] = True
    assert read_back(Mask.from_bitmap(bitmap)).area_px == bitmap.sum() + 3 * 24


@settings(deadline=None)
@given(bitmaps.filter(lambda bitmap: bool(bitmap.any())))
def test_nothing_is_shown_inside_a_part_with_its_holes(bitmap: Bitmap) -> None:
    parts, _ = ndimage.label(bitmap)
    part = np.asarray(parts == 1)
    assert np.array_equal(read_back(Mask.from_bitmap(part)).bitmap(), part)
