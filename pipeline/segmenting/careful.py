"""A segmenter as the house uses it: what goes in is checked, class names come back with masks, answers are cleaned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import Image, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, Logits, MaskPrediction, Prompt
from pipeline.errors import BackendRejected, DataError, ShapeMismatch
from pipeline.ports import Enlarger, Escalating, Segmenter
from pipeline.segmenting.cleaning import MaskSettings, cleaned

__all__ = ["MOST_PROMPTS", "CarefulSegmenter", "enlarger_of", "escalated_by"]

MOST_PROMPTS = 4096
"""Prompts in one call. Each answer brings its logits, a quarter of a megabyte: all together a gigabyte."""


class CarefulSegmenter:
    """Any segmenter with `settings`; a segmenter itself.

    `decode` raises BackendRejected if the segmenter answers fewer or more prompts than it was asked; what else it
    raises is the segmenter's.
    """

    def __init__(self, segmenter: Segmenter, settings: MaskSettings) -> None:
        self._segmenter = segmenter
        self._settings = settings
        self.name = segmenter.name
        self.fingerprint = segmenter.fingerprint
        self.storable = segmenter.storable

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        """Raises ShapeMismatch for anything but `uint8 (h, w, 3)` with at least one pixel."""
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
                raise ShapeMismatch(
                    f"an image must be uint8 (height, width, 3) RGB, not {image.dtype} {image.shape}: "
                    "read it with pipeline.formats.image.read_image"
                )
        return self._segmenter.encode([np.ascontiguousarray(image) for image in images])

    def decode(
        self,
        encoding: Encoding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        """`mask_threshold` is added to that of the settings. No prompts, no answers.

        Raises DataError for more than `MOST_PROMPTS`.
        """
        if not prompts:
            return []
        if len(prompts) > MOST_PROMPTS:
            raise DataError(
                f"{len(prompts)} prompts at once: ask at most {MOST_PROMPTS}, several times with the same encoding"
            )
        answers = self._segmenter.decode(
            encoding,
            prompts,
            multimask=multimask,
            mask_threshold=self._settings.mask_threshold + mask_threshold,
        )
        if len(answers) != len(prompts):
            raise BackendRejected(
                f"{len(answers)} answers to {len(prompts)} prompts", backend=self.name, operation="decode"
            )
        return [
            [self._finished(one, prompt.label) for one in entry]
            for prompt, entry in zip(prompts, answers, strict=True)
        ]

    def enlarge(self, logits: Logits, size_hw: SizeHW) -> npt.NDArray[np.float32]:
        """As the segmenter does it. Raises BackendRejected if it cannot."""
        return enlarger_of(self._segmenter).enlarge(logits, size_hw)

    @property
    def escalated(self) -> int:
        """As the segmenter counts; 0 for one that never asks another."""
        return escalated_by(self._segmenter)

    def _finished(self, answer: MaskPrediction, label: str | None) -> MaskPrediction:
        if answer.predicted_iou < self._settings.threshold:
            return replace(answer, mask=Mask.empty(answer.mask.size_hw), label=label)
        return replace(answer, mask=cleaned(answer.mask, self._settings, label), label=label)


def escalated_by(segmenter: Segmenter) -> int:
    """How many prompts it has handed on to a better one; 0 for a segmenter that never does."""
    return segmenter.escalated if isinstance(segmenter, Escalating) else 0


def enlarger_of(segmenter: Segmenter) -> Enlarger:
    """Raises BackendRejected for a segmenter whose logits cannot be enlarged."""
    if not isinstance(segmenter, Enlarger):
        raise BackendRejected(
            "its logits cannot be brought to the image's size", backend=segmenter.name, operation="enlarge"
        )
    return segmenter
