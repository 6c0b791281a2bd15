"""Boxes and masks for a folder: `python -m benchmarks.autolabel [--limit 6] [--pairs 5] [--engine auto] [--data DIR]`.

Ours: image files are read, go through the stages `propose` and `segment` with `mobile_sam`, and leave as YOLO label
files. The peer: Ultralytics' `auto_annotate`, which does the same, with the same two weights files. Both take turns in
one process; models are loaded, and the encoder's engine is chosen, before.

Then the segmentation alone, with the encodings of the first pass kept: against the peer's SAM on the same boxes, and
against our own first pass. Processor time is told beside the clock's: a busy machine changes it less.

The pictures are photographs with many boxes: squares of 480 pixels out of DIR/bccd, found with a low confidence and
enlarged to `--side`. At 1024 neither side resizes for SAM, and masks must agree, instance by instance, to an IoU of
0.99. At other sizes both resize, and not alike (Pillow's filter, with which SAM was trained, against OpenCV's): the
agreement is told, and not demanded. It is told only, too, for `--precision bf16`. Squares, because the peer pads other
shapes with grey where SAM was trained with zeros.

MobileSAM's weights are random but for three changes, the same for both sides: kernels that double an image's size are
the same for all four of its pixels, since random ones chequer every mask, which no trained one does; what the masks
have in common is taken out, so that they are neither full nor empty; and the bias of their quality is raised, so that
the peer, which drops masks below 0.25, drops none.

Instances are matched by their boxes; the masks are those that the peer's own SAM call returns. Its label files are
polygons without holes, and where a mask is dropped all later ones get their neighbour's class: no measure for masks.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np

from benchmarks._harness import Comparison, alternate, machine, report
from benchmarks.overhead import Answer, resources, with_cpu_time
from connectors.detectors import ultralytics_yolo
from connectors.executors import serial
from connectors.segmenters import mobile_sam
from connectors.ultralytics.runtime import load
from pipeline.domain.geometry import Box, Image, box_iou
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import MaskPrediction, Prompt, Proposal
from pipeline.domain.records import Instance, Origin, OriginKind, State
from pipeline.formats.image import read_image
from pipeline.formats.yolo import label_rows
from pipeline.ports import Detector, Executor, Resources, Segmenter
from pipeline.segmenting.careful import CarefulSegmenter
from pipeline.segmenting.cleaning import MaskSettings
from pipeline.segmenting.stored import StoredSegmenter
from pipeline.stages.propose import propose
from pipeline.stages.segment import SegmentSettings, segment
from pipeline.store.encodings import EncodingStore

TARGET = 0.5
TARGET_KEPT = 1 / 8
SAME_MASK_IOU = 0.99
CONFIDENCE = 0.02
OVERLAP = 0.45
PHOTOGRAPH = 480
SIDE = 1024
DETECTOR = "yolo11n-seg-dequant.pt"
ENGINES = ("auto", "eager", "channels_last", "openvino", "onnxruntime")

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


@dataclass(frozen=True)
class Ours:
    """What turns files into label files here."""

    detector: Detector
    segmenter: Segmenter
    executor: Executor
    classes: tuple[str, ...]

    def annotate(self, paths: Sequence[Path], labels: Path) -> list[Answer]:
        images = {path.stem: read_image(path).image for path in paths}
        found = dict(propose([list(images.items())], self.detector, self.classes))
        items = ((name, images[name], proposals) for name, proposals in found.items())
        careful = CarefulSegmenter(self.segmenter, MaskSettings())
        answers: list[Answer] = []
        for name, predictions in segment(items, careful, SegmentSettings(), self.executor):
            size_hw = images[name].shape[:2]
            pairs = list(zip(found[name], predictions, strict=True))
            rows = label_rows([_instance(*pair) for pair in pairs if pair[1] is not None], self.classes, size_hw)
            (labels / f"{name}.txt").write_text(rows, encoding="utf-8")
            answers.append([(box.box, Mask.empty(size_hw) if one is None else one.mask) for box, one in pairs])
        return answers


def _instance(proposal: Proposal, prediction: MaskPrediction | None) -> Instance:
    mask = None if prediction is None else prediction.mask
    return Instance("", proposal.label, proposal.box, mask, Origin(OriginKind.MODEL, "benchmark"), State.PROPOSED)


def pictures(data: Path, folder: Path, count: int, side: int) -> list[Path]:
    """Squares out of the middle of photographs, enlarged, as PNG files."""
    photographs = data / "bccd" / "images"
    if not photographs.is_dir():
        raise SystemExit(f"skipped: {photographs} is not there; MASKLOOP_DATA or --data must hold it")
    folder.mkdir()
    paths = []
    for path in sorted(photographs.iterdir())[:count]:
        photograph = read_image(path).image
        top, left = ((length - PHOTOGRAPH) // 2 for length in photograph.shape[:2])
        square = photograph[top : top + PHOTOGRAPH, left : left + PHOTOGRAPH, ::-1]
        paths.append(folder / f"{path.stem}.png")
        cv2.imwrite(str(paths[-1]), cv2.resize(square, (side, side), interpolation=cv2.INTER_CUBIC))
    return paths


def sam_weights(path: Path, image: Image) -> Path:
    """MobileSAM as the module's docstring says; `image` is looked at for what the masks have in common."""
    import torch
    from ultralytics.models.sam.build import build_mobile_sam

    torch.manual_seed(0)
    model = build_mobile_sam().train().eval().requires_grad_(requires_grad=False)
    decoder = model.mask_decoder
    for number in (0, 3):
        kernels = decoder.output_upscaling[number].weight
        kernels.copy_(2 * kernels.mean((2, 3), keepdim=True).expand_as(kernels))
    seen: list[Any] = []
    hook = decoder.output_upscaling.register_forward_hook(lambda _, __, made: seen.append(made))
    square = torch.from_numpy(cv2.resize(image, (1024, 1024)) / np.float32(58.0) - np.float32(2.0))
    box = torch.tensor([[256.0, 256.0, 768.0, 768.0]])
    sparse, dense = model.prompt_encoder(points=None, boxes=box, masks=None)
    embedding = model.image_encoder(square.permute(2, 0, 1)[None])
    decoder(embedding, model.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=False)
    hook.remove()
    common = torch.nn.functional.normalize(seen[0].mean((0, 2, 3)), dim=0)
    for mixer in decoder.output_hypernetworks_mlps:
        last = mixer.layers[-1]
        last.weight -= torch.outer(common, common @ last.weight)
        last.bias -= common * (common @ last.bias)
    decoder.iou_prediction_head.layers[-1].bias += 1.0
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
    areas = [mask.area_px / (mask.size_hw[0] * mask.size_hw[1]) for mine in ours for _, mask in mine]
    return {
        "boxes": boxes,
        "matched": len(ious),
        "mean_mask_iou": float(np.mean(ious)),
        "worst_mask_iou": min(ious),
        "share_over_0.99": float(np.mean(np.array(ious) >= SAME_MASK_IOU)),
        "mean_share_of_image": float(np.mean(areas)),
    }


