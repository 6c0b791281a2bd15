"""Outlines: which rings there are, where they run, and what the frame cuts off."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.domain.contours import Outline, Ring, clip_ring, trace
from pipeline.domain.run_lengths import runs_of

Bitmap = npt.NDArray[np.bool_]


def bitmap(*rows: str) -> Bitmap:
    return np.array([[letter == "#" for letter in row] for row in rows])


def traced(shown: Bitmap, connectivity: Literal[4, 8] = 8) -> Outline:
    return trace(runs_of(shown, 0, 0, shown.shape), shown.shape[0], connectivity=connectivity)


def corners(ring: Ring) -> set[tuple[float, float]]:
    return {(float(x), float(y)) for x, y in ring}


def test_a_pixel_is_a_unit_square() -> None:
    (ring,), holes = traced(bitmap("...", ".#."))
    assert corners(ring) == {(1, 1), (2, 1), (2, 2), (1, 2)}
    assert holes == []


def test_vertices_stand_at_corners_only() -> None:
    (ring,), _ = traced(np.ones((30, 50), dtype=np.bool_))
    assert len(ring) == 4


def test_a_concave_corner_is_not_cut() -> None:
    (ring,), _ = traced(bitmap("#.", "##"))
    assert corners(ring) == {(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (0, 2)}


def test_pixels_that_touch_by_a_corner_are_one_part() -> None:
    outer, holes = traced(bitmap("#..", ".#.", "..#"))
    assert (len(outer), len(holes)) == (1, 0)


def test_gaps_that_touch_by_a_corner_are_two_holes() -> None:
    outer, holes = traced(bitmap("####", "#.##", "##.#", "####"))
    assert (len(outer), len(holes)) == (1, 2)


def test_a_part_inside_a_hole_is_a_part() -> None:
    outer, holes = traced(bitmap("#####", "#...#", "#.#.#", "#...#", "#####"))
    assert [len(outer), len(holes)] == [2, 1]
    assert corners(outer[0]) == {(0, 0), (5, 0), (5, 5), (0, 5)}


def test_rings_come_largest_first() -> None:
    outer, _ = traced(bitmap("#.####.##"))
    assert [ring[:, 0].max() - ring[:, 0].min() for ring in outer] == [4, 2, 1]


@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (4, 5)])
def test_nothing_has_no_rings(shape: tuple[int, int]) -> None:
    assert traced(np.zeros(shape, dtype=np.bool_)) == ([], [])


def test_clipping_cuts_where_the_border_is_crossed() -> None:
    triangle = np.array([[-10.0, 5.0], [10.0, -5.0], [10.0, 15.0]])
    clipped = clip_ring(triangle, (10, 10))
    assert corners(clipped) == {(0, 0), (10, 0), (10, 10), (0, 10)}
    inside = np.array([[1.0, 1.0], [5.0, 2.0], [3.0, 7.0]])
    assert clip_ring(inside, (10, 10)) is inside


def test_what_lies_outside_vanishes() -> None:
    assert clip_ring(np.array([[20.0, 1.0], [30.0, 1.0], [25.0, 9.0]]), (10, 10)).shape == (0, 2)


def walked(shown: Bitmap, connectivity: Literal[4, 8]) -> set[frozenset[tuple[int, int]]]:
    """The rings by hand, as sets of their corners: one pixel edge after another, the object on the right."""
    size_hw = shown.shape
    full = {(x, y) for y in range(size_hw[0]) for x in range(size_hw[1]) if shown[y, x]}
    edges = set()
    for x, y in full:
        edges |= {((x, y), (1, 0))} if (x, y - 1) not in full else set()
        edges |= {((x + 1, y), (0, 1))} if (x + 1, y) not in full else set()
        edges |= {((x + 1, y + 1), (-1, 0))} if (x, y + 1) not in full else set()
        edges |= {((x, y + 1), (0, -1))} if (x - 1, y) not in full else set()
    rings = set()
    while edges:
        (x, y), (dx, dy) = step = min(edges)
        ring = set()
        while step in edges:
            edges.discard(step)
            x, y = x + dx, y + dy
            left, right = ((x, y), (dy, -dx)), ((x, y), (-dy, dx))
            turns = [left, ((x, y), (dx, dy)), right] if connectivity == 8 else [right, ((x, y), (dx, dy)), left]
            after = next((turn for turn in turns if turn in edges), None)
            if after is None or after[1] != (dx, dy):
                ring.add((x, y))
            if after is None:
                break
            step = after
            dx, dy = step[1]
        rings.add(frozenset(ring))
    return rings


@pytest.mark.parametrize("connectivity", [4, 8])
def test_rings_are_those_of_a_walk_along_the_border(connectivity: Literal[4, 8]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        shown = rng.random(rng.integers(1, 9, 2)) < rng.choice([0.2, 0.5, 0.8])
        outer, holes = traced(shown, connectivity)
        found = [frozenset((int(x), int(y)) for x, y in ring) for ring in (*outer, *holes)]
        assert set(found) == walked(shown, connectivity)
