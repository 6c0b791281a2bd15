import numpy as np
import pytest

from pipeline.scenes.colours import RAMPS, distance, random_ramp, table
from pipeline.scenes.textures import FIELDS


@pytest.mark.parametrize("size_hw", [(160, 160), (9, 70), (70, 9), (33, 64)])
@pytest.mark.parametrize("name", FIELDS)
def test_a_field_has_its_size_and_varies(name: str, size_hw: tuple[int, int]) -> None:
    field = FIELDS[name](size_hw, np.random.default_rng(3))
    assert field.shape == size_hw
    assert field.dtype == np.uint8
    assert len(np.unique(field)) > 8


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_is_fixed_by_its_seed(name: str) -> None:
    first, again, other = (FIELDS[name]((40, 50), np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_table_runs_from_dark_over_middle_to_light() -> None:
    dark, middle, light = RAMPS["copper"]
    colours = table(RAMPS["copper"])
    assert colours.shape == (256, 3)
    assert tuple(colours[0]) == dark
    assert tuple(colours[128]) == middle
    np.testing.assert_allclose(colours[255], light, atol=1)
    assert (np.abs(np.diff(colours, axis=0)) <= 2).all()


def test_random_ramps_are_colours_that_get_lighter() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        ramp = np.array(random_ramp(rng))
        assert ramp.min() >= 0
        assert ramp.max() <= 255
        assert ramp[0].max() < ramp[1].max() <= ramp[2].max()


def test_distance_is_between_the_middle_colours() -> None:
    black, white = ((0, 0, 0),) * 3, ((255, 255, 255),) * 3
    assert distance(black, black) == 0
    assert distance(black, white) == pytest.approx(441.67, abs=0.01)
