"""What the house costs: `python -m benchmarks.overhead [--segmenter sam|grabcut] [--data DIR] [--json]`.

Ours: the stages `propose` and `segment`, as a run calls them. The peer: the bare models on the same images. For
`sam` that is Ultralytics' `YOLO.predict` and the parts of its MobileSAM called by hand, each image encoded once
and all its boxes decoded together, masks as arrays; for `grabcut`, which is our own, `YOLO.predict` and the
segmenter without the stage. Both take turns in one process; their boxes must agree to a hundredth of a pixel, and
their masks to an IoU of 0.999.

The images are generated scenes, the detector is the committed base weights; with `--data` they are photographs of
DIR/balloon and `yolo11n-seg-dequant.pt` from MASKLOOP_WEIGHTS. MobileSAM has random weights: its times mean
something, its masks do not.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from benchmarks._harness import Comparison, alternate, machine, report
from connectors.detectors import ultralytics_yolo
from connectors.executors import serial
from connectors.segmenters import grabcut, sam
from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Prompt
from pipeline.formats.image import read_image
from pipeline.ports import Detector, Executor, Resources, Segmenter
from pipeline.scenes import DEMO, make_scenes
from pipeline.stages.propose import propose
from pipeline.stages.segment import SegmentSettings, segment

TARGET = 1.05
CONFIDENCE = 0.25
SAME_BOX_PX = 0.01
SAME_MASK_IOU = 0.999
BASE = Path(__file__).parents[1] / "configs" / "weights" / "base-seg.pt"

Answer = list[tuple[Box, Mask]]
"""The boxes of one image with their masks; an empty mask is "no mask"."""


def resources(weights: Path, classes: tuple[str, ...], work: Path) -> Resources:
    def unused(*_: object) -> NoReturn:
        raise NotImplementedError("a benchmark lends no such thing")

    return Resources(
        classes=classes,
        seed=0,
        work=work,
        find_weights=lambda _: weights,
        read_image=unused,
        truth=lambda _: None,
        segmenter=unused,
        build_segmenter=unused,
        now=lambda: datetime.now(UTC),
    )


def through_the_house(
    images: Sequence[Image],
    classes: Sequence[str],
    detector: Detector,
    segmenter: Segmenter,
    executor: Executor,
) -> list[Answer]:
    batch = [(f"{number}", image) for number, image in enumerate(images)]
    proposed = dict(propose([batch], detector, classes))
    items = ((name, images[int(name)], proposals) for name, proposals in proposed.items())
    masks = dict(segment(items, segmenter, SegmentSettings(), executor))
    return [
        [
            (proposal.box, Mask.empty(images[int(name)].shape[:2]) if one is None else one.mask)
            for proposal, one in zip(proposals, masks[name], strict=True)
        ]
        for name, proposals in proposed.items()
    ]


def bare_boxes(model: Any, images: Sequence[Image], image_size: int) -> list[list[Box]]:
    """Ultralytics wants the channels the other way round; its masks are made in the images' size, as ours are."""
    bgr = [np.ascontiguousarray(image[..., ::-1]) for image in images]
    # In one list, images of unequal sizes would all be padded to a square, which finds other boxes.
    lists = [bgr] if len({image.shape for image in bgr}) == 1 else [[image] for image in bgr]
    results = [
        found
        for some in lists
        for found in model.predict(
            some,
            conf=CONFIDENCE,
            imgsz=image_size,
            retina_masks=True,
            verbose=False,
            device="cpu",
        )
    ]
    return [[Box(*row) for row in found.boxes.xyxy.double().tolist()] for found in results]


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


def agreement_of(ours: Sequence[Answer], bare: Sequence[tuple[Sequence[Box], Sequence[Any]]]) -> dict[str, float]:
    """How far boxes lie apart at most, and the lowest IoU of two masks of one box.

    Exits where the sides differ.
    """
    if [len(mine) for mine in ours] != [len(boxes) for boxes, _ in bare]:
        raise SystemExit("the two sides found different boxes, so their times cannot be compared")
    apart, ious = [0.0], []
    for mine, (boxes, masks) in zip(ours, bare, strict=True):
        for (box, mask), other_box, other in zip(mine, boxes, masks, strict=True):
            apart.append(float(np.abs(np.subtract(box, other_box)).max()))
            ious.append(mask.iou(other if isinstance(other, Mask) else Mask.from_bitmap(other)))
    if not ious:
        raise SystemExit("no boxes were found, so nothing was segmented: these times mean nothing")
    agreement = {"masks": len(ious), "boxes_apart_px": max(apart), "worst_mask_iou": min(ious)}
    if max(apart) > SAME_BOX_PX or min(ious) < SAME_MASK_IOU:
        raise SystemExit(f"the two sides differ, so their times cannot be compared: {agreement}")
    return agreement


