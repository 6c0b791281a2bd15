"""Meta's package, called part by part, against Meta's own predictor on the same random weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from connectors.segmenters.segment_anything import Settings, build
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, MaskPrediction, Prompt
from pipeline.errors import ConfigError, ShapeMismatch, WeightsUnavailable
from pipeline.ports import Segmenter
from pipeline.wiring import checked_peer
from tests.contracts._segmenters import image
from tests.contracts._yolo import resources_for, skip_without

SMALL: Mapping[str, Any] = {
    "embed_dim": 32,
    "depth": 2,
    "heads": 2,
    "global_attn_indexes": (1,),
    "image_size": 128,
}
BOX = Box(10.5, 4, 50, 40.25)
POINTS = ((30.5, 20.5), (5.5, 40.5))
SIGNS = (True, False)
AGREEMENT = 1e-4


def settings(**others: Any) -> Settings:
    return Settings.model_validate({"size": "custom", "custom": SMALL, "device": "cpu", **others})


@pytest.fixture(scope="module")
def meta() -> Any:
    """Meta's model at a small size, with weights that make masks of many shapes."""
    skip_without("torch", "torchvision", "segment_anything")
    import torch

    from connectors.segmenters import segment_anything as peer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        custom = settings(untrained=True).custom
        assert custom is not None
        model = peer._custom(custom).eval()
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.data += 0.02 * torch.randn(parameter.shape)
    return model


