"""Texts choose among the masks: with a tiny CLIP of random weights, which proves the way and no meaning."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from connectors.fastsam.choice import Similarity, agreement, assign
from connectors.fastsam.everything import Candidate
from connectors.fastsam.words import Words, build_words
from connectors.segmenters.fastsam import Settings, build
from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Prompt
from pipeline.errors import BackendRejected, ConfigError, MissingExtra, WeightsUnavailable
from pipeline.ports import Resources, Segmenter
from tests.contracts._yolo import resources_for, skip_without, write_weights

SIZE_HW = (48, 64)
MODEL = "tiny-of-the-tests"
STRUCTURE = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def clip_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    skip_without("torch", "ultralytics", "open_clip")
    import open_clip
    import torch
    from open_clip.model import CLIP
    from safetensors.torch import save_file as save_tensors

    folder = tmp_path_factory.mktemp("clip")
    (folder / f"{MODEL}.json").write_text(json.dumps(STRUCTURE))
    open_clip.add_model_config(folder / f"{MODEL}.json")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_tensors(CLIP(**STRUCTURE).state_dict(), folder / "clip.safetensors")
    return folder / "clip.safetensors"


@pytest.fixture(scope="module")
def words(clip_weights: Path) -> Words:
    return build_words(MODEL, "clip", None, lambda _: clip_weights, device="cpu")


def lending(folder: Path, clip_weights: Path) -> Resources:
    found = {"FastSAM-s.pt": write_weights(folder / "tiny.pt"), "clip.safetensors": clip_weights}
    return replace(resources_for(folder), find_weights=lambda name: found[name])


@pytest.fixture(scope="module")
def segmenter(clip_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    settings = Settings(
        imgsz=64,
        confidence=0.001,
        iou_floor=0.05,
        text_model=MODEL,
        text_weights="clip.safetensors",
        text_floor=-1,
    )
    return build(settings, lending(tmp_path_factory.mktemp("fastsam"), clip_weights))


def picture() -> Image:
    return np.random.default_rng(0).integers(0, 255, (*SIZE_HW, 3), dtype=np.uint8)


def test_only_what_the_mask_shows_is_described(words: Words) -> None:
    image, mask = picture(), Mask.from_polygons([[(10, 10), (40, 10), (10, 40)]], SIZE_HW)
    beyond = np.where(mask.bitmap()[..., None], image, 255 - image)
    first, second, third = words.of_masks(image, [mask, Mask.from_box(Box(0, 0, 64, 48), SIZE_HW), mask])
    np.testing.assert_allclose(first, third, atol=1e-6)
    np.testing.assert_allclose(first, words.of_masks(beyond, [mask])[0], atol=1e-6)
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_allclose(np.linalg.norm([first, second], axis=1), 1.0, atol=1e-6)


def test_many_masks_and_a_mask_of_one_pixel_are_described(words: Words) -> None:
    masks = [Mask.from_box(Box(x, 0, x + 1, 1), SIZE_HW) for x in range(40)]
    together = words.of_masks(picture(), masks)
    assert together.shape == (40, 16)
    np.testing.assert_allclose(together[35], words.of_masks(picture(), masks[35:36])[0], atol=1e-5)
    assert words.of_masks(picture(), []).shape[0] == 0


def test_a_text_chooses_the_mask_that_is_most_like_it(words: Words, segmenter: Segmenter) -> None:
    [encoding] = segmenter.encode([picture()])
    cosines = encoding.arrays["descriptions"].astype(np.float32) @ words.of_texts(["a red ball"])[0]
    [[chosen], several] = [
        segmenter.decode(encoding, [Prompt(text="a red ball")], multimask=many)[0] for many in (False, True)
    ]
    shares = np.exp(words.scale * (cosines - cosines.max()).astype(np.float64))
    assert chosen.predicted_iou == pytest.approx(shares.max() / shares.sum())
    assert several[0] == chosen
    scores = [one.predicted_iou for one in several]
    assert scores == sorted(scores, reverse=True)


def test_texts_are_answered_in_their_order_in_any_company(segmenter: Segmenter) -> None:
    [encoding] = segmenter.encode([picture()])
    prompts = [Prompt(text="a dog"), Prompt(box=Box(5, 5, 40, 40)), Prompt(text="the sky at night")]
    straight = segmenter.decode(encoding, prompts)
    assert segmenter.decode(encoding, prompts[::-1])[::-1] == straight


def test_a_text_shares_out_what_the_other_words_leave() -> None:
    boxes = [Box(0, 0, 20, 20), Box(0, 0, 20, 20), Box(30, 0, 50, 20)]
    seen = [Candidate(Mask.from_box(box, SIZE_HW), 0.5, 1.0) for box in boxes]
    similar = Similarity(np.array([0.1, 0.3, 0.9], dtype=np.float32), 10.0, 0.2)
    prompts = [Prompt(box=boxes[0], text="a cell"), Prompt(text="a cell"), Prompt(box=boxes[0])]
    table = agreement(prompts, seen, 0.5, {0: similar, 1: similar})
    assert table[0].tolist() == [0.0, 1.0, 0.0], "the first lies under the floor, the third outside the box"
    assert table[1, 2] == pytest.approx(1 / (1 + np.exp(-6.0)), rel=1e-6)
    assert table[1].sum() == pytest.approx(1.0)
    assert assign(table, prompts) == [1, 2, 0]
    nothing = replace(similar, floor=0.95)
    assert assign(agreement(prompts[1:2], seen, 0.5, {0: nothing}), prompts[1:2]) == [None]


def test_the_weights_of_the_words_are_part_of_the_encoding(segmenter: Segmenter, clip_weights: Path) -> None:
    assert hashlib.sha256(clip_weights.read_bytes()).hexdigest() in segmenter.fingerprint


def test_without_weights_a_text_is_refused_with_what_to_do(tmp_path: Path) -> None:
    skip_without("torch", "ultralytics")
    plain = build(Settings(imgsz=64), resources_for(tmp_path, weights=write_weights(tmp_path / "tiny.pt")))
    [encoding] = plain.encode([picture()])
    for box in (None, Box(5, 5, 40, 40)):
        with pytest.raises(BackendRejected, match=r"maskloop\[text\].*text_weights"):
            plain.decode(encoding, [Prompt(text="a dog", box=box)])


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"maskloop\[text\]"):
        build_words("ViT-B-32", "clip", None, lambda _: Path("clip"), device="cpu")


@pytest.mark.parametrize(
    ("model", "reason"),
    [("ViT-B-23", "knows no model"), ("ViT-B-16-SigLIP", "downloaded"), ("hf-hub:a/b", "knows no")],
)
def test_a_model_that_cannot_be_had_offline_is_refused(model: str, reason: str) -> None:
    skip_without("open_clip")
    with pytest.raises(ConfigError, match=reason) as caught:
        build_words(model, "clip", None, lambda _: Path("clip"), device="cpu")
    assert caught.value.key == "segmenter.text_model"


def test_weights_that_are_not_the_model_s_are_refused(clip_weights: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(clip_weights.read_bytes()[:-1000])
    less = tmp_path / "less.safetensors"
    save_file({name: array for name, array in load_file(clip_weights).items() if name != "logit_scale"}, less)

    def built(model: str, path: Path, sha256: str | None = None) -> Any:
        return build_words(model, path.name, sha256, lambda _: path, device="cpu")

    with pytest.raises(WeightsUnavailable, match="cannot be read"):
        built(MODEL, cut)
    with pytest.raises(WeightsUnavailable, match="was wanted"):
        built(MODEL, clip_weights, "0" * 64)
    with pytest.raises(WeightsUnavailable, match=f"does not hold the weights of {MODEL}: without logit_scale"):
        built(MODEL, less)


def test_building_and_asking_need_no_network(clip_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refused)
    built = build_words(MODEL, "clip", None, lambda _: clip_weights, device="cpu")
    assert built.of_texts(["a dog", "ein Hund, größer"]).shape == (2, 16)
