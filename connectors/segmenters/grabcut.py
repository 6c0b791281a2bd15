"""Colour models and a graph cut: no weights, the same masks every time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from connectors.grabcut.answer import logits_hw, prediction
from connectors.grabcut.clicks import Pin, near_clicks, pins, similar_region
from connectors.grabcut.cut import cut, settled
from connectors.grabcut.region import Task, around_prior, in_box, spread
from pipeline.domain.geometry import Box, Image, SizeHW
from pipeline.domain.mask import Bitmap, Mask
from pipeline.domain.prompts import Encoding, Logits, MaskPrediction, Prompt
from pipeline.errors import BackendRejected, ShapeMismatch
from pipeline.ports import Resources, Segmenter

__all__ = ["REQUIRES", "Settings", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {}

_FINGERPRINT = "grabcut/rgb-1"
_THRESHOLDS = (0.0, -2.0, 2.0)
"""Of the scores: the cut itself, a wider mask and a tighter one."""


class Settings(BaseModel):
    """How far a cut looks.

    The background's colours come from `margin` of the box's sides around it; the object may reach `slack` of them
    over the box. A prior mask without clicks moves within `band` of the square root of its area. `iterations`
    fit the colour models again after each cut; 0 trusts the prompt. Windows over `max_side` pixels are cut at
    a smaller scale, those that correct a prior mask over `prior_side`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    margin: Annotated[float, Field(gt=0, le=4)] = 1.0
    slack: Annotated[float, Field(ge=0, le=1)] = 0.1
    band: Annotated[float, Field(gt=0, le=1)] = 0.1
    iterations: Annotated[int, Field(ge=0, le=20)] = 0
    max_side: Annotated[int, Field(ge=16, le=4096)] = 128
    prior_side: Annotated[int, Field(ge=16, le=4096)] = 256


def build(settings: Settings, _resources: Resources) -> Segmenter:
    return _GrabCut(settings)


class _GrabCut:
    """Keeps nothing but its settings; OpenCV's random generator, which is a thread's, is never asked."""

    fingerprint = _FINGERPRINT
    storable = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        digest = hashlib.sha256(f"3 {settings.model_dump_json()}".encode()).hexdigest()
        self.name = f"grabcut-{digest[:12]}"

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        """The image itself."""
        return [
            Encoding(
                {"rgb": np.ascontiguousarray(image)}, (int(image.shape[0]), int(image.shape[1])), _FINGERPRINT
            )
            for image in images
        ]

    def decode(
        self,
        encoding: Encoding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        """Scores are log odds of the colour models, within [-8, 8] where the prompt left a pixel open and +-20 where
        it did not; `mask_threshold` is one too.

        Raises BackendRejected for an encoding of another segmenter or a prompt with a text, DataError for a
        prompt that does not fit the image, ShapeMismatch for prior logits that are not its own."""
        encoding.require(_FINGERPRINT, backend=self.name)
        image: Image = encoding.arrays["rgb"].astype(np.uint8, copy=False)
        return [
            self._one(
                image,
                prompt.checked(encoding.size_hw),
                _THRESHOLDS if prompt.wants_several(multimask) else _THRESHOLDS[:1],
                mask_threshold,
            )
            for prompt in prompts
        ]

    def _one(
        self, image: Image, prompt: Prompt, thresholds: Sequence[float], mask_threshold: float
    ) -> list[MaskPrediction]:
        size_hw = (int(image.shape[0]), int(image.shape[1]))
        clicks = pins(prompt.points_xy, prompt.point_labels, size_hw)
        if prompt.text:
            raise BackendRejected(
                "it understands boxes, points and prior masks, no text", backend=self.name, operation="decode"
            )
        prior = _prior(prompt.prior, size_hw)
        task = self._task(image, prompt.box, clicks, prior)
        if task is None:
            result = settled(prior)
        else:
            settings = self._settings
            result = cut(
                image,
                task,
                clicks,
                iterations=settings.iterations,
                max_side=settings.prior_side if prior.any() else settings.max_side,
                box=None if prior.any() else prompt.box,
            )
        answers = [prediction(result, prior, prompt.box, threshold, mask_threshold) for threshold in thresholds]
        return sorted(answers, key=lambda answer: -answer.predicted_iou)

    def _task(self, image: Image, box: Box | None, clicks: Sequence[Pin], prior: Bitmap) -> Task | None:
        """What to cut; None if the prompt leaves nothing open, and the prior stands."""
        settings = self._settings
        if prior.any():
            return near_clicks(image, prior, clicks) if clicks else around_prior(image, prior, settings.band)
        if box is None:
            if not any(pin.positive for pin in clicks):
                return None
            box = Box(*map(float, spread(similar_region(image, clicks), 0.0)))
        return in_box(
            image, box, settings.margin, settings.slack, [(pin.x, pin.y) for pin in clicks if pin.positive]
        )


def _prior(prior: Logits | Mask | None, size_hw: SizeHW) -> Bitmap:
    """As a bitmap of the image's size; no prior is an empty one."""
    if prior is None:
        return np.zeros(size_hw, dtype=np.bool_)
    if isinstance(prior, Mask):
        return prior.bitmap()
    wanted = logits_hw(size_hw)
    if prior.shape != wanted or not np.isfinite(prior).all():
        raise ShapeMismatch(
            f"prior logits must be finite and of shape {wanted}, as they come with an answer, not {prior.shape}: "
            "a mask from elsewhere is given as a mask"
        )
    scaled = cv2.resize(prior.astype(np.float32), size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    inside: Bitmap = np.asarray(scaled > 0)
    return inside
