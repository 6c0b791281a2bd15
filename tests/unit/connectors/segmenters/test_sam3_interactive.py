"""The adapter over a small tracker of Meta's classes, against Meta's own predictor; and what it says without a GPU."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors.sam.third import OTHERS, parts_of
from connectors.segmenters.sam3_interactive import Settings, build, build_over, meta_module
from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, Prompt
from pipeline.errors import BackendUnavailable, ShapeMismatch, WeightsUnavailable
from pipeline.ports import Segmenter
from tests.contracts._sam3 import small_segmenter, small_tracker
from tests.contracts._segmenters import image, said
from tests.contracts._yolo import resources_for, skip_without

CPU = Settings(untrained=True, device="cpu")
BOX = Box(10.5, 4, 50, 40.25)
POINTS = ((30.5, 20.5), (5.5, 40.5))
SIGNS = (True, False)
AGREEMENT = 1e-4


@pytest.fixture(scope="module")
def tracker() -> Any:
    tracker = small_tracker()
    tracker.bf16_context.__exit__(None, None, None)
    return tracker


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    return small_segmenter(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def encoding(segmenter: Segmenter) -> Encoding:
    return segmenter.encode([image()])[0]


@pytest.fixture(scope="module")
def predictor(tracker: Any) -> Any:
    return predictor_of(tracker)


def predictor_of(tracker: Any) -> Any:
    """Meta's predictor; its filling of holes is not ours to repeat."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = meta_module("sam3.model.sam1_task_predictor")
        return module.SAM3InteractiveImagePredictor(tracker, max_hole_area=0.0)


def fed(predictor: Any, encoding: Encoding) -> Any:
    """The predictor with an image set, from arrays."""
    import torch

    arrays = {name: torch.from_numpy(array)[None] for name, array in encoding.arrays.items()}
    predictor.reset_predictor()
    predictor._features = {
        "image_embed": arrays["embedding"],
        "high_res_feats": [arrays["finest"], arrays["fine"]],
    }
    predictor._orig_hw, predictor._is_image_set = [encoding.size_hw], True
    return predictor


def test_the_encoding_is_what_the_predictor_sees(segmenter: Segmenter, predictor: Any) -> None:
    picture: Image = np.random.default_rng(0).integers(0, 256, (1008, 1008, 3), dtype=np.uint8)
    [encoding] = segmenter.encode([picture])
    predictor.set_image(picture)
    finest, fine = predictor._features["high_res_feats"]
    for name, expected in (("embedding", predictor.get_image_embedding()), ("finest", finest), ("fine", fine)):
        np.testing.assert_allclose(encoding.arrays[name].astype(np.float32), expected[0].numpy(), atol=AGREEMENT)
    assert [array.shape[1:] for array in encoding.arrays.values()] == [(72, 72), (288, 288), (144, 144)]


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        (Prompt(box=BOX), {"box": np.array(BOX)}),
        (Prompt(points_xy=POINTS[:1], point_labels=(True,)), {"point_coords": POINTS[:1], "point_labels": [1]}),
        (Prompt(points_xy=POINTS, point_labels=SIGNS), {"point_coords": POINTS, "point_labels": [1, 0]}),
        (
            Prompt(box=BOX, points_xy=POINTS, point_labels=SIGNS),
            {"box": np.array(BOX), "point_coords": POINTS, "point_labels": [1, 0]},
        ),
    ],
    ids=["box", "point", "points", "box and points"],
)
@pytest.mark.parametrize("primed", [False, True], ids=["", "after an answer"])
def test_it_says_what_meta_s_predictor_says(
    segmenter: Segmenter,
    predictor: Any,
    encoding: Encoding,
    prompt: Prompt,
    asked: Mapping[str, Any],
    multimask: bool,
    primed: bool,
) -> None:
    predictor = fed(predictor, encoding)
    if "point_coords" in asked:  # Meta's packages name a pixel by its index; here its centre is at half
        asked = {**asked, "point_coords": np.array(asked["point_coords"]) - 0.5}
    prior = None
    if primed:
        last = predictor.predict(**asked, multimask_output=False)[2]
        asked, prior = {**asked, "mask_input": last}, last[0]
    masks, ious, logits = predictor.predict(**asked, multimask_output=multimask)
    question = Prompt(box=prompt.box, points_xy=prompt.points_xy, point_labels=prompt.point_labels, prior=prior)
    [entry] = segmenter.decode(encoding, [question], multimask=multimask)
    assert len(entry) == len(logits) == (3 if multimask else 1)
    places = [int(np.argmin([np.abs(one.logits - low).max() for low in logits])) for one in entry]
    assert sorted(places) == list(range(len(entry)))
    for one, place in zip(entry, places, strict=True):
        assert one.logits is not None
        assert one.logits.shape == (288, 288)
        np.testing.assert_allclose(one.logits, logits[place], atol=AGREEMENT)
        assert (one.mask.bitmap() != (masks[place] > 0)).mean() <= 0.002
        assert one.predicted_iou == pytest.approx(float(ious[place]) * bool(one.mask.area_px), abs=AGREEMENT)


