"""Masks: run lengths, set operations, outlines."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask, mask_iou
from pipeline.errors import DataError, ShapeMismatch


def square(x1: float, y1: float, x2: float, y2: float) -> Mask:
    return Mask.from_box(Box(x1, y1, x2, y2), (20, 30))


def test_run_lengths_go_down_the_columns() -> None:
    mask = Mask.from_runs([1, 2, 3], (3, 2))
    assert mask.bitmap().tolist() == [[False, False], [True, False], [True, False]]
    assert Mask.from_rle(mask.counts, (3, 2)) == mask
    assert Mask.from_rle(mask.counts.decode(), (3, 2)) == mask


def test_the_box_is_half_open_and_tight() -> None:
    mask = square(3, 4, 10, 6)
    assert mask.box == Box(3, 4, 10, 6)
    assert mask.area_px == 14
    assert Mask.empty((20, 30)).box is None


def test_set_operations_and_iou() -> None:
    left, right = square(0, 0, 10, 10), square(5, 0, 15, 10)
    assert left.union(right) == square(0, 0, 15, 10)
    assert left.intersection(right) == square(5, 0, 10, 10)
    assert left.iou(right) == pytest.approx(1 / 3)
    assert mask_iou([left, right], [left]).tolist() == [[1.0], [pytest.approx(1 / 3)]]
    assert mask_iou([], [left]).shape == (0, 1)
    assert Mask.empty((20, 30)).iou(Mask.empty((20, 30))) == 1.0


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ShapeMismatch):
        square(0, 0, 5, 5).iou(Mask.empty((5, 5)))
    with pytest.raises(ShapeMismatch, match="runs cover 5 pixels"):
        Mask.from_runs([2, 3], (2, 2))
    with pytest.raises(ShapeMismatch):
        Mask.from_bitmap(np.zeros((2, 2, 1)))


def test_polygons_of_a_rectangle_are_its_corners() -> None:
    (ring,) = square(3, 4, 10, 6).polygons()
    assert {tuple(vertex) for vertex in ring.tolist()} == {(3, 4), (10, 4), (10, 6), (3, 6)}
    assert Mask.empty((20, 30)).polygons() == []


def test_a_polygon_that_leaves_the_image_keeps_its_slope() -> None:
    """The diagonal from (0, 10) to (20, -10) must cross the top border at x = 10, wherever its end lies."""
    mask = Mask.from_polygons([[(0, 10), (20, -10), (20, 10)]], (10, 20))
    inside = Mask.from_polygons([[(0, 10), (10, 0), (20, 0), (20, 10)]], (10, 20))
    assert mask == inside
    assert mask.area_px < Mask.from_polygons([[(0, 10), (20, 0), (20, 10)]], (10, 20)).area_px + 60


def test_a_polygon_as_wide_as_the_world_is_cut_before_it_is_drawn() -> None:
    mask = Mask.from_polygons([[(-1e9, -1e9), (1e9, -1e9), (1e9, 1e9), (-1e9, 1e9)]], (10, 20))
    assert mask.area_px == 200


@pytest.mark.parametrize(
    ("polygon", "words"),
    [([(1, 1), (2, 2)], "three vertices"), ([(1, 1), (2, float("nan")), (3, 3)], "not finite")],
)
def test_broken_polygons_are_refused(polygon: list[tuple[float, float]], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Mask.from_polygons([polygon], (10, 10))


@pytest.mark.parametrize(
    ("top", "left", "height", "width"),
    [(3, 5, 7, 9), (0, 0, 12, 20), (0, 4, 12, 6), (11, 19, 1, 1), (0, 0, 1, 20), (5, 0, 7, 20)],
    ids=["inside", "everything", "whole columns", "last pixel", "first row", "bottom"],
)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_crop_is_put_into_its_place(top: int, left: int, height: int, width: int, share: float) -> None:
    size_hw = (12, 20)
    crop = np.random.default_rng(0).random((height, width)) < share
    whole = np.zeros(size_hw, dtype=bool)
    whole[top : top + height, left : left + width] = crop
    assert Mask.from_crop(crop, left, top, size_hw) == Mask.from_bitmap(whole)


@pytest.mark.parametrize(("left", "top"), [(-1, 0), (0, -1), (18, 0), (0, 9)])
def test_a_crop_that_leaves_the_image_is_refused(left: int, top: int) -> None:
    with pytest.raises(ShapeMismatch, match="leaves an image"):
        Mask.from_crop(np.ones((4, 3), dtype=np.bool_), left, top, (12, 20))


@pytest.mark.parametrize(
    "runs", [[1, 2, 0, 0, 3], [1, 1, 0, 1, 3], [1, 2, 3, 0], [0, 0, 1, 2, 3], [1, 2, 1, 0, 2]]
)
def test_empty_runs_do_not_tell_equal_masks_apart(runs: list[int]) -> None:
    flat = np.concatenate([np.full(run, index % 2) for index, run in enumerate(runs)])
    bitmap = flat.reshape((3, 2), order="F").astype(bool)
    assert Mask.from_runs(runs, (3, 2)) == Mask.from_bitmap(bitmap)


def test_how_much_of_a_mask_lies_inside_others() -> None:
    size = (10, 20)
    boxes = Box(2, 2, 6, 6), Box(2, 2, 12, 4), Box(15, 0, 20, 2)
    inner, outer, apart = (Mask.from_box(box, size) for box in boxes)
    assert inner.share_inside([outer, inner, apart]).tolist() == [0.5, 1.0, 0.0]
    assert Mask.empty(size).share_inside([outer]).tolist() == [0.0]
    assert inner.share_inside([]).shape == (0,)
    with pytest.raises(ShapeMismatch):
        inner.share_inside([Mask.empty((3, 3))])
