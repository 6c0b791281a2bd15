"""The benchmarks of the dataset's tools at a small scale: both sides must give the same answers."""

from __future__ import annotations

import pytest

from benchmarks import coco_eval
from benchmarks._coco_scenes import scenes
from pipeline.domain.average_precision import COCO_FIGURES, Kind


@pytest.mark.parametrize("kind", coco_eval.KINDS)
def test_simulated_images_have_all_figures_and_both_sides_agree(kind: Kind) -> None:
    _, facts = coco_eval.measured(scenes(40, 20), kind, pairs=1)
    assert facts["identical"], facts
    assert [name for name, value in facts["figures"].items() if value] == list(COCO_FIGURES)


def test_a_figure_that_one_side_lacks_is_a_difference() -> None:
    some: dict[str, float | None] = dict.fromkeys(COCO_FIGURES, 0.5)
    assert coco_eval.difference(some, some) == 0
    assert coco_eval.difference(some, some | {"APs": None}) == float("inf")
    assert coco_eval.difference(some, some | {"APs": 0.25}) == 0.25
