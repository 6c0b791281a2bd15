"""FastSAM: one pass of a YOLO-seg network sees everything, prompts choose among it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from connectors.fastsam.choice import Similarity, agreement, assign, ranked
from connectors.fastsam.everything import Candidate, moved, pack, unpack
from connectors.fastsam.words import Words, build_words
from connectors.ultralytics.classes import ClassTable
from connectors.ultralytics.faults import translated
from connectors.ultralytics.weights import weights_by_name
from pipeline.domain.geometry import Box, Image, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, MaskPrediction, Prompt
from pipeline.errors import BackendRejected, ShapeMismatch, WeightsUnavailable
from pipeline.ports import Resources, Segmenter

if TYPE_CHECKING:
    from connectors.ultralytics.network import Network

__all__ = ["REQUIRES", "Settings", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {"ultralytics": ("torch", "ultralytics", "scipy")}

_MOST = 3
"""Candidates where several are wanted."""


class Settings(BaseModel):
    """Which weights (FastSAM's, or any YOLO-seg's), and when a mask answers a prompt.

    Whatever is seen with `confidence` is a candidate, unless it overlaps a better one of its class by more than
    `iou`; an image has at most `max_candidates`. A box or prior with which no candidate agrees by `iou_floor`
    gets no mask.

    `text_weights` are those of the CLIP model that open_clip calls `text_model`, as open_clip publishes them: a file,
    never a download. With them a text chooses among the masks; one whose cosine with all of them is under `text_floor`
    gets none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: str = "FastSAM-s.pt"
    sha256: str | None = None
    imgsz: Annotated[int, Field(ge=32)] = 640
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.05
    iou: Annotated[float, Field(ge=0, le=1)] = 0.9
    max_candidates: Annotated[int, Field(ge=1)] = 300
    iou_floor: Annotated[float, Field(gt=0, le=1)] = 0.5
    device: str = "auto"
    half: bool = False
    text_model: str = "ViT-B-32"
    text_weights: str | None = None
    text_sha256: str | None = None
    text_floor: Annotated[float, Field(ge=-1, le=1)] = 0.0


def build(settings: Settings, resources: Resources) -> Segmenter:
    """Raises MissingExtra, ConfigError for a `text_model` that cannot be had, and WeightsUnavailable for weights that
    are missing, damaged, unsafe, of another digest, or without masks."""
    from connectors.ultralytics.network import Network

    weights = weights_by_name(settings.weights, settings.sha256, resources.find_weights)
    with translated("fastsam", "load weights"):
        network = Network(
            weights,
            image_size=settings.imgsz,
            device=settings.device,
            half=settings.half,
            nms_free=False,
            batch=1,
        )
    if not network.masks:
        raise WeightsUnavailable(str(weights.path), reason="it is a detect model; fastsam needs a segment model")
    words = None
    if settings.text_weights is not None:
        words = build_words(
            settings.text_model,
            settings.text_weights,
            settings.text_sha256,
            resources.find_weights,
            device=settings.device,
        )
    return _FastSam(settings, network, weights.sha256, words)


