"""SAM's parts against its own conventions, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors.sam.frame import LOW_SIDE, SIDE, Frame
from connectors.segmenters.sam import Settings, build
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
    assert drawn.name.split("-")[:2] == segmenter.name.split("-")[:2] == ["sam", "mobile_sam"]
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
    assert all(one.logits is not None and one.logits.shape == (LOW_SIDE, LOW_SIDE) for one in three)
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


@pytest.mark.parametrize("fault", ["missing", "surplus", "shape", "variant", "cut short", "no table"])
def test_a_file_that_is_not_the_variant_s_is_refused(
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
    variant = "sam_b" if fault == "variant" else "mobile_sam"
    with pytest.raises(WeightsUnavailable, match=r"mobile_sam\.pt"):
        build(Settings(variant=variant, device="cpu"), resources_for(tmp_path, weights=path))


def test_building_leaves_the_random_numbers_of_others_alone(tmp_path: Path) -> None:
    skip_without("torch", "ultralytics")
    load("the tests")
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build(Settings(untrained=True, device="cpu"), resources_for(tmp_path))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("size_hw", "content_hw"), [((480, 640), (768, 1024)), ((1, 5000), (1, 1024)), ((2, 2), (1024, 1024))]
)
def test_the_longest_side_fills_the_frame(size_hw: tuple[int, int], content_hw: tuple[int, int]) -> None:
    frame = Frame(size_hw)
    assert frame.content_hw == content_hw
    pixels = frame.pixels(np.full((*size_hw, 3), 255, dtype=np.uint8))
    assert pixels.shape == (3, SIDE, SIDE)
    assert pixels.dtype == np.float32
    height, width = content_hw
    assert (pixels[:, :height, :width] > 2).all()
    assert not pixels[:, height:].any()
    assert not pixels[:, :, width:].any()


def test_pixels_are_named_by_index_and_boxes_by_their_sides() -> None:
    frame = Frame((512, 256))
    assert frame.point(0.5, 0.5) == (0, 0)
    assert frame.point(100.5, 20.5) == (200, 40)
    assert frame.box(Box(0, 0, 256, 512)) == (0, 0, 512, 1024)


def test_a_mask_becomes_logits_where_the_image_lies() -> None:
    logits = Frame((64, 128)).prior(Mask.from_box(Box(0, 0, 64, 64), (64, 128)))
    assert (logits[:128, :128] > 0).all()
    assert (logits[:128, 128:] < 0).all()
    assert (logits[128:] < 0).all(), "the padding is no object"
