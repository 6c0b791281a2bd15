"""Segment Anything: MobileSAM and SAM (b, l, h), with boxes, points, prior masks and logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from connectors.sam.frame import Frame
from connectors.sam.network import Asked, Network, Told, Variant
from connectors.ultralytics.faults import translated
from connectors.ultralytics.weights import weights_by_name
from pipeline.domain.geometry import Image, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, Logits, MaskPrediction, Prompt
from pipeline.errors import BackendRejected
from pipeline.ports import Resources, Segmenter

__all__ = ["REQUIRES", "Settings", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {"ultralytics": ("torch", "ultralytics")}

_PREPROCESSING = "longest-1024-1"
_OFFSET = 1.0


class Settings(BaseModel):
    """Which network, and how many prompts it is asked at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant: Variant = "mobile_sam"
    weights: str | None = None
    """A file's path, or a name to be looked for; by default the variant's own, `mobile_sam.pt`."""
    sha256: str | None = None
    """The digest that the file must have; it is checked before the file is loaded."""
    untrained: bool = False
    """Random weights drawn from the run's seed: masks without meaning, to measure time with and to test with."""
    device: str = "auto"
    batch: Annotated[int, Field(ge=1)] = 16


def build(settings: Settings, resources: Resources) -> Segmenter:
    """Raises MissingExtra, and WeightsUnavailable for weights that are missing, damaged, unsafe, of another digest
    or of another variant."""
    path = digest = None
    if not settings.untrained:
        name = settings.weights or f"{settings.variant}.pt"
        weights = weights_by_name(name, settings.sha256, resources.find_weights)
        path, digest = weights.path, weights.sha256
    with translated("sam", "load weights"):
        network = Network(settings.variant, path, seed=resources.seed, device=settings.device)
    return _Sam(settings, network, digest or network.digest())


class _Sam:
    """Keeps its settings and the network, nothing of any image."""

    def __init__(self, settings: Settings, network: Network, digest: str) -> None:
        self._network = network
        self._batch = settings.batch
        self._fingerprint = f"sam/{settings.variant}/{digest}/{_PREPROCESSING}"
        self.name = f"sam-{settings.variant}-{digest[:12]}"

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        """`embedding`, `float32 (256, 64, 64)`. Raises BackendError if the network fails."""
        with translated(self.name, "encode"):
            return [
                Encoding({"embedding": self._network.encode(image)}, _size(image), self._fingerprint)
                for image in images
            ]

    def decode(
        self, encoding: Encoding, prompts: Sequence[Prompt], *, multimask: bool = False
    ) -> list[list[MaskPrediction]]:
        """With `multimask` three candidates, the best predicted IoU first.

        Raises BackendRejected for an encoding of another segmenter or a prompt of text only, DataError for a
        prompt that does not fit the image, ShapeMismatch for logits that are not of shape (256, 256).
        """
        if encoding.fingerprint != self._fingerprint:
            raise BackendRejected(
                f"the encoding was made by {encoding.fingerprint!r}: encode the image with this segmenter",
                backend=self.name,
                operation="decode",
            )
        checked = [prompt.checked(encoding.size_hw) for prompt in prompts]
        if any(prompt.box is None and not prompt.points_xy and prompt.prior is None for prompt in checked):
            raise BackendRejected(
                "it understands boxes, points and priors, no text", backend=self.name, operation="decode"
            )
        embedding = encoding.arrays["embedding"].astype(np.float32, copy=False)
        frame = Frame(encoding.size_hw)
        answers: dict[int, list[MaskPrediction]] = {}
        for numbers in self._groups(checked):
            asked = _asked([checked[number] for number in numbers], frame)
            with translated(self.name, "decode"):
                told = self._network.decode(embedding, asked, encoding.size_hw, multimask=multimask)
            for number, candidates in zip(numbers, told, strict=True):
                predictions = [_prediction(candidate, frame) for candidate in candidates]
                answers[number] = sorted(predictions, key=lambda prediction: -prediction.predicted_iou)
        return [answers[number] for number in range(len(prompts))]

    def _groups(self, prompts: Sequence[Prompt]) -> Iterator[list[int]]:
        """Numbers of prompts that can be asked together: as many points, a box or none, a prior or none."""
        groups: dict[tuple[int, bool, bool], list[int]] = {}
        for number, prompt in enumerate(prompts):
            shape = len(prompt.points_xy), prompt.box is not None, prompt.prior is not None
            groups.setdefault(shape, []).append(number)
        for group in groups.values():
            for start in range(0, len(group), self._batch):
                yield group[start : start + self._batch]


def _size(image: Image) -> SizeHW:
    return int(image.shape[0]), int(image.shape[1])


def _asked(prompts: Sequence[Prompt], frame: Frame) -> Asked:
    """Prompts of one shape as the network wants them."""
    points = [[frame.point(*point) for point in prompt.points_xy] for prompt in prompts]
    labels = [prompt.point_labels for prompt in prompts]
    boxes = [frame.box(prompt.box) for prompt in prompts if prompt.box is not None]
    priors = [frame.prior(prompt.prior)[None] for prompt in prompts if prompt.prior is not None]
    return Asked(
        np.array(points, dtype=np.float32) if points[0] else None,
        np.array(labels, dtype=np.float32) if points[0] else None,
        np.array(boxes, dtype=np.float32) if boxes else None,
        np.stack(priors) if priors else None,
    )


def _prediction(told: Told, frame: Frame) -> MaskPrediction:
    """An empty mask has no quality: 0."""
    mask = Mask.from_bitmap(told.bitmap)
    if mask.area_px == 0:
        return MaskPrediction(mask, 0.0, 0.0, told.logits)
    return MaskPrediction(
        mask, min(max(told.predicted_iou, 0.0), 1.0), _stability(told.logits, frame), told.logits
    )


def _stability(logits: Logits, frame: Frame) -> float:
    """SAM's score: the IoU of the masks at a threshold one higher and one lower, at a quarter of the frame."""
    height, width = frame.low_content_hw
    shown = logits[:height, :width]
    wide = int((shown > -_OFFSET).sum())
    return int((shown > _OFFSET).sum()) / wide if wide else 0.0