@pytest.fixture(scope="module")
def weights(meta: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    path = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save(meta.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def segmenter(weights: Path) -> Segmenter:
    return build(settings(weights="small.pth"), resources_for(weights.parent, weights=weights))


@pytest.fixture(scope="module")
def predictor(meta: Any) -> Any:
    from segment_anything import SamPredictor

    predictor = SamPredictor(meta)
    predictor.set_image(image())
    return predictor


@pytest.fixture(scope="module")
def encoding(segmenter: Segmenter) -> Encoding:
    return segmenter.encode([image()])[0]


def test_the_embedding_is_the_predictor_s(predictor: Any, encoding: Encoding) -> None:
    expected = predictor.get_image_embedding()[0].numpy()
    assert encoding.arrays.keys() == {"embedding"}
    embedding = encoding.arrays["embedding"].astype(np.float32)
    assert embedding.shape == (256, 8, 8)
    np.testing.assert_allclose(embedding, expected, atol=AGREEMENT)


def indexed(points: tuple[tuple[float, float], ...]) -> Any:
    """Meta's package names a pixel by its index; here its centre is at half."""
    return np.array(points) - 0.5


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
    if "point_coords" in asked:
        asked = {
            **asked,
            "point_coords": indexed(asked["point_coords"]),
            "point_labels": np.array(asked["point_labels"]),
        }
    if primed:
        last = predictor.predict(**asked, multimask_output=False)[2]
        asked = {**asked, "mask_input": last}
        prompt = Prompt(
            box=prompt.box, points_xy=prompt.points_xy, point_labels=prompt.point_labels, prior=last[0]
        )
    masks, ious, logits = predictor.predict(**asked, multimask_output=multimask)
    [entry] = segmenter.decode(encoding, [prompt], multimask=multimask)
    ranked = np.argsort(-np.clip(ious, 0, 1), kind="stable")
    assert len(entry) == len(ranked) == (3 if multimask else 1)
    said = sorted(entry, key=lambda one: order(one, logits))
    for one, mask, iou, low in zip(said, masks, ious, logits, strict=True):
        assert one.logits is not None
        np.testing.assert_allclose(one.logits, low, atol=AGREEMENT)
        assert (one.mask.bitmap() != mask).mean() <= 0.001
        assert one.predicted_iou == pytest.approx(min(max(float(iou), 0), 1) * bool(mask.any()), abs=AGREEMENT)


def order(one: MaskPrediction, logits: Any) -> int:
    """The place that the predictor gave this candidate."""
    return int(np.argmin([np.abs(one.logits - low).max() for low in logits]))


def test_its_random_masks_are_worth_comparing(segmenter: Segmenter, encoding: Encoding) -> None:
    [entry] = segmenter.decode(encoding, [Prompt(box=BOX)], multimask=True)
    shares = [one.mask.area_px / (48 * 64) for one in entry]
    assert any(0.05 < share < 0.95 for share in shares), shares
    assert len({one.mask.counts for one in entry}) == 3


def test_a_prior_changes_the_answer_and_has_the_logits_size(segmenter: Segmenter, encoding: Encoding) -> None:
    [[plain]] = segmenter.decode(encoding, [Prompt(box=BOX)])
    [[primed]] = segmenter.decode(encoding, [Prompt(box=BOX, prior=Mask.from_box(BOX, (48, 64)))])
    assert plain.logits is not None
    assert plain.logits.shape == (32, 32)
    assert primed.mask != plain.mask
    with pytest.raises(ShapeMismatch, match="32, 32"):
        segmenter.decode(encoding, [Prompt(prior=np.zeros((256, 256), dtype=np.float32))])


def test_the_weights_tell_structures_apart(segmenter: Segmenter, weights: Path) -> None:
    assert segmenter.name.startswith("segment_anything-custom-")
    for other in ({"heads": 4}, {"global_attn_indexes": (0,)}, {"image_size": 256}):
        with pytest.raises(WeightsUnavailable, match="other shapes"):
            build(
                settings(weights="small.pth", custom={**SMALL, **other}),
                resources_for(weights.parent, weights=weights),
            )


@pytest.mark.parametrize("fault", ["missing", "surplus", "shape", "size", "cut short", "no table", "digest"])
def test_a_file_that_does_not_fit_is_refused(meta: Any, tmp_path: Path, fault: str) -> None:
    import torch

    path, state = tmp_path / "small.pth", dict(meta.state_dict())
    first = next(iter(state))
    if fault == "missing":
        del state[first]
    elif fault == "surplus":
        state["unheard.of"] = torch.zeros(1)
    elif fault == "shape":
        state[first] = torch.zeros(1)
    torch.save([1, 2] if fault == "no table" else state, path)
    if fault == "cut short":
        path.write_bytes(path.read_bytes()[:-4000])
    custom = {**SMALL, "depth": 3} if fault == "size" else SMALL
    sha256 = "0" * 64 if fault == "digest" else None
    with pytest.raises(WeightsUnavailable, match=r"small\.pth"):
        build(settings(weights="small.pth", custom=custom, sha256=sha256), resources_for(tmp_path, weights=path))


@pytest.mark.parametrize(
    ("size", "published"),
    [
        ("vit_b", "sam_vit_b_01ec64.pth"),
        ("vit_l", "sam_vit_l_0b3195.pth"),
        ("vit_h", "sam_vit_h_4b8939.pth"),
    ],
)
def test_meta_s_weights_are_looked_for_by_the_name_they_are_published_under(
    tmp_path: Path, size: str, published: str
) -> None:
    skip_without("torch", "torchvision", "segment_anything")
    with pytest.raises(WeightsUnavailable) as caught:
        build(Settings.model_validate({"size": size}), resources_for(tmp_path))
    assert caught.value.name == published


def test_a_custom_size_of_vit_b_s_measures_is_vit_b() -> None:
    skip_without("torch", "torchvision", "segment_anything")
    import torch
    from segment_anything import sam_model_registry

    from connectors.segmenters import segment_anything as peer

    size = peer.CustomSize(embed_dim=768, depth=12, heads=12, global_attn_indexes=(2, 5, 8, 11))
    with torch.device("meta"):
        ours, theirs = peer._custom(size), sam_model_registry["vit_b"]()
    assert {name: one.shape for name, one in ours.state_dict().items()} == {
        name: one.shape for name, one in theirs.state_dict().items()
    }
    assert str(ours) == str(theirs)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"size": "custom"}, "described by custom"),
        ({"custom": SMALL}, "described by custom"),
        ({"size": "custom", "custom": SMALL}, "name a weights file"),
        ({"size": "custom", "custom": {**SMALL, "heads": 3}, "untrained": True}, "no multiple of heads 3"),
        ({"size": "custom", "custom": {**SMALL, "global_attn_indexes": (2,)}, "untrained": True}, "0 to 1"),
        ({"size": "custom", "custom": {**SMALL, "image_size": 100}, "untrained": True}, "multiple of 16"),
        ({"size": "vit_x"}, "vit_b"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(given: Mapping[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        Settings.model_validate(given)
    with pytest.raises(ConfigError, match=word):
        checked_peer("segmenter", "segment_anything", given)


def test_an_image_of_odd_measures_is_scaled_as_meta_scales_it(segmenter: Segmenter, meta: Any) -> None:
    from segment_anything import SamPredictor

    picture = image()[:37, :61].copy()
    predictor = SamPredictor(meta)
    predictor.set_image(picture)
    masks, _, logits = predictor.predict(
        point_coords=indexed(((41.5, 29.5),)), point_labels=np.array([1]), box=np.array([7, 3, 50, 30.5])
    )
    prompt = Prompt(box=Box(7, 3, 50, 30.5), points_xy=((41.5, 29.5),), point_labels=(True,))
    [entry] = segmenter.decode(segmenter.encode([picture])[0], [prompt], multimask=True)
    for one in entry:
        number = order(one, logits)
        assert one.logits is not None
        np.testing.assert_allclose(one.logits, logits[number], atol=AGREEMENT)
        assert (one.mask.bitmap() != masks[number]).mean() <= 0.001