def sides(
    images: Sequence[Image], weights: Path, image_size: int, kind: str, work: Path
) -> tuple[Callable[[], list[Answer]], Callable[[], list[tuple[list[Box], list[Any]]]]]:
    """Ours and the peer, ready to run."""
    from ultralytics import YOLO

    bare_detector = YOLO(weights)
    classes = tuple(bare_detector.names.values())
    lent = resources(weights, classes, work)
    wanted = ultralytics_yolo.Settings(weights=weights.name, confidence=CONFIDENCE, imgsz=image_size, device="cpu")
    detector = ultralytics_yolo.build(wanted, lent)
    segmenter = (
        sam.build(sam.Settings(untrained=True, device="cpu"), lent)
        if kind == "sam"
        else grabcut.build(grabcut.Settings(), lent)
    )
    executor = serial.build(serial.Settings(), lent)
    bare_segmenter = bare_mobile_sam() if kind == "sam" else segmenter
    bare = bare_sam if kind == "sam" else bare_grabcut

    def ours() -> list[Answer]:
        return through_the_house(images, classes, detector, segmenter, executor)

    def peer() -> list[tuple[list[Box], list[Any]]]:
        return [
            (boxes, bare(bare_segmenter, image, boxes) if boxes else [])
            for boxes, image in zip(bare_boxes(bare_detector, images, image_size), images, strict=True)
        ]

    return ours, peer


def with_cpu_time(work: Callable[[], Any], seconds: list[float]) -> Callable[[], Any]:
    """`work`, which in addition notes the processor time of all threads: a busy machine changes that less."""

    def measured() -> Any:
        start = time.process_time()
        answer = work()
        seconds.append(time.process_time() - start)
        return answer

    return measured


def pictures(data: Path | None, count: int) -> tuple[list[Image], Path, int]:
    """Images, the weights that know them, and the size that the network sees them in."""
    if data is None:
        scenes = make_scenes(replace(DEMO, empty_fraction=0.0), count, seed=0)
        return [image for image, _ in scenes], BASE, 160
    weights = Path(os.environ.get("MASKLOOP_WEIGHTS", "")) / "yolo11n-seg-dequant.pt"
    if not weights.is_file():
        raise SystemExit(f"{weights} is not there: MASKLOOP_WEIGHTS must name the folder that holds it")
    paths = sorted((data / "balloon" / "images").iterdir())[:count]
    return [read_image(path).image for path in paths], weights, 640


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--segmenter", choices=("sam", "grabcut"), default="sam")
    parser.add_argument("--data", type=Path, help="the folder that holds balloon/images")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    images, weights, image_size = pictures(asked.data, asked.images)
    ours_cpu: list[float] = []
    peer_cpu: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        ours, peer = sides(images, weights, image_size, asked.segmenter, Path(folder))
        agreement = agreement_of(ours(), peer())
        compared = alternate(with_cpu_time(ours, ours_cpu), with_cpu_time(peer, peer_cpu), asked.pairs)
    # The first turn of each side is not measured.
    cpu = Comparison(tuple(ours_cpu[1:]), tuple(peer_cpu[1:]))
    print(f"processor time: median ratio {cpu.ratio:.3f} (95 % {cpu.ci95[0]:.3f} to {cpu.ci95[1]:.3f})")
    report(
        f"overhead-{asked.segmenter}",
        compared,
        agreement=agreement,
        target=TARGET,
        as_json=asked.json,
        images=len(images),
        photographs=asked.data is not None,
        cpu_ratio=cpu.ratio,
        cpu_ci95=list(cpu.ci95),
        machine=machine(("torch", "ultralytics", "opencv-python-headless", "numpy")),
    )


if __name__ == "__main__":
    main()
