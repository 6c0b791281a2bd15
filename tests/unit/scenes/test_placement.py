from dataclasses import replace

import numpy as np
import pytest

from pipeline.scenes import DEMO
from pipeline.scenes.placement import Layout, window
from pipeline.scenes.shapes import SHAPES
from pipeline.scenes.sprites import rasterise


@pytest.mark.parametrize(
    ("top", "left", "scene", "own"),
    [
        (2, 3, (slice(2, 6), slice(3, 8)), (slice(0, 4), slice(0, 5))),
        (-1, -2, (slice(0, 3), slice(0, 3)), (slice(1, 4), slice(2, 5))),
        (8, 7, (slice(8, 10), slice(7, 12)), (slice(0, 2), slice(0, 5))),
    ],
)
def test_window_cuts_at_the_border(
    top: int, left: int, scene: tuple[slice, slice], own: tuple[slice, slice]
) -> None:
    assert window(top, left, (4, 5), (10, 12)) == (scene, own)


@pytest.mark.parametrize(("top", "left"), [(-4, 0), (10, 0), (0, -9), (0, 40)])
def test_window_outside_the_scene_is_empty_on_both_sides(top: int, left: int) -> None:
    scene, own = window(top, left, (4, 5), (10, 12))
    assert np.zeros((10, 12))[scene].size == 0
    assert np.zeros((10, 12))[scene].shape == np.zeros((4, 5))[own].shape


def _fill(layout: Layout, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        layout.add("coin", rasterise(SHAPES["coin"](rng), rng.uniform(8.0, 24.0), rng), rng)


@pytest.mark.parametrize("seed", range(6))
def test_objects_apart_or_touching_keep_every_pixel(seed: int) -> None:
    layout = Layout(replace(DEMO, overlap_fraction=0.0, touch_fraction=0.6))
    _fill(layout, 9, seed)
    assert len(layout.spots) > 3
    for index, spot in enumerate(layout.spots):
        scene, own = window(spot.top, spot.left, spot.sprite.size_hw, DEMO.size_hw)
        np.testing.assert_array_equal(layout.topmost[scene] == index, spot.sprite.mask[own])


def test_touching_objects_are_one_step_apart() -> None:
    gaps = []
    for seed in range(20):
        layout = Layout(replace(DEMO, overlap_fraction=0.0, touch_fraction=1.0))
        _fill(layout, 2, seed)
        if len(layout.spots) == 2:
            first, second = (np.argwhere(layout.topmost == index) for index in (0, 1))
            gaps.append(np.abs(first[:, None] - second[None]).max(axis=2).min())
    assert len(gaps) > 10
    assert max(gaps) <= 2  # pixels: neighbours, or with one pixel between them


@pytest.mark.parametrize("seed", range(6))
def test_overlapping_objects_stay_visible(seed: int) -> None:
    spec = replace(DEMO, overlap_fraction=1.0, touch_fraction=0.0, min_visible=0.4, min_visible_px=50)
    layout = Layout(spec)
    _fill(layout, 30, seed)
    hidden = 0
    for index, spot in enumerate(layout.spots):
        visible_px = int(np.count_nonzero(layout.topmost == index))
        assert visible_px >= max(50, round(0.4 * spot.sprite.area_px))
        hidden += visible_px < spot.sprite.area_px
    assert hidden > 2


def test_what_does_not_fit_is_not_laid() -> None:
    layout = Layout(replace(DEMO, size_hw=(32, 32), overlap_fraction=0.0, touch_fraction=0.0))
    rng = np.random.default_rng(0)
    sprites = [rasterise(SHAPES["coin"](rng), 14.0, rng) for _ in range(12)]
    laid = [layout.add("coin", sprite, rng) for sprite in sprites]
    assert laid.count(True) == len(layout.spots) == len(layout.labels) < 12
    assert layout.topmost.max() == len(layout.spots) - 1
