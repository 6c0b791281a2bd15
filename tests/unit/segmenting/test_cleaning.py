"""Small holes and specks go, large ones stay; a slow literal version is the referee."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from pipeline.domain.mask import Bitmap, Mask
from pipeline.segmenting.cleaning import MaskSettings, cleaned

RING = np.zeros((20, 24), dtype=np.bool_)
RING[2:12, 3:13] = True
RING[5:7, 5:7] = False  # a hole of 4 px
RING[8:11, 8:11] = False  # a hole of 9 px
RING[15, 20] = True  # a speck of 1 px
RING[16:18, 2:4] = True  # a part of 4 px


def literal(bitmap: Bitmap, hole: int, speck: int) -> Bitmap:
    """Component by component, on the whole image."""
    done = bitmap.copy()
    height, width = bitmap.shape
    for component in components(~bitmap):
        ys, xs = np.nonzero(component)
        inside = ys.min() > 0 and xs.min() > 0 and ys.max() < height - 1 and xs.max() < width - 1
        if inside and len(ys) <= hole:
            done |= component
    parts = components(done)
    largest = max((int(part.sum()) for part in parts), default=0)
    for part in parts:
        if part.sum() <= speck and part.sum() < largest:
            done &= ~part
    return done


def components(bitmap: Bitmap) -> list[Bitmap]:
    count, labels = cv2.connectedComponents(bitmap.astype(np.uint8), connectivity=8)
    return [np.asarray(labels == number) for number in range(1, count)]


@settings(max_examples=200, deadline=None)
@given(
    bitmap=arrays.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))),
    hole=st.integers(0, 6),
    speck=st.integers(0, 6),
)
def test_cleaning_is_what_the_literal_version_does(bitmap: Bitmap, hole: int, speck: int) -> None:
    asked = MaskSettings(max_hole_area=hole, max_sprinkle_area=speck)
    found = cleaned(Mask.from_bitmap(bitmap), asked).bitmap()
    if not bitmap.any():
        assert not found.any()
    else:
        np.testing.assert_array_equal(found, literal(bitmap, hole, speck))


@pytest.mark.parametrize(
    ("asked", "area_px"),
    [
        ({}, 92),
        ({"max_hole_area": 3}, 92),
        ({"max_hole_area": 4}, 96),
        ({"max_hole_area": 9}, 105),
        ({"max_sprinkle_area": 1}, 91),
        ({"max_sprinkle_area": 4}, 87),
        ({"max_sprinkle_area": 1000}, 87),
        ({"max_hole_area": 9, "max_sprinkle_area": 4}, 100),
        ({"max_hole_area": 9, "keep_holes": ("washer",)}, 105),
    ],
)
def test_only_what_is_small_enough_changes(asked: dict[str, object], area_px: int) -> None:
    assert cleaned(Mask.from_bitmap(RING), MaskSettings.model_validate(asked)).area_px == area_px


def test_the_holes_of_a_class_can_be_real() -> None:
    asked = MaskSettings(max_hole_area=9, max_sprinkle_area=1, keep_holes=("washer",))
    assert cleaned(Mask.from_bitmap(RING), asked, "washer").area_px == 91
    assert cleaned(Mask.from_bitmap(RING), asked, "coin").area_px == 104


@pytest.mark.parametrize("wrong", [{"threshold": 1.5}, {"max_hole_area": -1}, {"mask_threshold": float("nan")}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        MaskSettings.model_validate(wrong)
