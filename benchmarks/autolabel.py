"""Boxes and masks for a folder: `python -m benchmarks.autolabel [--images 6] [--engine auto] [--data DIR] [--json]`.

Ours: the stages `propose` and `segment` with `mobile_sam`, its encoder on the asked engine; `auto` measures first. The
peer: Ultralytics' `auto_annotate` with the same two files. Both take turns in one process and have their models loaded
before. Then the segmentation alone a second time, with the encodings of the first pass kept.

The pictures are photographs with many boxes: squares of 480 pixels out of DIR/bccd, detected with a low confidence.
Squares, because the peer pads other shapes with grey where SAM was trained with zeros. MobileSAM's weights are random,
but for the bias of its quality, which is raised so that the peer, which drops masks below 0.25, drops none.

Instances are matched by their boxes; the masks are those that the peer's own SAM call returns. Its label files are
polygons without holes, and where a mask is dropped all later ones get their neighbour's class: no measure for masks.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np

from benchmarks._harness import Comparison, alternate, machine, report
from benchmarks.overhead import Answer, resources, through_the_house
from connectors.detectors import ultralytics_yolo
from connectors.executors import serial
from connectors.segmenters import mobile_sam
from connectors.ultralytics.runtime import load
from pipeline.domain.geometry import Box, Image, box_iou
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Prompt
from pipeline.segmenting.careful import CarefulSegmenter
from pipeline.segmenting.cleaning import MaskSettings
from pipeline.segmenting.stored import StoredSegmenter
from pipeline.store.encodings import EncodingStore

TARGET = 0.5
TARGET_KEPT = 1 / 8
SAME_MASK_IOU = 0.99
CONFIDENCE = 0.02
SIDE = 480
DETECTOR = "yolo11n-seg-dequant.pt"

Shown = tuple[Any, Any]
"""The boxes that the peer's SAM was asked about, and its masks."""


