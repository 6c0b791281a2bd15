"""Rows to masks, boxes and points, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.label_studio.convert import (
    Region,
    brush_row,
    polygon_loss,
    polygon_rows,
    prediction,
    read_regions,
    region_rows,
)
from connectors.label_studio.labeling_config import labeling_config, read_config
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Origin, OriginKind, State
from pipeline.errors import BadFormat, ShapeMismatch

SIZE = (60, 80)
TAGS = read_config(labeling_config(["coin", "ring"]))
KEYPOINT = {"x": 1, "y": 1, "keypointlabels": ["coin"]}
POLYGONS = replace(TAGS, brush=None)
MODEL = Origin(OriginKind.MODEL, "model")


def ring() -> Mask:
    """A ring with a hole, and a second part."""
    bitmap = np.zeros(SIZE, dtype=np.bool_)
    bitmap[5:30, 5:30] = True
    bitmap[12:20, 12:20] = False
    bitmap[40:50, 60:70] = True
    return Mask.from_bitmap(bitmap)


SQUARE = Mask.from_box(Box(40, 10, 60, 25), SIZE)


def row(kind: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    size = {"original_width": SIZE[1], "original_height": SIZE[0], "image_rotation": 0}
    return {"id": "r1", "from_name": "x", "to_name": "image", "type": kind, "value": value, **size, **more}


def test_a_brush_mask_comes_back_with_holes_and_parts() -> None:
    region = Region("r1", "ring", "brush", ring(), score=0.75)
    written = brush_row(region, TAGS)
    assert (written["from_name"], written["to_name"], written["type"]) == ("brush", "image", "brushlabels")
    assert (written["original_width"], written["original_height"]) == (80, 60)
    assert read_regions([written], SIZE) == [region]


def test_polygons_lose_holes_and_nothing_else() -> None:
    rows = polygon_rows(Region("r1", "ring", "polygon", ring()), TAGS)
    assert [one["id"] for one in rows] == ["r1", "r1~2"]
    whole = Mask.empty(SIZE)
    for region in read_regions(rows, SIZE):
        assert region.mask is not None
        whole = whole.union(region.mask)
    assert whole.area_px == ring().area_px + 64
    assert polygon_loss(ring()) == pytest.approx(1 - ring().area_px / whole.area_px)
    assert polygon_loss(SQUARE) == 0


def test_a_configuration_without_a_brush_gets_polygons() -> None:
    assert region_rows(Region("a", "coin", "brush", SQUARE), POLYGONS)[0]["type"] == "polygonlabels"
    assert region_rows(Region("a", "coin", "brush", Mask.empty(SIZE)), TAGS) == []
    assert region_rows(Region("a", "coin", "brush"), TAGS) == []


@given(
    st.floats(0, 100),
    st.floats(0, 100),
    st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    st.sampled_from([True, False, None]),
)
def test_percent_to_pixels(x: float, y: float, size_hw: tuple[int, int], positive: bool | None) -> None:
    said = {} if positive is None else {"is_positive": positive}
    point = row("keypointlabels", {"x": x, "y": y, "keypointlabels": ["coin"]}, **said)
    point |= {"original_width": size_hw[1], "original_height": size_hw[0]}
    [region] = read_regions([point], size_hw)
    assert region.point_xy == pytest.approx((x * size_hw[1] / 100, y * size_hw[0] / 100))
    assert region.positive is positive


def test_the_polarity_may_stand_in_the_value() -> None:
    value = {"x": 1, "y": 1, "keypointlabels": ["coin"], "positive": False}
    assert read_regions([row("keypointlabels", value)], SIZE)[0].positive is False
    assert read_regions([row("keypointlabels", value, is_positive=True)], SIZE)[0].positive is True


@pytest.mark.parametrize(
    ("rotation", "box"),
    [(0, (8, 6, 40, 30)), (90, (-16, 6, 8, 38)), (180, (-24, -18, 8, 6))],
)
def test_a_turned_rectangle_is_the_box_around_it(rotation: float, box: tuple[float, ...]) -> None:
    value = {"x": 10, "y": 10, "width": 40, "height": 40, "rotation": rotation, "rectanglelabels": ["coin"]}
    [region] = read_regions([row("rectanglelabels", value)], SIZE)
    assert region.box is not None
    assert tuple(region.box) == pytest.approx(box)


@pytest.mark.parametrize("turned", [90, 180, 270, -90, "90"])
def test_regions_of_a_turned_picture_are_refused(turned: object) -> None:
    """The editor writes their places as they are seen, and the picture's size as it is."""
    with pytest.raises(BadFormat, match=r"'r1'.*turned by .* degrees: turn it back and update"):
        read_regions([row("keypointlabels", KEYPOINT, image_rotation=turned)], SIZE)