def test_many_prompts_are_one_question(segmenter: Segmenter, encoding: Encoding, predictor: Any) -> None:
    """The published predictor, too, is asked about several boxes at once; here they may have priors without points."""
    boxes = [BOX, Box(0, 0, 20, 20), Box(30, 10, 64, 48)]
    together = segmenter.decode(encoding, [Prompt(box=box) for box in boxes])
    _, _, logits = fed(predictor, encoding).predict(box=np.array(boxes), multimask_output=False)
    for [one], [low] in zip(together, logits, strict=True):
        assert one.logits is not None
        np.testing.assert_allclose(one.logits, low, atol=AGREEMENT)
    priors = [Prompt(prior=Mask.from_box(box, (48, 64))) for box in boxes]
    alone = [segmenter.decode(encoding, [prior])[0][0] for prior in priors]
    for [one], other in zip(segmenter.decode(encoding, priors), alone, strict=True):
        assert one.logits is not None
        assert other.logits is not None
        np.testing.assert_allclose(one.logits, other.logits, atol=AGREEMENT)


def test_priors_have_288_pixels(segmenter: Segmenter, encoding: Encoding) -> None:
    with pytest.raises(ShapeMismatch, match="288, 288"):
        segmenter.decode(encoding, [Prompt(prior=np.zeros((256, 256), dtype=np.float32))])


@pytest.fixture(scope="module")
def checkpoint(tracker: Any) -> dict[str, Any]:
    """A state dictionary by the names of the published file: the whole model, of which this peer needs a part."""
    import torch

    state = {
        f"{'detector' if name.startswith('backbone.') else 'tracker'}.{name}": value
        for name, value in tracker.state_dict().items()
    }
    for part in ("backbone.language_backbone", "transformer", "geometry_encoder", "segmentation_head"):
        state[f"detector.{part}.weight"] = torch.ones(3)
    state["tracker.maskmem_backbone.weight"] = state["tracker.transformer.weight"] = torch.ones(3)
    return state


def test_weights_are_taken_from_a_whole_checkpoint(
    segmenter: Segmenter, checkpoint: dict[str, Any], encoding: Encoding, tmp_path: Path
) -> None:
    import torch

    path = tmp_path / "sam3.pt"
    torch.save({"model": checkpoint}, path)
    other = build_over(
        lambda: small_tracker(seed=1), Settings(device="cpu"), resources_for(tmp_path, weights=path)
    )
    assert other.name == f"sam3_interactive-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    [again] = other.encode([image()])
    prompts = [Prompt(box=BOX), Prompt(points_xy=POINTS, point_labels=SIGNS)]
    assert said(other.decode(again, prompts)) == said(segmenter.decode(encoding, prompts))


