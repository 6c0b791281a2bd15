"""Small YOLO networks with random weights, and small datasets, for tests that need some of either."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
import pytest

from connectors.ultralytics.runtime import load
from pipeline.domain.records import Instance
from pipeline.errors import WeightsUnavailable
from pipeline.ports import Resources, Segmenter
from pipeline.wiring import checked_peer

CLASSES = ("disc", "square")


def skip_without(*packages: str) -> None:
    """Skip the test where a package is not installed. None is imported: Ultralytics must be imported quietly."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: make setup")


_BACKBONE = [
    [-1, 1, "Conv", [8, 3, 2]],
    [-1, 1, "Conv", [8, 3, 2]],
    [-1, 1, "Conv", [16, 3, 2]],
    [-1, 1, "Conv", [16, 3, 2]],
    [-1, 1, "SPPF", [24, 5]],
]
_NECK = [[-1, 1, "nn.Upsample", [None, 2, "nearest"]], [[-1, 2], 1, "Concat", [1]], [-1, 1, "Conv", [16, 3, 1]]]
HEADS: Mapping[str, list[Any]] = {
    "Segment": [[7, 4], 1, "Segment", ["nc", 4, 8]],
    "Segment26": [[7, 4], 1, "Segment26", ["nc", 4, 8]],
    "Detect": [[7, 4], 1, "Detect", ["nc"]],
}


def write_weights(path: Path, *, head: str = "Segment", names: tuple[str, ...] = CLASSES, seed: int = 0) -> Path:
    """A checkpoint of a network of a few thousand random parameters, as Ultralytics writes one."""
    load("the tests")
    import torch
    from ultralytics.nn import tasks

    torch.manual_seed(seed)
    end2end = head.endswith("26")
    structure = {"nc": len(names), "backbone": _BACKBONE, "head": [*_NECK, HEADS[head]], "end2end": end2end}
    if end2end:
        structure["reg_max"] = 1
    kind = tasks.DetectionModel if head == "Detect" else tasks.SegmentationModel
    model = kind(structure, nc=len(names), verbose=False)
    model.names = dict(enumerate(names))
    model.task = "detect" if head == "Detect" else "segment"
    model.args = {"task": model.task, "imgsz": 64}
    torch.save({"epoch": -1, "model": _opinionated(model), "ema": None, "train_args": dict(model.args)}, path)
    return path


def _opinionated(model: Any) -> Any:
    """The same network with scores and boxes that differ from place to place; a fresh one says 0.01 everywhere."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.running_var, 0.05)  # type: ignore[arg-type]  # it has statistics
    last = model.model[-1]
    for name, weight_std, bias in (("cv2", 0.02, 1.5), ("cv3", 0.03, -1.0)):
        for branch in (getattr(last, name), getattr(last, f"one2one_{name}", None)):
            for level in branch or ():
                torch.nn.init.normal_(level[-1].weight, std=weight_std)
                torch.nn.init.constant_(level[-1].bias, bias)
    return model


def write_dataset(folder: Path, *, images: int = 8, size: int = 64) -> Path:
    """A YOLO-seg folder of bright rectangles on noise, two classes in turn; one image has no object."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
    for number in range(images):
        image = rng.integers(0, 80, (size, size, 3), dtype=np.uint8)
        left, top = (int(value) for value in rng.integers(2, size // 2, 2))
        width, height = (int(value) for value in rng.integers(size // 4, size // 2, 2))
        corners = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
        row = " ".join(f"{value / size:.6f}" for corner in corners for value in corner)
        if number:
            image[top : top + height, left : left + width] = (40, 60, 220)
        cv2.imwrite(str(folder / "images" / "train" / f"{number}.jpg"), image)
        label = f"{number % 2} {row}\n" if number else ""
        (folder / "labels" / "train" / f"{number}.txt").write_text(label)
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames:\n  0: disc\n  1: square\n")
    return folder


def tree_of(folder: Path) -> dict[str, str]:
    """Every file of a folder with the digest of its bytes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def resources_for(
    work: Path,
    *,
    weights: Path | None = None,
    classes: tuple[str, ...] = CLASSES,
    truth: Callable[[str], tuple[Instance, ...] | None] = lambda _: None,
) -> Resources:
    """What the house would lend; `weights` is found under every name."""

    def find(name: str) -> Path:
        if weights is None:
            raise WeightsUnavailable(name, [work])
        return weights

    def unused(*_: object) -> NoReturn:
        raise NotImplementedError("these tests lend no such thing")

    def build(kind: str, settings: Mapping[str, Any]) -> Segmenter:
        module, checked = checked_peer("segmenter", kind, settings)
        segmenter: Segmenter = module.build(checked, resources_for(work, weights=weights, classes=classes))
        return segmenter

    return Resources(
        classes=classes,
        seed=0,
        work=work,
        find_weights=find,
        read_image=unused,
        truth=truth,
        segmenter=unused,
        build_segmenter=build,
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )
