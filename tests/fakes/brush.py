"""A segmenter that does as it is told: a box is filled, the last point paints or wipes a disc on the prior.

It looks at no pixel, so what a test expects of it can be worked out by hand. It counts its encodings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.domain.geometry import Image
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, MaskPrediction, Prompt

__all__ = ["BrushSegmenter"]


class BrushSegmenter:
    name = "brush"
    fingerprint = "brush"
    storable = False

    def __init__(self, radius: float = 6.0) -> None:
        self.radius = radius
        self.encoded = 0
        self.prompts: list[Prompt] = []

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        self.encoded += len(images)
        return [Encoding({}, (image.shape[0], image.shape[1]), self.name) for image in images]

    def decode(
        self,
        encoding: Encoding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        self.prompts += prompts
        return [[MaskPrediction(self._paint(prompt, encoding.size_hw), 0.9, 0.9)] for prompt in prompts]

    def _paint(self, prompt: Prompt, size_hw: tuple[int, int]) -> Mask:
        prompt = prompt.checked(size_hw)
        painted = np.zeros(size_hw, dtype=bool)
        if isinstance(prompt.prior, Mask):
            painted = prompt.prior.bitmap()
        elif prompt.box is not None:
            painted = Mask.from_box(prompt.box, size_hw).bitmap()
        ys, xs = np.mgrid[: size_hw[0], : size_hw[1]] + 0.5
        if prompt.points_xy:
            x, y = prompt.points_xy[-1]
            painted[np.hypot(xs - x, ys - y) <= self.radius] = prompt.point_labels[-1]
        return Mask.from_bitmap(painted)
