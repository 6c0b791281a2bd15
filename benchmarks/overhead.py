"""What the house costs: `python -m benchmarks.overhead [--segmenter sam|grabcut] [--pairs 5] [--json]`.

Ours: the stages `propose` and `segment`, as a run calls them. The peer: the bare models on the same images. For
`sam` that is Ultralytics' `YOLO.predict` and the parts of its MobileSAM called by hand, masks as arrays; for
`grabcut`, which is our own, `YOLO.predict` and the segmenter without the stage. Both take turns in one process.
Networks have random weights: times mean something, masks do not, but those of both sides must be the same.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from benchmarks._harness import alternate, machine, report
from connectors.detectors import ultralytics_yolo
from connectors.executors import serial
from connectors.segmenters import grabcut, sam
from connectors.ultralytics.runtime import load
from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Prompt
from pipeline.ports import Detector, Executor, Resources, Segmenter
from pipeline.scenes import DEMO, make_scenes
from pipeline.stages.propose import propose
from pipeline.stages.segment import SegmentSettings, segment

TARGET = 1.05
CONFIDENCE = 0.25
MOST = 8
IMAGE_SIZE = 320
SCENES = replace(DEMO, size_hw=(480, 640), radius_px=(30.0, 80.0), empty_fraction=0.0)

Answer = list[tuple[Box, Mask]]
"""The boxes of one image with their masks; an empty mask is "no mask"."""


def write_yolo(path: Path) -> Path:
    """YOLO11n-seg with random weights, drawn so that scores and boxes differ from place to place."""
    load("the benchmark")
    import torch
    from ultralytics.nn.tasks import SegmentationModel

    torch.manual_seed(0)
    model = SegmentationModel("yolo11n-seg.yaml", nc=1, verbose=False)
    for branch in model.model[-1].cv3:
        torch.nn.init.normal_(branch[-1].weight, std=1.0)
        torch.nn.init.normal_(branch[-1].bias, std=0.5)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.running_var, 0.2)  # type: ignore[arg-type]  # it has statistics
    model.names, model.task, model.args = {0: "object"}, "segment", {"task": "segment", "imgsz": IMAGE_SIZE}
    torch.save({"epoch": -1, "model": model, "ema": None, "train_args": dict(model.args)}, path)
    return path


def resources(weights: Path) -> Resources:
    def unused(*_: object) -> NoReturn:
        raise NotImplementedError("a benchmark lends no such thing")

    return Resources(
        classes=("object",),
        seed=0,
        work=weights.parent,
        find_weights=lambda _: weights,
        read_image=unused,
        truth=lambda _: None,
        segmenter=unused,
        now=lambda: datetime.now(UTC),
    )


def through_the_house(
    images: Sequence[Image], detector: Detector, segmenter: Segmenter, executor: Executor
) -> list[Answer]:
    batches = ([(f"{number}", image)] for number, image in enumerate(images))
    proposed = dict(propose(batches, detector, ("object",)))
    items = ((name, images[int(name)], proposals) for name, proposals in proposed.items())
    masks = dict(segment(items, segmenter, SegmentSettings(), executor))
    return [
        [
            (proposal.box, Mask.empty(images[int(name)].shape[:2]) if one is None else one.mask)
            for proposal, one in zip(proposals, masks[name], strict=True)
        ]
        for name, proposals in proposed.items()
    ]


def bare_boxes(model: Any, image: Image) -> list[Box]:
    """Ultralytics wants the channels the other way round."""
    [found] = model.predict(
        np.ascontiguousarray(image[..., ::-1]),
        conf=CONFIDENCE,
        imgsz=IMAGE_SIZE,
        max_det=MOST,
        retina_masks=True,
        verbose=False,
        device="cpu",
    )
    return [Box(*row) for row in found.boxes.xyxy.double().tolist()]


def bare_sam(model: Any, image: Image, boxes: Sequence[Box]) -> list[Any]:
    """Encoder, prompt encoder, decoder and enlarging, as in SAM's own predictor."""
    import torch
    from PIL import Image as Pillow
    from torch.nn.functional import interpolate

    height, width = image.shape[:2]
    scale = 1024 / max(height, width)
    new_height, new_width = int(height * scale + 0.5), int(width * scale + 0.5)
    resized = np.array(Pillow.fromarray(image).resize((new_width, new_height), Pillow.Resampling.BILINEAR))
    with torch.inference_mode():
        pixels = (torch.from_numpy(resized).permute(2, 0, 1).float() - model.pixel_mean) / model.pixel_std
        padded = torch.nn.functional.pad(pixels, (0, 1024 - new_width, 0, 1024 - new_height))
        features = model.image_encoder(padded[None])
        corners = torch.tensor([list(box) for box in boxes], dtype=torch.float64)
        sparse, dense = model.prompt_encoder(points=None, boxes=(corners * scale).float(), masks=None)
        logits, _ = model.mask_decoder(
            image_embeddings=features,
            image_pe=model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        frame = interpolate(logits, (1024, 1024), mode="bilinear", align_corners=False)
        frame = frame[..., :new_height, :new_width]
        whole = interpolate(frame, (height, width), mode="bilinear", align_corners=False)
        return list((whole[:, 0] > 0).numpy())


def bare_grabcut(segmenter: Segmenter, image: Image, boxes: Sequence[Box]) -> list[Any]:
    [encoding] = segmenter.encode([image])
    return [one.mask for [one] in segmenter.decode(encoding, [Prompt(box=box) for box in boxes])]


def bare_mobile_sam() -> Any:
    import torch
    from ultralytics.models.sam.build import build_mobile_sam

    torch.manual_seed(0)
    return build_mobile_sam().eval().requires_grad_(requires_grad=False)


def worst_iou(ours: Sequence[Answer], bare: Sequence[tuple[Sequence[Box], Sequence[Any]]]) -> dict[str, Any]:
    """Whether boxes are equal, and the lowest IoU of two masks of the same box."""
    same = all([box for box, _ in mine] == [*boxes] for mine, (boxes, _) in zip(ours, bare, strict=True))
    ious = [
        mask.iou(other if isinstance(other, Mask) else Mask.from_bitmap(other))
        for mine, (_, others) in zip(ours, bare, strict=True)
        for (_, mask), other in zip(mine, others, strict=True)
    ]
    return {"boxes_equal": same, "masks": len(ious), "worst_mask_iou": min(ious, default=0.0)}


def sides(
    images: Sequence[Image], weights: Path, kind: str
) -> tuple[Callable[[], list[Answer]], Callable[[], list[tuple[list[Box], list[Any]]]]]:
    """Ours and the peer, ready to run."""
    from ultralytics import YOLO

    lent = resources(weights)
    detector = ultralytics_yolo.build(
        ultralytics_yolo.Settings(
            weights=weights.name,
            confidence=CONFIDENCE,
            imgsz=IMAGE_SIZE,
            max_instances=MOST,
            device="cpu",
        ),
        lent,
    )
    segmenter = (
        sam.build(sam.Settings(untrained=True, device="cpu"), lent)
        if kind == "sam"
        else grabcut.build(grabcut.Settings(), lent)
    )
    executor = serial.build(serial.Settings(), lent)
    bare_detector, bare_segmenter = YOLO(weights), bare_mobile_sam() if kind == "sam" else segmenter
    bare = bare_sam if kind == "sam" else bare_grabcut

    def ours() -> list[Answer]:
        return through_the_house(images, detector, segmenter, executor)

    def peer() -> list[tuple[list[Box], list[Any]]]:
        found = [bare_boxes(bare_detector, image) for image in images]
        return [
            (boxes, bare(bare_segmenter, image, boxes) if boxes else [])
            for boxes, image in zip(found, images, strict=True)
        ]

    return ours, peer


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--segmenter", choices=("sam", "grabcut"), default="sam")
    parser.add_argument("--images", type=int, default=2, help="scenes of 480 x 640")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    images = [image for image, _ in make_scenes(SCENES, asked.images, seed=0)]
    with tempfile.TemporaryDirectory() as folder:
        weights = write_yolo(Path(folder) / "yolo11n-seg.pt")
        ours, peer = sides(images, weights, asked.segmenter)
        agreement = worst_iou(ours(), peer())
        if not agreement["masks"]:
            raise SystemExit("no boxes were found, so nothing was segmented: these times mean nothing")
        compared = alternate(ours, peer, asked.pairs)
    report(
        f"overhead-{asked.segmenter}",
        compared,
        agreement=agreement,
        target=TARGET,
        as_json=asked.json,
        images=len(images),
        machine=machine(("torch", "ultralytics", "opencv-python-headless", "numpy")),
    )


if __name__ == "__main__":
    main()
