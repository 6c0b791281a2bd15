from dataclasses import replace
from typing import Any

import pytest

from pipeline.scenes import DEMO, PRETRAINING, Kind, SceneSpec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("coin", "unicorn")}, "unicorn"),
        ({"classes": ()}, "at least one"),
        ({"classes": ("coin", "coin")}, "each once"),
        ({"class_weights": (1.0,)}, "class_weights"),
        ({"class_weights": (1.0, -1.0, 1.0, 1.0)}, "class_weights"),
        ({"class_weights": (0.0, 0.0, 0.0, 0.0)}, "class_weights"),
        ({"size_hw": (160, 31)}, "size_hw"),
        ({"objects": (0, 3)}, "objects"),
        ({"objects": (4, 3)}, "objects"),
        ({"radius_px": (3.0, 9.0)}, "radius_px"),
        ({"radius_px": (20.0, 9.0)}, "radius_px"),
        ({"empty_fraction": 1.1}, "fractions"),
        ({"texture": -0.1}, "fractions"),
        ({"lighting": float("nan")}, "fractions"),
        ({"overlap_fraction": 0.7, "touch_fraction": 0.4}, "overlap_fraction"),
        ({"min_visible": 0.0}, "min_visible"),
        ({"min_visible_px": 0}, "min_visible_px"),
        ({"grounds": ("slate", "lava")}, "lava"),
        ({"contrast": 500.0}, "contrast"),
        ({"noise": 65}, "noise"),
    ],
)
def test_a_wrong_value_is_refused_and_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(DEMO, **change)


def test_all_wrong_values_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"size_hw.*noise"):
        replace(DEMO, size_hw=(1, 1), noise=-1)


def test_probabilities_follow_the_weights() -> None:
    assert DEMO.probabilities == pytest.approx((4 / 12, 3 / 12, 4 / 12, 1 / 12))
    assert SceneSpec(classes=("coin", "ring")).probabilities == (0.5, 0.5)


def test_pretraining_shares_no_class_with_the_demo() -> None:
    assert not set(PRETRAINING.classes) & set(DEMO.classes)


def test_a_kind_knows_its_parts() -> None:
    with pytest.raises(ValueError, match="velvet"):
        Kind(("coin",), ("velvet",))
