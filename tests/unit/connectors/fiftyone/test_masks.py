"""Masks on their way to FiftyOne and back: no pixel changes, wherever it lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.fiftyone.masks import box_of, cropped, mask_of, relative
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.errors import ShapeMismatch


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """Rectangles of noise anywhere in images of any proportion, one pixel and the whole image among them."""
    height, width = draw(st.integers(1, 4000)), draw(st.integers(1, 40))
    if draw(st.booleans()):
        height, width = width, height
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    bottom, right = draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bitmap = np.zeros((height, width), dtype=np.bool_)
    bitmap[top:bottom, left:right] = rng.random((bottom - top, right - left)) < draw(st.sampled_from([0.1, 1.0]))
    bitmap[draw(st.sampled_from([top, bottom - 1])), draw(st.sampled_from([left, right - 1]))] = True
    return Mask.from_bitmap(bitmap)


@given(masks())
def test_every_pixel_comes_back(mask: Mask) -> None:
    found = cropped(mask)
    assert found is not None
    assert mask_of(*found, mask.size_hw) == mask


@pytest.mark.parametrize("at", [(0, 0), (0, 6), (4, 0), (4, 6)])
def test_one_pixel_in_each_corner(at: tuple[int, int]) -> None:
    bitmap = np.zeros((5, 7), dtype=np.bool_)
    bitmap[at] = True
    found = cropped(Mask.from_bitmap(bitmap))
    assert found is not None
    xywh, crop = found
    assert crop.shape == (1, 1)
    assert xywh == pytest.approx([at[1] / 7, at[0] / 5, 1 / 7, 1 / 5])
    assert mask_of(xywh, crop, (5, 7)).bitmap().tolist() == bitmap.tolist()


def test_an_empty_mask_has_no_place() -> None:
    assert cropped(Mask.empty((4, 4))) is None


def test_a_box_alone_comes_back() -> None:
    box = Box(1.25, 2.5, 30.0, 17.75)
    assert box_of(relative(box, (20, 40)), (20, 40)) == pytest.approx(box)


def test_a_crop_of_another_size_is_refused() -> None:
    with pytest.raises(ShapeMismatch, match="does not fill"):
        mask_of([0.0, 0.0, 0.5, 0.5], np.ones((3, 3), dtype=np.bool_), (4, 4))