def segmenting(segmenter: Segmenter, images: Sequence[Image], answers: Sequence[Answer]) -> Callable[[], None]:
    """Segmentation alone, of the boxes found before."""
    prompts = [[Prompt(box=box) for box, _ in answer] for answer in answers]

    def run() -> None:
        for image, several in zip(images, prompts, strict=True):
            segmenter.decode(segmenter.encode([image])[0], several)

    return run


def peer_segmenting(sam: Overheard, images: Sequence[Image]) -> Callable[[], None]:
    """The same with the boxes that the peer was asked about."""
    import torch

    shown = [
        (np.ascontiguousarray(image[..., ::-1]), torch.from_numpy(boxes).float())
        for image, (boxes, _) in zip(images, sam.shown, strict=True)
    ]

    def run() -> None:
        for image, boxes in shown:
            sam(image, bboxes=boxes, verbose=False, save=False, device="cpu")

    return run


def in_turns(ours: Callable[[], Any], peer: Callable[[], Any], pairs: int) -> tuple[Comparison, Comparison]:
    """Seconds of the clock, and of the processor, which a busy machine changes less."""
    our_cpu: list[float] = []
    peer_cpu: list[float] = []
    times = alternate(with_cpu_time(ours, our_cpu), with_cpu_time(peer, peer_cpu), pairs)
    # The first turn of each side is not measured.
    return times, Comparison(tuple(our_cpu[1:]), tuple(peer_cpu[1:]))


@contextmanager
def loaded(annotator: Any, detector: Any, sam: Overheard) -> Iterator[None]:
    """`auto_annotate` with models that are loaded already."""
    with patch.object(annotator, "YOLO", lambda _: detector), patch.object(annotator, "SAM", lambda _: sam):
        yield