class _FastSam:
    """Keeps its settings and the network, nothing of any image."""

    storable = True

    def __init__(self, settings: Settings, network: Network, digest: str, words: Words | None) -> None:
        from connectors.ultralytics.network import Suppression

        self._network = network
        self._words = words
        self._settings = settings
        self._keep = Suppression(settings.confidence, settings.iou, settings.max_candidates)
        # Every class counts, and none is told from another.
        self._table = ClassTable(np.zeros(len(network.names), dtype=np.int64), 1)
        seen = settings.model_dump_json(include={"imgsz", "confidence", "iou", "max_candidates", "half"})
        described = "" if words is None else f"/{settings.text_model}/{words.digest}"
        self.fingerprint = f"fastsam/{digest}/2/{seen}{described}"
        floors = f"{settings.iou_floor} {settings.text_floor}" if words else f"{settings.iou_floor}"
        choices = hashlib.sha256(f"{seen}{described} {floors}".encode()).hexdigest()
        self.name = f"fastsam-{digest[:12]}-{choices[:8]}"
        # The network's head remembers the last input's shape: one image at a time.
        self._one_at_a_time = threading.Lock()

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        """Every mask that is seen (see `everything.pack`). Raises BackendError if the network fails."""
        return [Encoding(self._everything(image), _size(image), self.fingerprint) for image in images]

    def decode(
        self,
        encoding: Encoding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        """An empty mask where no candidate agrees; prompts with boxes get different candidates.

        `predicted_iou` is how well prompt and candidate agree (see `choice.agreement`); no network estimates it.
        Several candidates are at most three. Candidates are chosen by their masks at threshold 0; `mask_threshold`, in
        units of the network's logits, moves the edges of those that are chosen. Raises BackendRejected for an encoding
        of another segmenter, or a prompt with a text where no words are known; DataError for a prompt that does not
        fit the image, ShapeMismatch for a prior of logits.
        """
        encoding.require(self.fingerprint, backend=self.name)
        size_hw = encoding.size_hw
        asked = [_checked(prompt, size_hw) for prompt in prompts]
        candidates = unpack(encoding.arrays, size_hw)
        table = agreement(asked, candidates, self._settings.iou_floor, self._similar(encoding, asked))
        chosen = assign(table, asked)
        taken = {number for prompt, number in zip(asked, chosen, strict=True) if prompt.box is not None}
        answers = []
        for prompt, row, first in zip(asked, table, chosen, strict=True):
            several = prompt.wants_several(multimask)
            # What another box got may agree better than what this one was left with.
            others = [number for number in ranked(row) if prompt.box is None or number not in taken]
            order = [] if first is None else [first, *(number for number in others if number != first)]
            entry = [
                self._prediction(encoding, candidates[number], number, float(row[number]), mask_threshold)
                for number in order[: _MOST if several else 1]
            ]
            entry.sort(key=lambda answer: -answer.predicted_iou)
            answers.append(entry or [MaskPrediction(Mask.empty(size_hw), 0.0, 0.0)])
        return answers

    def _prediction(
        self, encoding: Encoding, candidate: Candidate, number: int, agrees: float, mask_threshold: float
    ) -> MaskPrediction:
        if mask_threshold == 0.0:
            return MaskPrediction(candidate.mask, agrees, candidate.stability)
        mask, stability = moved(encoding.arrays, number, encoding.size_hw, mask_threshold)
        return MaskPrediction(mask, agrees if mask.area_px else 0.0, stability)

    def _similar(self, encoding: Encoding, asked: Sequence[Prompt]) -> dict[int, Similarity]:
        """What the texts among the prompts have to do with the candidates."""
        texts = {number: prompt.text for number, prompt in enumerate(asked) if prompt.text}
        if self._words is None:
            if texts:
                raise BackendRejected(
                    "it understands boxes, points and prior masks; for text, pip install 'maskloop[text]' and name the "
                    "weights of a CLIP model in its setting text_weights",
                    backend=self.name,
                    operation="decode",
                )
            return {}
        if not texts:
            return {}
        with translated(self.name, "decode"):
            rows = self._words.of_texts(list(texts.values()))
        seen = encoding.arrays["descriptions"].astype(np.float32)
        return {
            number: Similarity(
                seen @ row if len(seen) else seen[:, 0], self._words.scale, self._settings.text_floor
            )
            for number, row in zip(texts, rows, strict=True)
        }

    def _everything(self, image: Image) -> Mapping[str, npt.NDArray[np.generic]]:
        with self._one_at_a_time, translated(self.name, "encode"):
            [found] = self._network.find([image], self._table, self._keep)
        boxes = [Box(*(float(value) for value in row)) for row in found.boxes]
        confidences = found.scores[np.arange(len(boxes)), found.classes].clip(0.0, 1.0)
        logits = found.logits if found.logits is not None else np.zeros((0, 1, 1), dtype=np.float32)
        arrays = pack(logits, boxes, confidences, _size(image))
        if self._words is None:
            return arrays
        with translated(self.name, "encode"):
            masks = [candidate.mask for candidate in unpack(arrays, _size(image))]
            return {**arrays, "descriptions": self._words.of_masks(image, masks)}


def _size(image: Image) -> SizeHW:
    return int(image.shape[0]), int(image.shape[1])


def _checked(prompt: Prompt, size_hw: SizeHW) -> Prompt:
    if prompt.prior is not None and not isinstance(prompt.prior, Mask):
        raise ShapeMismatch("fastsam makes no logits, so these are another segmenter's: give the prior as a mask")
    return prompt.checked(size_hw)
