"""The benchmarks of the dataset's tools at a small scale: both sides must give the same answers."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import _many_masks, _tool_contours, _tool_table, _tool_versions, coco_eval, roundtrip
from benchmarks._coco_scenes import scenes
from pipeline.domain.average_precision import COCO_FIGURES, Kind
from pipeline.domain.mask import Mask
from pipeline.formats.round_trip import yolo_round_trip


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


@pytest.mark.parametrize("name", ["parts", "thin", "twins"])
def test_seams_cost_no_more_than_the_shortest_lines_between_parts(name: str) -> None:
    for bitmap in (bitmap for pair in roundtrip.generated(name, 8) for bitmap in pair):
        assert yolo_round_trip(Mask.from_bitmap(bitmap)) >= roundtrip.bound(bitmap) - 1e-9


def test_the_bound_counts_the_pixels_between_parts() -> None:
    bitmap = np.zeros((9, 30), dtype=np.bool_)
    bitmap[2, [1, 5, 9]] = True
    assert roundtrip.bound(bitmap) == pytest.approx(3 / 9)
    assert roundtrip.bound(bitmap[:, :4]) == 1.0


def test_a_merge_of_many_is_the_same_in_any_order() -> None:
    found = _tool_versions.merged(0.001)
    assert found["annotations"] == 100
    assert found["same in any order"]
    assert 100 < found["instances"] < 5 * found["images"] * 2


def test_a_manifest_of_many_comes_back() -> None:
    found = _tool_versions.manifest(0.0005)
    assert (found["samples"], found["instances"]) == (50, 500)
    assert found["same after reading"]
    assert found["held"]


def test_table_and_json_give_the_same_rows() -> None:
    found = _tool_table.table(0.001, pairs=1)
    assert found["same answers"]
    assert found["rows found"] > 5


def test_contours_by_the_runs_are_those_of_the_frame() -> None:
    rng = np.random.default_rng(3)
    for share in _tool_contours.SHARES:
        assert _tool_contours.same_contours(Mask.from_bitmap(_many_masks.blob((120, 160), share, rng)))