def build_ours(
    asked: argparse.Namespace, detector_weights: Path, weights: Path, classes: tuple[str, ...], work: Path
) -> Ours:
    house: Resources = resources(detector_weights, classes, work)
    found = ultralytics_yolo.Settings(weights=DETECTOR, confidence=CONFIDENCE, iou=OVERLAP, device="cpu")
    settings = mobile_sam.Settings(device="cpu", engine=asked.engine, precision=asked.precision)
    return Ours(
        ultralytics_yolo.build(found, house),
        mobile_sam.build(settings, resources(weights, classes, work)),
        serial.build(serial.Settings(), house),
        classes,
    )


def engine_of(asked: argparse.Namespace, work: Path) -> str:
    """What `auto` wrote down."""
    chosen = [json.loads(path.read_text(encoding="utf-8"))["engine"] for path in work.glob("engine-*.json")]
    return str(chosen[0]) if chosen else str(asked.engine)


def sides(asked: argparse.Namespace, lent: Path, work: Path) -> tuple[Ours, Overheard, Any, list[Path]]:
    """Ours, the peer's SAM and detector, and the folder."""
    from ultralytics import SAM, YOLO

    paths = pictures(Path(asked.data), work / "images", asked.limit, asked.side)
    weights = sam_weights(work / "mobile_sam.pt", read_image(paths[0]).image)
    detector, sam = YOLO(lent / DETECTOR), Overheard(SAM(str(weights)))
    return build_ours(asked, lent / DETECTOR, weights, tuple(detector.names.values()), work), sam, detector, paths


def compared(asked: argparse.Namespace, lent: Path, work: Path) -> tuple[Comparison, dict[str, Any]]:
    """Both sides on the folder; and what is told beside, with the segmentation alone from kept encodings."""
    from ultralytics.data import annotator

    ours, sam, detector, paths = sides(asked, lent, work)
    labels, their_labels = work / "labels", work / "their labels"
    labels.mkdir()

    def peer() -> None:
        sam.shown.clear()
        annotator.auto_annotate(
            paths[0].parent, device="cpu", conf=CONFIDENCE, iou=OVERLAP, output_dir=their_labels
        )

    with loaded(annotator, detector, sam):
        whole, whole_cpu = in_turns(lambda: ours.annotate(paths, labels), peer, asked.pairs)
    answers = ours.annotate(paths, labels)
    facts = {"images": len(paths), "engine": engine_of(asked, work), "agreement": agreement_of(answers, sam.shown)}
    images = [read_image(path).image for path in paths]
    stored = StoredSegmenter(ours.segmenter, EncodingStore(work / "encodings", 10**9), remembered_bytes=0)
    kept, first = (segmenting(segmenter, images, answers) for segmenter in (stored, ours.segmenter))
    peers, own = (in_turns(kept, other, asked.pairs) for other in (peer_segmenting(sam, images), first))
    ratios = {"whole": (whole, whole_cpu), "kept / peer": peers, "kept / own first pass": own}
    return whole, {**facts, "ratios": {name: _told(name, *both) for name, both in ratios.items()}}


def _told(name: str, clock: Comparison, processor: Comparison) -> dict[str, Any]:
    low, high = clock.ci95
    goal = f", target <= {TARGET_KEPT:g}" if name == "kept / peer" else ""
    print(f"{name}: {clock.ratio:.3f} (95 % {low:.3f} to {high:.3f}){goal}; processor time {processor.ratio:.3f}")
    return {"ratio": clock.ratio, "ci95": clock.ci95, "processor": processor.ratio}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("MASKLOOP_DATA"))
    parser.add_argument("--limit", type=int, default=6, help="how many pictures")
    parser.add_argument("--side", type=int, default=SIDE, help="of the pictures, in pixels")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--engine", default="auto", choices=ENGINES)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    lent = os.environ.get("MASKLOOP_WEIGHTS")
    if asked.data is None or lent is None:
        raise SystemExit("skipped: MASKLOOP_DATA and MASKLOOP_WEIGHTS name photographs and detector weights")
    load("the benchmark")
    import torch

    torch.set_flush_denormal(True)  # random weights make denormal numbers, trained ones do not
    with tempfile.TemporaryDirectory() as name:
        whole, facts = compared(asked, Path(lent), Path(name))
    print(f"the encoder ran on {facts['engine']} in {asked.precision}")
    facts |= {"precision": asked.precision, "side": asked.side, "machine": machine(("torch", "ultralytics"))}
    report("autolabel", whole, target=TARGET, as_json=asked.json, **facts)
    if asked.side == SIDE and asked.precision == "fp32" and facts["agreement"]["worst_mask_iou"] < SAME_MASK_IOU:
        raise SystemExit(f"the two sides' masks differ: an IoU below {SAME_MASK_IOU}")


if __name__ == "__main__":
    main()
