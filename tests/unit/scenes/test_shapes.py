import cv2
import numpy as np
import pytest

from pipeline.scenes.shapes import SHAPES
from pipeline.scenes.sprites import Sprite, rasterise

RADIUS_PX = 24.0


def _sprite(name: str, seed: int = 0, radius_px: float = RADIUS_PX) -> Sprite:
    rng = np.random.default_rng(seed)
    return rasterise(SHAPES[name](rng), radius_px, rng)


def _parts_and_holes(sprite: Sprite) -> tuple[int, int]:
    contours, tree = cv2.findContours(sprite.mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    holes = int((tree[0, :, 3] >= 0).sum())
    return len(contours) - holes, holes


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_stays_inside_its_disc_and_is_of_one_piece(name: str) -> None:
    for seed in range(12):
        outline = SHAPES[name](np.random.default_rng(seed))
        points = np.concatenate(outline.contours)
        assert np.isfinite(points).all()
        assert np.linalg.norm(points, axis=1).max() <= 1.25
        sprite = _sprite(name, seed)
        parts, _ = _parts_and_holes(sprite)
        assert parts == 1
        assert 0.08 < sprite.area_px / (np.pi * RADIUS_PX**2) <= 1.02


@pytest.mark.parametrize(("name", "holes"), [("ring", 1), ("hollow", 1), ("coin", 0), ("leaf", 0), ("star", 0)])
def test_holes_are_where_they_belong(name: str, holes: int) -> None:
    assert all(_parts_and_holes(_sprite(name, seed))[1] == holes for seed in range(20))


def test_a_coin_covers_the_area_of_its_circle() -> None:
    for radius_px in (8.0, 15.5, 27.0):
        sprite = _sprite("coin", radius_px=radius_px)
        expected = np.pi * radius_px**2
        assert sprite.area_px == pytest.approx(expected, rel=0.04)
        assert sprite.coverage.sum() / 255 == pytest.approx(expected, rel=0.02)


def test_a_coin_is_centred_whatever_its_turn() -> None:
    for seed in range(10):
        rows, columns = np.nonzero(_sprite("coin", seed).mask)
        assert np.ptp(rows) == pytest.approx(2 * RADIUS_PX, abs=1.5)
        assert np.ptp(columns) == pytest.approx(2 * RADIUS_PX, abs=1.5)


@pytest.mark.parametrize("name", SHAPES)
def test_edges_are_smooth_and_the_mask_is_the_covered_half(name: str) -> None:
    sprite = _sprite(name)
    np.testing.assert_array_equal(sprite.mask, sprite.coverage >= 128)
    assert ((sprite.coverage > 0) & (sprite.coverage < 255)).any()
    assert (sprite.relief <= sprite.coverage).all()
    for border in (sprite.coverage[0], sprite.coverage[-1], sprite.coverage[:, 0], sprite.coverage[:, -1]):
        assert not border.any(), "the window must hold the whole object"