@pytest.mark.parametrize("fault", ["missing", "surplus", "shape", "other kind", "cut short", "digest"])
def test_a_file_that_does_not_fit_is_refused(checkpoint: dict[str, Any], tmp_path: Path, fault: str) -> None:
    import torch

    path, state = tmp_path / "sam3.pt", dict(checkpoint)
    if fault == "missing":
        del state["tracker.no_mem_embed"]
    elif fault == "surplus":
        state["unheard.of"] = torch.zeros(1)
    elif fault == "shape":
        state["tracker.no_mem_embed"] = torch.zeros(1)
    elif fault == "other kind":
        state = {"image_encoder.weight": torch.zeros(1)}
    torch.save(state, path)
    if fault == "cut short":
        path.write_bytes(path.read_bytes()[:-4000])
    sha256 = "0" * 64 if fault == "digest" else None
    with pytest.raises(WeightsUnavailable, match=r"sam3\.pt"):
        build_over(small_tracker, Settings(device="cpu", sha256=sha256), resources_for(tmp_path, weights=path))


def test_building_leaves_the_thread_s_precision_alone(tmp_path: Path) -> None:
    """Meta's tracker enters an autocast as it is made, and stays in it."""
    skip_without("torch", "sam3")
    before = autocasts_open()
    made = small_tracker()
    assert autocasts_open() == before + 1, "what the peer has to mend"
    made.bf16_context.__exit__(None, None, None)
    build_over(small_tracker, CPU, resources_for(tmp_path))
    assert autocasts_open() == before


def autocasts_open() -> int:
    import torch

    torch.autocast_increment_nesting()
    return int(torch.autocast_decrement_nesting())


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_without_a_gpu_it_says_what_to_take_instead(tmp_path: Path, device: str) -> None:
    skip_without("torch", "sam3")
    import torch

    if device == "auto" and torch.cuda.is_available():
        pytest.skip("this machine has the GPU")
    with pytest.raises(BackendUnavailable, match="NVIDIA GPU") as caught:
        build(Settings(untrained=True, device=device), resources_for(tmp_path))
    assert "segmenter sam3 " in str(caught.value)
    assert "segmenter remote" in str(caught.value)


@pytest.mark.slow
def test_on_a_gpu_the_published_size_is_built(tmp_path: Path) -> None:
    skip_without("torch", "sam3")
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    segmenter = build(Settings(untrained=True), resources_for(tmp_path))
    [encoding] = segmenter.encode([image()])
    assert {name: array.shape for name, array in encoding.arrays.items()} == {
        "embedding": (256, 72, 72),
        "finest": (32, 288, 288),
        "fine": (64, 144, 144),
    }
    [[one]] = segmenter.decode(encoding, [Prompt(box=BOX)])
    assert one.mask.size_hw == (48, 64)


def test_every_name_of_a_published_checkpoint_is_known() -> None:
    """Meta loads the file strictly into its video model, so that the names are those of that model's parts."""
    skip_without("torch", "torchvision", "sam3")
    builder = meta_module("sam3.model_builder")
    with without_memory():
        video = builder.build_tracker(apply_temporal_disambiguation=True)
        detector = builder._create_sam3_model(
            builder._create_vl_backbone(builder._create_vision_backbone(), None),
            builder._create_sam3_transformer(),
            builder._create_geometry_encoder(),
            builder._create_segmentation_head(),
            builder._create_dot_product_scoring(),
            None,
            eval_mode=True,
        )
        tracker = builder.build_tracker(apply_temporal_disambiguation=False, with_backbone=True)
        ours = parts_of(tracker.backbone, tracker)
    published = {
        f"{part}.{name}": value.shape
        for part, model in (("detector", detector), ("tracker", video))
        for name, value in model.state_dict().items()
    }
    wanted = {name: value.shape for name, value in ours.state_dict().items()}
    assert {name: shape for name, shape in published.items() if not name.startswith(OTHERS)} == wanted
    assert sum(shape.numel() for shape in wanted.values()) > 450e6


@contextmanager
def without_memory() -> Iterator[None]:
    """Networks are built without their numbers, and what wants a GPU for a moment needs none; nor does an autocast that
    is begun stay open."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Shapes(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            given = dict(kwargs or {})
            if str(given.get("device")) == "cuda":
                given["device"] = "meta"
            if func is torch.linspace:  # its numbers are read while building
                given["device"] = "cpu"
            return func(*args, **given)

    opened = autocasts_open()
    with warnings.catch_warnings(), Shapes(), torch.device("meta"):
        warnings.simplefilter("ignore")
        yield
    for _ in range(autocasts_open() - opened):
        torch.autocast_decrement_nesting()