@pytest.mark.parametrize("upright", [{"image_rotation": 0}, {"image_rotation": None}, {"image_rotation": 0.0}])
def test_an_upright_picture_says_so_in_several_ways(upright: dict[str, Any]) -> None:
    assert len(read_regions([row("keypointlabels", KEYPOINT, **upright)], SIZE)) == 1


@pytest.mark.parametrize("score", [10**400, float("nan"), "0.5", True, None])
def test_a_score_that_is_none_is_left_out(score: object) -> None:
    assert read_regions([row("keypointlabels", KEYPOINT, score=score)], SIZE)[0].score is None
    assert read_regions([row("keypointlabels", KEYPOINT, score=0.5)], SIZE)[0].score == 0.5


def test_rows_of_other_kinds_and_copies_of_masks_are_left_out() -> None:
    code = brush_row(Region("r1", "ring", "brush", SQUARE), TAGS)["value"]["rle"]
    copy = row("keypointlabels", {"format": "rle", "rle": code, "keypointlabels": ["ring"]})
    assert (
        read_regions([copy, row("choices", {"choices": ["fine"]}), row("textarea", {"text": ["x"]})], SIZE) == []
    )


@pytest.mark.parametrize(
    ("bad", "error", "reason"),
    [
        (row("keypointlabels", KEYPOINT, original_width=81), ShapeMismatch, "'r1'.*the image is"),
        (row("keypointlabels", KEYPOINT, image_rotation=90), BadFormat, "turned by 90 degrees: turn it back"),
        (row("keypointlabels", {"x": 1, "y": 1}), BadFormat, "no label: choose one"),
        (row("keypointlabels", {**KEYPOINT, "keypointlabels": ["a", "b"]}), BadFormat, "2 labels: choose one"),
        (row("keypointlabels", {"x": 1, "keypointlabels": ["coin"]}), BadFormat, "KeyError: 'y'"),
        (row("keypointlabels", KEYPOINT, id=None), BadFormat, "no id"),
        (row("keypointlabels", {**KEYPOINT, "x": 1e308}), BadFormat, "no coordinate"),
        (row("keypointlabels", {**KEYPOINT, "x": 10**400}), BadFormat, "no coordinate"),
        (row("keypointlabels", {**KEYPOINT, "keypointlabels": []}), BadFormat, "no label"),
        (row("keypointlabels", {**KEYPOINT, "x": float("nan")}), BadFormat, "no coordinate"),
        (row("keypointlabels", {**KEYPOINT, "x": "5"}), BadFormat, "no coordinate"),
        (row("keypointlabels", {**KEYPOINT, "x": True}), BadFormat, "no coordinate"),
        (row("brushlabels", {"brushlabels": ["coin"]}), BadFormat, "KeyError"),
        (row("brushlabels", {"brushlabels": ["coin"], "rle": "x"}), BadFormat, "no list"),
        (row("brushlabels", {"brushlabels": ["coin"], "format": "png", "rle": []}), BadFormat, "format 'png'"),
        (
            row("brushlabels", {"brushlabels": ["coin"], "rle": [0] * 4 + [58, *[1] * 40]}),
            ShapeMismatch,
            "holds 0 values",
        ),
        (row("polygonlabels", {"polygonlabels": ["coin"], "points": [[1, 1]]}), BadFormat, "three vertices"),
        ("text", BadFormat, "no object"),
        ({"type": "brushlabels", "value": 3}, BadFormat, "no object"),
    ],
)
def test_rows_that_cannot_be_read_are_refused_with_their_name(
    bad: Any, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        read_regions([bad], SIZE)


def shown(name: str, mask: Mask | None, label: str = "ring", confidence: float | None = 0.5) -> Instance:
    box = (mask.box if mask is not None else None) or Box(1, 1, 5, 5)
    return Instance(name, label, box, mask, MODEL, State.PROPOSED, confidence=confidence, predicted_iou=0.9)


def test_a_prediction_has_the_ids_of_its_instances() -> None:
    made = prediction([shown("m1", ring()), shown("m2", None)], TAGS, model_version="round 1", score=0.25)
    assert (made["model_version"], made["score"], [one["id"] for one in made["result"]]) == (
        "round 1",
        0.25,
        ["m1"],
    )
    unscored = prediction([shown("m1", ring()), shown("m2", SQUARE, confidence=0.7)], TAGS, model_version="x")
    assert unscored["score"] == 0.6
    assert [one["score"] for one in unscored["result"]] == [0.5, 0.7]
    assert prediction([], TAGS, model_version="x") == {"model_version": "x", "score": 0.0, "result": []}
