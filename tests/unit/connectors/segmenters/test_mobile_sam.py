"""MobileSAM with random weights: files, candidates, priors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors.segmenters import mobile_sam, sam2
from connectors.segmenters.mobile_sam import Settings, build
from connectors.ultralytics.runtime import load
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Prompt
from pipeline.errors import BackendRejected, ShapeMismatch, WeightsUnavailable
from pipeline.ports import Segmenter
from tests.contracts._segmenters import image, said
from tests.contracts._yolo import resources_for, skip_without


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """MobileSAM's weights as its file holds them, drawn at random."""
    skip_without("torch", "ultralytics")
    load("the tests")
    import torch
    from ultralytics.models.sam.build import build_mobile_sam

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = build_mobile_sam().state_dict()
    path = tmp_path_factory.mktemp("weights") / "mobile_sam.pt"
    torch.save(weights, path)
    return path, weights


@pytest.fixture(scope="module")
def segmenter(state: tuple[Path, dict[str, Any]]) -> Segmenter:
    return build(Settings(device="cpu"), resources_for(state[0].parent, weights=state[0]))


def test_a_file_s_weights_are_used_everywhere(segmenter: Segmenter, tmp_path: Path) -> None:
    """The same weights without a file say the same: of the initial ones no table is left."""
    drawn = build(Settings(untrained=True, device="cpu"), resources_for(tmp_path))
    assert drawn.name.split("-")[:1] == segmenter.name.split("-")[:1] == ["mobile_sam"]
    prompt = [Prompt(box=Box(10, 5, 50, 40))]
    [from_file], [from_seed] = (one.encode([image()]) for one in (segmenter, drawn))
    np.testing.assert_array_equal(from_file.arrays["embedding"], from_seed.arrays["embedding"])
    with pytest.raises(BackendRejected):
        drawn.decode(from_file, prompt)
    again = type(from_seed)(from_file.arrays, from_file.size_hw, from_seed.fingerprint)
    assert said(segmenter.decode(from_file, prompt)) == said(drawn.decode(again, prompt))


def test_three_candidates_the_best_first_and_a_prior_matters(segmenter: Segmenter) -> None:
    [encoding] = segmenter.encode([image()])
    box = Box(10, 5, 50, 40)
    [three] = segmenter.decode(encoding, [Prompt(box=box)], multimask=True)
    assert len(three) == 3
    assert all(one.logits is not None and one.logits.shape == (256, 256) for one in three)
    [[plain], [primed], [as_mask]] = segmenter.decode(
        encoding,
        [
            Prompt(box=box),
            Prompt(box=box, prior=three[0].logits),
            Prompt(box=box, prior=Mask.from_box(box, (48, 64))),
        ],
    )
    assert len({one.mask.counts for one in (plain, primed, as_mask)}) == 3
    with pytest.raises(ShapeMismatch, match="256, 256"):
        segmenter.decode(encoding, [Prompt(prior=np.zeros((64, 64), dtype=np.float32))])


@pytest.mark.parametrize("fault", ["missing", "surplus", "shape", "kind", "cut short", "no table"])
def test_a_file_that_is_not_the_kind_s_is_refused(
    state: tuple[Path, dict[str, Any]], tmp_path: Path, fault: str
) -> None:
    import torch

    path, weights = tmp_path / "mobile_sam.pt", dict(state[1])
    first = next(iter(weights))
    if fault == "missing":
        del weights[first]
    elif fault == "surplus":
        weights["unheard.of"] = torch.zeros(1)
    elif fault == "shape":
        weights[first] = torch.zeros(1)
    torch.save([1, 2] if fault == "no table" else weights, path)
    if fault == "cut short":
        path.write_bytes(path.read_bytes()[:-4000])
    peer = sam2 if fault == "kind" else mobile_sam
    with pytest.raises(WeightsUnavailable, match=r"mobile_sam\.pt"):
        peer.build(peer.Settings(device="cpu"), resources_for(tmp_path, weights=path))


def test_building_leaves_the_random_numbers_of_others_alone(tmp_path: Path) -> None:
    skip_without("torch", "ultralytics")
    load("the tests")
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build(Settings(untrained=True, device="cpu"), resources_for(tmp_path))
    assert torch.equal(torch.rand(3), expected)


def test_the_masks_are_those_of_ultralytics_own_predictor(
    segmenter: Segmenter, state: tuple[Path, dict[str, Any]]
) -> None:
    """On a square of SAM's own size, where no resizing comes between; the predictor names points by their corner."""
    from ultralytics.models.sam.predict import Predictor

    picture = np.random.default_rng(0).integers(0, 255, (1024, 1024, 3), dtype=np.uint8)
    overrides = {"conf": 0.0, "task": "segment", "mode": "predict", "imgsz": 1024, "save": False, "device": "cpu"}
    predictor = Predictor(overrides={**overrides, "model": str(state[0])})
    predictor.args.conf = -100.0  # random weights predict any quality
    predictor.set_image(np.ascontiguousarray(picture[..., ::-1]))
    boxes = np.array([[100.0, 200.0, 400.0, 600.0], [500.0, 100.0, 900.0, 300.0]])
    [theirs] = predictor(bboxes=boxes)
    [encoding] = segmenter.encode([picture])
    ours = segmenter.decode(encoding, [Prompt(box=Box(*row)) for row in boxes.tolist()])
    found = theirs.masks.data.numpy()
    assert len(found) == len(ours)
    for [one], other in zip(ours, found, strict=True):
        assert one.mask.iou(Mask.from_bitmap(other.astype(bool))) > 0.99
