"""The segmenter that comes along: its weights, and what they can do on scenes that no training saw."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors.segmenters.nano_sam import SHIPPED, Settings, build
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, Prompt
from pipeline.errors import ShapeMismatch, WeightsUnavailable
from pipeline.ports import Segmenter
from pipeline.scenes import DEMO, scene_at
from tests.contracts._yolo import resources_for, skip_without, write_weights

RECIPE = Path(__file__).parents[4] / "configs" / "weights"


@pytest.fixture(scope="module", autouse=True)
def _packages() -> None:
    skip_without("torch", "safetensors")


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    return build(Settings(device="cpu"), resources_for(tmp_path_factory.mktemp("work")))


@pytest.fixture(scope="module")
def scene(segmenter: Segmenter) -> tuple[Encoding, Any]:
    """A demo scene's encoding, and one of its objects."""
    image, things = scene_at(DEMO, 7_002, 0)
    [encoding] = segmenter.encode([image])
    return encoding, max((thing.visible for thing in things), key=lambda mask: int(mask.sum()))


def test_the_file_is_small_and_says_what_it_is() -> None:
    from safetensors import safe_open

    assert SHIPPED.stat().st_size <= 8 * 2**20
    with safe_open(SHIPPED, framework="numpy") as opened:
        header = opened.metadata()
        assert {str(opened.get_tensor(name).dtype) for name in opened.keys()} == {"float16", "int64"}  # noqa: SIM118  # it is no dict
    assert header["kind"] == "nano_sam"
    assert json.loads(header["training"])["steps"] > 1_000


def test_it_is_right_about_scenes_that_no_training_saw(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few objects of the published figures, which stand in `configs/weights/README.md`: a floor, no estimate."""
    monkeypatch.syspath_prepend(RECIPE)
    figures = importlib.import_module("nano_sam.figures").measure(segmenter, DEMO, objects=30, seed=7_002)
    floors = {"box": 0.85, "point": 0.7, "box_3_clicks": 0.9, "point_3_clicks": 0.9, "spearman": 0.5}
    assert {name: figures[name] for name, floor in floors.items() if figures[name] < floor} == {}


def test_in_bf16_masks_are_nearly_the_same_and_no_encoding_is_mistaken(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    rounded = build(Settings(device="cpu", precision="bf16"), resources_for(tmp_path))
    assert rounded.fingerprint != segmenter.fingerprint
    image, things = scene_at(DEMO, 7_002, 0)
    prompts = [Prompt(box=box) for thing in things if (box := Mask.from_bitmap(thing.visible).box) is not None]
    exact, near = (one.decode(one.encode([image])[0], prompts) for one in (segmenter, rounded))
    ious = [one.mask.iou(other.mask) for [one], [other] in zip(exact, near, strict=True)]
    assert min(ious) > 0.95
    assert all(one.logits is not None and one.logits.dtype == np.float32 for [one] in near)


def test_one_point_has_three_candidates_and_a_box_one(segmenter: Segmenter, scene: tuple[Encoding, Any]) -> None:
    encoding, truth = scene
    y, x = np.argwhere(truth)[len(np.argwhere(truth)) // 2]
    point = Prompt(points_xy=((x + 0.5, y + 0.5),), point_labels=(True,))
    three, one = segmenter.decode(encoding, [point, Prompt(box=Box(20, 20, 90, 100))])
    assert (len(three), len(one)) == (3, 1)


def test_half_precision_is_enough_for_an_encoding(segmenter: Segmenter, scene: tuple[Encoding, Any]) -> None:
    """As the store keeps it."""
    encoding, truth = scene
    halves = {name: array.astype(np.float16) for name, array in encoding.arrays.items()}
    assert sum(array.nbytes for array in halves.values()) < 1.1 * 2**20
    rows, columns = np.nonzero(truth)
    prompt = Prompt(box=Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
    [[whole]] = segmenter.decode(encoding, [prompt])
    [[half]] = segmenter.decode(replace(encoding, arrays=halves), [prompt])
    assert whole.mask.iou(half.mask) > 0.98


def test_its_name_tells_its_weights(segmenter: Segmenter, tmp_path: Path) -> None:
    drawn = build(Settings(untrained=True, device="cpu"), resources_for(tmp_path))
    assert drawn.name.startswith("nano_sam-")
    assert drawn.name != segmenter.name
    assert drawn.fingerprint != segmenter.fingerprint


def test_other_weights_are_looked_for(segmenter: Segmenter, tmp_path: Path) -> None:
    copied = tmp_path / "mine.safetensors"
    copied.write_bytes(SHIPPED.read_bytes())
    own = build(Settings(weights=str(copied), device="cpu"), resources_for(tmp_path, weights=copied))
    assert own.name == segmenter.name
    with pytest.raises(WeightsUnavailable, match="missing"):
        build(Settings(weights="missing.safetensors"), resources_for(tmp_path))


def test_weights_that_are_not_its_own_are_refused(tmp_path: Path) -> None:
    whole = SHIPPED.read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsUnavailable, match="cannot be read"):
        build(Settings(weights=str(cut)), resources_for(tmp_path, weights=cut))
    with pytest.raises(WeightsUnavailable, match="was wanted"):
        build(Settings(weights=str(cut), sha256="0" * 64), resources_for(tmp_path, weights=cut))
    with pytest.raises(WeightsUnavailable, match="was wanted"):
        build(Settings(sha256="0" * 64), resources_for(tmp_path))
    skip_without("ultralytics")
    yolo = write_weights(tmp_path / "yolo.pt")
    with pytest.raises(WeightsUnavailable):
        build(Settings(weights=str(yolo)), resources_for(tmp_path, weights=yolo))


@pytest.mark.parametrize("prior", [np.zeros((256, 256), np.float32), np.full((128, 128), np.nan, np.float32)])
def test_a_prior_of_another_size_or_of_no_numbers_is_refused(
    segmenter: Segmenter, scene: tuple[Encoding, Any], prior: Any
) -> None:
    with pytest.raises(ShapeMismatch, match=r"\(128, 128\)"):
        segmenter.decode(scene[0], [Prompt(prior=prior)])
