"""Outlines: which rings there are, where they run, and what the frame cuts off."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.domain.contours import clip_ring, trace


def bitmap(*rows: str) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    return np.array([[letter == "#" for letter in row] for row in rows])


def corners(ring: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> set[tuple[float, float]]:
    return {(float(x), float(y)) for x, y in ring}


def test_a_pixel_is_a_unit_square() -> None:
    (ring,), holes = trace(bitmap("...", ".#."))
    assert corners(ring) == {(1, 1), (2, 1), (2, 2), (1, 2)}
    assert holes == []


def test_vertices_stand_at_corners_only() -> None:
    (ring,), _ = trace(np.ones((30, 50), dtype=np.bool_))
    assert len(ring) == 4


def test_a_concave_corner_is_not_cut() -> None:
    (ring,), _ = trace(bitmap("#.", "##"))
    assert corners(ring) == {(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (0, 2)}


def test_pixels_that_touch_by_a_corner_are_one_part() -> None:
    outer, holes = trace(bitmap("#..", ".#.", "..#"))
    assert (len(outer), len(holes)) == (1, 0)


def test_gaps_that_touch_by_a_corner_are_two_holes() -> None:
    outer, holes = trace(bitmap("####", "#.##", "##.#", "####"))
    assert (len(outer), len(holes)) == (1, 2)


def test_a_part_inside_a_hole_is_a_part() -> None:
    outer, holes = trace(bitmap("#####", "#...#", "#.#.#", "#...#", "#####"))
    assert [len(outer), len(holes)] == [2, 1]
    assert corners(outer[0]) == {(0, 0), (5, 0), (5, 5), (0, 5)}


def test_rings_come_largest_first() -> None:
    outer, _ = trace(bitmap("#.####.##"))
    assert [ring[:, 0].max() - ring[:, 0].min() for ring in outer] == [4, 2, 1]


@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (4, 5)])
def test_nothing_has_no_rings(shape: tuple[int, int]) -> None:
    assert trace(np.zeros(shape, dtype=np.bool_)) == ([], [])


def test_clipping_cuts_where_the_border_is_crossed() -> None:
    triangle = np.array([[-10.0, 5.0], [10.0, -5.0], [10.0, 15.0]])
    clipped = clip_ring(triangle, (10, 10))
    assert corners(clipped) == {(0, 0), (10, 0), (10, 10), (0, 10)}
    inside = np.array([[1.0, 1.0], [5.0, 2.0], [3.0, 7.0]])
    assert clip_ring(inside, (10, 10)) is inside


def test_what_lies_outside_vanishes() -> None:
    assert clip_ring(np.array([[20.0, 1.0], [30.0, 1.0], [25.0, 9.0]]), (10, 10)).shape == (0, 2)
