"""Images, prompts and the way to build any segmenter of the folder without weights from outside."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np

from connectors import segmenters
from connectors.ultralytics.runtime import load
from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, MaskPrediction, Prompt
from pipeline.ports import Segmenter
from tests.contracts._sam3 import SMALL_TRUNK, small_segmenter
from tests.contracts._yolo import resources_for, skip_without, write_weights

KINDS = sorted(module.name for module in pkgutil.iter_modules(segmenters.__path__))
SIZES = {"usual": (48, 64), "wide": (9, 120), "tall": (90, 14), "pixel": (1, 1), "column": (40, 1)}
WITHOUT_TRAINING: Mapping[str, Any] = {"untrained": True, "imgsz": 64, "confidence": 0.001, "iou_floor": 0.05}
"""Settings by which a peer does with random weights; each peer takes those that it knows."""
SMALL: Mapping[str, Mapping[str, Any]] = {
    "cascade": {"fast": {"kind": "ellipse"}, "better": {"kind": "grabcut"}},
    "segment_anything": {
        "size": "custom",
        "custom": {"embed_dim": 32, "depth": 2, "heads": 2, "global_attn_indexes": (1,), "image_size": 128},
    },
}
"""The same for one kind alone: a size of it that is quick."""


def module_of(kind: str) -> Any:
    """The peer's module; skips the test where the peer's packages are not installed."""
    peer = importlib.import_module(f"connectors.segmenters.{kind}")
    skip_without(*(package for packages in peer.REQUIRES.values() for package in packages))
    return peer


def built(kind: str, folder: Path) -> Segmenter:
    """With random weights, where the peer needs any."""
    peer = module_of(kind)
    if kind == "sam3_interactive":  # what it publishes cannot be built without a GPU
        return small_segmenter(folder)
    if kind == "remote":
        skip_without("starlette", "uvicorn")
        from tests.fakes.served import lasting

        home: Segmenter = built("grabcut", folder)
        far: Segmenter = peer.build(peer.Settings(url=lasting(home)), resources_for(folder, weights=None))
        return far
    weights = write_weights(folder / "tiny.pt") if "ultralytics" in peer.REQUIRES else None
    fields = peer.Settings.model_fields
    known = {key: value for key, value in WITHOUT_TRAINING.items() if key in fields}
    settings = peer.Settings.model_validate({**known, **SMALL.get(kind, {})})
    with small_networks(kind):
        segmenter: Segmenter = peer.build(settings, resources_for(folder, weights=weights))
    return segmenter


@contextmanager
def small_networks(kind: str) -> Iterator[None]:
    """Ultralytics' builders of the larger networks make small ones: the same parts, few channels and blocks."""
    if kind not in ("sam", "sam2", "sam3"):
        yield
        return
    load("the tests")
    from ultralytics.models.sam import build, build_sam3
    from ultralytics.models.sam.modules.blocks import PositionEmbeddingSine
    from ultralytics.models.sam.sam3.necks import Sam3DualViTDetNeck
    from ultralytics.models.sam.sam3.vitdet import ViT

    def backbone(**_: object) -> Any:
        position = PositionEmbeddingSine(num_pos_feats=256, normalize=True, scale=None, temperature=10000)
        return Sam3DualViTDetNeck(
            position_encoding=position,
            d_model=256,
            scale_factors=[4.0, 2.0, 1.0, 0.5],
            trunk=ViT(**SMALL_TRUNK),
            add_sam2_neck=True,
        )

    with (
        patch.object(build_sam3, "_create_vision_backbone", backbone),
        patch.object(build, "build_sam_vit_b", lambda: build._build_sam(32, 2, 2, [1])),
        patch.object(
            build,
            "build_sam2_t",
            lambda: build._build_sam2(
                encoder_embed_dim=16,
                encoder_stages=[1, 1, 2, 1],
                encoder_num_heads=1,
                encoder_global_att_blocks=[3],
                encoder_window_spec=[8, 4, 14, 7],
                encoder_backbone_channel_list=[128, 64, 32, 16],
            ),
        ),
    ):
        yield


@cache
def image(name: str = "usual", seed: int = 0) -> Image:
    """A bright disc on a noisy ground."""
    rng = np.random.default_rng(seed)
    height, width = SIZES[name]
    picture = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
    centre, radius = (width // 2, height // 2), max(1, min(height, width) // 3)
    cv2.circle(picture, centre, radius, (40 * (seed % 5), 180, 220), thickness=-1)
    return picture


def whole(name: str) -> Box:
    height, width = SIZES[name]
    return Box(0, 0, width, height)


def prompts_for(name: str = "usual") -> list[Prompt]:
    """Every kind of prompt, about different places of the image."""
    height, width = SIZES[name]
    middle = (width / 2, height / 2)
    inner = Box(width / 4, height / 4, 3 * width / 4, 3 * height / 4)
    prior = Mask.from_box(inner, (height, width))
    corner = (0.5, 0.5)
    return [
        Prompt(box=inner),
        Prompt(points_xy=(middle,), point_labels=(True,)),
        Prompt(box=Box(0, 0, width / 2, height)),
        Prompt(points_xy=(middle, corner), point_labels=(True, False)),
        Prompt(box=inner, points_xy=(middle,), point_labels=(True,)),
        Prompt(prior=prior),
        Prompt(prior=prior, points_xy=(corner,), point_labels=(False,)),
        Prompt(box=whole(name), prior=prior),
        Prompt(points_xy=(corner,), point_labels=(False,)),
    ]


def said(answers: Sequence[Sequence[MaskPrediction]]) -> list[tuple[object, ...]]:
    """Everything of the answers, to be compared bit by bit."""
    return [
        (
            one.mask.counts,
            one.mask.size_hw,
            one.predicted_iou,
            one.stability,
            None if one.logits is None else one.logits.tobytes(),
        )
        for entry in answers
        for one in entry
    ]


def restored(encoding: Encoding, path: Path) -> Encoding:
    """The encoding after a stay in a file, read without pickles."""
    np.savez(path, **encoding.arrays)  # type: ignore[arg-type]  # keyword arrays, as savez takes them
    with np.load(path, allow_pickle=False) as opened:
        arrays = {name: opened[name] for name in opened.files}
    return Encoding(arrays, encoding.size_hw, encoding.fingerprint)