class Overheard:
    """The peer's SAM, loaded once, and what it answered last."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.shown: list[Shown] = []

    def __call__(self, image: Any, **asked: Any) -> Any:
        results = self._model(image, **asked)
        self.shown.append((asked["bboxes"].double().numpy(), results[0].masks.data.numpy()))
        return results


def pictures(data: Path, folder: Path, count: int) -> list[Image]:
    """Squares out of the middle of photographs, written as PNG files too."""
    found: list[Image] = []
    for path in sorted((data / "bccd" / "images").iterdir())[:count]:
        photograph = cv2.imread(str(path))
        if photograph is None:
            raise SystemExit(f"{path} is no image")
        height, width = photograph.shape[:2]
        top, left = (height - SIDE) // 2, (width - SIDE) // 2
        square = np.ascontiguousarray(photograph[top : top + SIDE, left : left + SIDE])
        cv2.imwrite(str(folder / f"{path.stem}.png"), square)
        found.append(np.ascontiguousarray(square[..., ::-1]).astype(np.uint8))
    return found


def sam_weights(path: Path) -> Path:
    """MobileSAM with random weights that thinks well of its masks."""
    import torch
    from ultralytics.models.sam.build import build_mobile_sam

    torch.manual_seed(0)
    model = build_mobile_sam()
    model.mask_decoder.iou_prediction_head.layers[-1].bias.data += 1.0
    torch.save(model.state_dict(), path)
    return path


def agreement_of(ours: Sequence[Answer], shown: Sequence[Shown]) -> dict[str, float]:
    """Instances whose boxes are the same, and the IoU of their masks."""
    ious: list[float] = []
    boxes = 0
    for mine, (theirs, masks) in zip(ours, shown, strict=True):
        if len(theirs) != len(masks):
            raise SystemExit("the peer dropped masks, so that its rows cannot be matched")
        boxes += len(theirs)
        overlaps = box_iou([box for box, _ in mine], [Box(*row) for row in theirs.tolist()])
        for number, [_, mask] in enumerate(mine):
            twin = int(overlaps[number].argmax())
            if overlaps[number, twin] > 0.999:
                ious.append(mask.iou(Mask.from_bitmap(masks[twin].astype(bool))))
    if not ious:
        raise SystemExit("the two sides found no boxes in common: nothing was compared")
    return {
        "boxes": boxes,
        "matched": len(ious),
        "mean_mask_iou": float(np.mean(ious)),
        "worst_mask_iou": min(ious),
        "share_over_0.99": float(np.mean(np.array(ious) >= SAME_MASK_IOU)),
    }


def kept_again(
    images: Sequence[Image], answers: Sequence[Answer], segmenter: Any, work: Path, pairs: int
) -> Comparison:
    """Segmentation alone: with kept encodings, and without."""
    stored = StoredSegmenter(segmenter, EncodingStore(work / "encodings", 10**9), remembered_bytes=0)
    prompts = [[Prompt(box=box) for box, _ in answer] for answer in answers]

    def over(one: Any) -> Callable[[], None]:
        def run() -> None:
            for image, asked in zip(images, prompts, strict=True):
                one.decode(one.encode([image])[0], asked)

        return run

    return alternate(over(stored), over(segmenter), pairs)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("MASKLOOP_DATA"))
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument(
        "--engine", default="auto", choices=["auto", "eager", "channels_last", "openvino", "onnxruntime"]
    )
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    lent = os.environ.get("MASKLOOP_WEIGHTS")
    if asked.data is None or lent is None:
        raise SystemExit("skipped: MASKLOOP_DATA and MASKLOOP_WEIGHTS name photographs and detector weights")
    load("the benchmark")
    import torch
    from ultralytics import SAM, YOLO
    from ultralytics.data import annotator

    torch.set_flush_denormal(True)  # random weights make denormal numbers, trained ones do not
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "images").mkdir()
        images = pictures(Path(asked.data), work / "images", asked.images)
        weights, detector_weights = sam_weights(work / "mobile_sam.pt"), Path(lent) / DETECTOR
        their_detector, their_sam = YOLO(detector_weights), Overheard(SAM(str(weights)))
        classes = tuple(their_detector.names.values())
        house = resources(detector_weights, classes, work)
        detector = ultralytics_yolo.build(
            ultralytics_yolo.Settings(weights=DETECTOR, confidence=CONFIDENCE, iou=0.45, device="cpu"), house
        )
        start = time.perf_counter()
        segmenter = mobile_sam.build(
            mobile_sam.Settings(device="cpu", engine=asked.engine), resources(weights, classes, work)
        )
        chosen_s = time.perf_counter() - start
        careful = CarefulSegmenter(segmenter, MaskSettings())
        executor = serial.build(serial.Settings(), house)

        def ours() -> list[Answer]:
            return through_the_house(images, classes, detector, careful, executor)

        def peer() -> None:
            their_sam.shown.clear()
            annotator.auto_annotate(
                work / "images", device="cpu", conf=CONFIDENCE, iou=0.45, output_dir=work / "labels"
            )

        with (
            patch.object(annotator, "YOLO", lambda _: their_detector),
            patch.object(annotator, "SAM", lambda _: their_sam),
        ):
            compared = alternate(ours, peer, asked.pairs)
        answers = ours()
        agreement = agreement_of(answers, their_sam.shown)
        again = kept_again(images, answers, segmenter, work, asked.pairs)
    print(f"segmentation with kept encodings takes {again.ratio:.3f} of a first pass, target <= {TARGET_KEPT:g}")
    print(
        f"building the segmenter, with the choice of its engine, took {chosen_s:.1f} s once; it is in neither side"
    )
    report(
        "autolabel",
        compared,
        agreement=agreement,
        target=TARGET,
        as_json=asked.json,
        images=len(images),
        engine=asked.engine,
        kept={"ratio": again.ratio, "ci95": again.ci95},
        machine=machine(("torch", "ultralytics")),
    )


if __name__ == "__main__":
    main()
