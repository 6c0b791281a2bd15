"""COCO's twelve figures are pycocotools' own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.domain.average_precision import COCO_FIGURES, ApAccumulator
from tests.unit.domain.test_average_precision import CLASSES, SIZE, referee
from tests.unit.domain.test_bootstrap import accumulated, large_scenes


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(3))
def test_all_twelve_are_pycocotools_own(seed: int, kind: str) -> None:
    scenes = large_scenes(seed)
    figures = accumulated(scenes).coco_figures("segm" if kind == "segm" else "bbox")
    assert figures is not None
    _, expected = referee(scenes, kind)
    # pycocotools adds 2e-16 to each denominator, so that its own precision of 1 is a little less.
    assert figures == pytest.approx(dict(zip(COCO_FIGURES, expected, strict=True)), rel=0, abs=1e-14)
    assert sum(0 < value < 1 for value in expected) >= 10, "the data must be neither hopeless nor perfect"


def test_sizes_without_truth_have_no_figure() -> None:
    large = large_scenes(1)
    small = [
        (name, size, [row for row in truth if row.box.area_px < 900], found) for name, size, truth, found in large
    ]
    figures = accumulated(small).coco_figures("bbox")
    assert figures is not None
    assert {name for name, value in figures.items() if value is None} == {"APm", "APl", "ARm", "ARl"}
    nothing = ApAccumulator(CLASSES)
    nothing.add("a", SIZE, [], [])
    assert nothing.coco_figures("segm") == dict.fromkeys(COCO_FIGURES)


def test_masks_are_not_judged_where_a_truth_has_none() -> None:
    scenes = large_scenes(2)
    name, size, truth, found = next(scene for scene in scenes if scene[2])
    scores = accumulated([(name, size, [replace(row, mask=None) for row in truth], found)])
    assert scores.coco_figures("segm") is None
    assert scores.coco_figures("bbox") is not None


def test_other_figures_do_not_depend_on_having_asked() -> None:
    scores = accumulated(large_scenes(0))
    before = scores.metrics()
    scores.coco_figures("segm")
    assert scores.metrics() == before
