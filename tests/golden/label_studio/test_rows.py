"""Rows as the editor writes them, and as we write them: nobody changes either unawares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors.label_studio.convert import prediction, read_regions
from connectors.label_studio.labeling_config import Tags
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Origin, OriginKind, State

HERE = Path(__file__).parent
EDITOR: list[dict[str, Any]] = json.loads((HERE / "editor_rows.json").read_text())


@pytest.mark.parametrize("case", EDITOR, ids=lambda case: case["says"])
def test_the_editors_rows(case: dict[str, Any]) -> None:
    regions = read_regions([case["row"]], tuple(case["size_hw"]))
    expected = case["reads"]
    if expected is None:
        assert regions == []
        return
    [region] = regions
    area_px = region.mask.area_px if region.mask is not None else None
    box = list(region.box) if region.box is not None else None
    point_xy = list(region.point_xy) if region.point_xy is not None else None
    assert (region.id, region.label, region.kind) == (expected["id"], expected["label"], expected["kind"])
    assert region.positive is expected.get("positive")
    assert area_px == expected.get("area_px")
    assert box == (pytest.approx(expected["box"]) if "box" in expected else None)
    assert point_xy == (pytest.approx(expected["point_xy"]) if "point_xy" in expected else None)


@pytest.mark.parametrize("tool", ["brush", "polygon"])
def test_our_predictions(tool: str) -> None:
    """A ring and a spot beside it, and an object without a mask, which has no row."""
    bitmap = np.zeros((12, 16), dtype=np.bool_)
    bitmap[1:9, 1:9] = True
    bitmap[3:6, 3:6] = False
    bitmap[10, 12:15] = True
    mask = Mask.from_bitmap(bitmap)
    if mask.box is None:
        raise ValueError("the mask is empty")
    machine = Origin(OriginKind.MODEL, "nano")
    found = [
        Instance("one", "ring", mask.box, mask, machine, State.PROPOSED, confidence=0.75),
        Instance("two", "ring", mask.box, None, machine, State.PROPOSED, confidence=0.25),
    ]
    tags = Tags("image", "image", brush="brush") if tool == "brush" else Tags("image", "image", polygon="polygon")
    made = prediction(found, tags, model_version="nano")
    assert made == json.loads((HERE / f"prediction_{tool}.json").read_text())
