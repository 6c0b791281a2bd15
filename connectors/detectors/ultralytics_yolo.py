"""Any Ultralytics YOLO detect or segment weights (YOLO26, 11, v8): boxes, all class scores, masks.

Boxes, classes, confidences and masks are those of `model.predict` on each image alone, with
`retina_masks=True`; in addition every box carries its scores for all classes of the project. Images are padded one
by one and run together where their padded shapes agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from connectors.ultralytics.classes import ClassTable, class_table
from connectors.ultralytics.faults import translated
from connectors.ultralytics.masks import box_masks
from connectors.ultralytics.weights import Weights, weights_by_name, weights_of
from pipeline.domain.geometry import Box, Image, SizeHW, box_iou
from pipeline.domain.prompts import Proposal
from pipeline.domain.rounds import ModelRef
from pipeline.errors import ShapeMismatch
from pipeline.ports import Detector, Resources

if TYPE_CHECKING:
    from connectors.ultralytics.network import Found, Network, Suppression

__all__ = ["REQUIRES", "Settings", "UltralyticsYolo", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {"ultralytics": ("torch", "ultralytics")}


class Settings(BaseModel):
    """Which weights, and what to keep of their answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: str = "yolo11n-seg.pt"
    """A file's path, or a name to be looked for."""
    sha256: str | None = None
    """The digest that the file must have; it is checked before the file is loaded."""
    class_map: dict[str, str] = {}
    """The model's class -> the project's; `*` stands for any other. Equal names need no entry."""
    imgsz: Annotated[int, Field(ge=32)] = 640
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.25
    iou: Annotated[float, Field(ge=0, le=1)] = 0.7
    max_instances: Annotated[int, Field(ge=1)] = 300
    batch: Annotated[int, Field(ge=1)] = 16
    device: str = "auto"
    half: bool = False
    """Half precision, on CUDA only."""
    nms_free: bool = False
    """Use the one-to-one head of models that have one (YOLO26); `iou` then matters only for merged classes."""


def build(
    settings: Settings,
    resources: Resources,
    *,
    model: ModelRef | None = None,
    confidence: float | None = None,
) -> Detector:
    """Raises MissingExtra, WeightsUnavailable (missing, wrong digest, unsafe or no detect/segment model), and
    ConfigError for a class map that does not fit."""
    from connectors.ultralytics.network import Network, Suppression

    if model is None:
        weights = weights_by_name(settings.weights, settings.sha256, resources.find_weights)
    else:
        weights = weights_of(model)
    with translated("ultralytics_yolo", "load weights"):
        network = Network(
            weights,
            image_size=settings.imgsz,
            device=settings.device,
            half=settings.half,
            nms_free=settings.nms_free,
            batch=settings.batch,
        )
    table = class_table(network.names, resources.classes, settings.class_map if model is None else {})
    floor = settings.confidence if confidence is None else confidence
    keep = Suppression(floor, settings.iou, settings.max_instances)
    return UltralyticsYolo(network, table, keep, resources.classes, weights)


class UltralyticsYolo:
    """A detector and embedder around one network."""

    def __init__(
        self,
        network: Network,
        table: ClassTable,
        keep: Suppression,
        classes: Sequence[str],
        weights: Weights,
    ) -> None:
        self._network = network
        self._table = table
        self._keep = keep
        self._classes = tuple(classes)
        self.name = f"ultralytics_yolo-{weights.short}"

    def propose(self, images: Sequence[Image], sample_ids: Sequence[str]) -> list[list[Proposal]]:
        """Best first. Raises ShapeMismatch for unequal counts, BackendError if the network fails."""
        if len(images) != len(sample_ids):
            raise ShapeMismatch(f"{len(images)} images with {len(sample_ids)} sample ids")
        with translated(self.name, "propose"):
            found = self._network.find(images, self._table, self._keep)
        return [
            self._proposals(one, (int(image.shape[0]), int(image.shape[1])))
            for one, image in zip(found, images, strict=True)
        ]

    def embed(self, images: Sequence[Image]) -> npt.NDArray[np.float32]:
        """`float32 (n, d)`, rows of unit length: the backbone's last features, averaged over the image."""
        with translated(self.name, "embed"):
            return self._network.describe(images)

    def _proposals(self, found: Found, size_hw: SizeHW) -> list[Proposal]:
        boxes = [Box(*(float(value) for value in row)) for row in found.boxes]
        labels = self._table.targets[found.classes]
        own = found.scores[np.arange(len(boxes)), found.classes]
        scores = self._table.project(found.scores)
        numbers = [number for number, box in enumerate(boxes) if box.area_px > 0]
        if self._table.merges:
            numbers = _suppressed(numbers, boxes, labels, self._keep.iou)
        masks = None
        if found.logits is not None:
            masks = dict(
                zip(numbers, box_masks(found.logits[numbers], [boxes[n] for n in numbers], size_hw), strict=True)
            )
        return [
            Proposal(
                boxes[number],
                self._classes[labels[number]],
                min(float(own[number]), 1.0),
                tuple(min(float(score), 1.0) for score in scores[number]),
                None if masks is None else masks[number],
            )
            for number in numbers
            # Ultralytics drops a box whose mask is empty, too.
            if masks is None or masks[number].area_px > 0
        ]


def _suppressed(
    numbers: Sequence[int], boxes: Sequence[Box], labels: npt.NDArray[np.int64], iou: float
) -> list[int]:
    """What stays when, after several classes have become one, boxes of one class overlap again; best first."""
    overlap = box_iou([boxes[number] for number in numbers], [boxes[number] for number in numbers])
    kept: list[int] = []
    for place, number in enumerate(numbers):
        rivals = [k for k in kept if labels[numbers[k]] == labels[number]]
        if not (overlap[place, rivals] > iou).any():
            kept.append(place)
    return [numbers[place] for place in kept]
