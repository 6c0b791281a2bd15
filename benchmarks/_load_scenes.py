"""Pictures with a truth of their own, and a segmenter that finds it: for `benchmarks.backend_load`.

The segmenter floods: a positive point takes all connected pixels of its colour. So it looks at the very pixels of its
encoding, costs a few milliseconds, and an answer from another picture is another mask.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from pipeline.domain.geometry import Image
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, MaskPrediction, Prompt
from pipeline.domain.records import Sample

__all__ = ["OBJECTS", "SIZE_HW", "FloodSegmenter", "name_of", "picture", "sample", "truths"]

SIZE_HW = (240, 320)
OBJECTS = 3


class FloodSegmenter:
    """A segmenter that floods; its encoding is the picture."""

    name = "flood"
    fingerprint = "flood"
    storable = True

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        return [Encoding({"image": image}, (image.shape[0], image.shape[1]), self.fingerprint) for image in images]

    def decode(
        self,
        encoding: Encoding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        del multimask, mask_threshold
        image = np.ascontiguousarray(encoding.arrays["image"], dtype=np.uint8)
        return [[MaskPrediction(self._flooded(image, prompt), 0.9, 0.9)] for prompt in prompts]

    def _flooded(self, image: Image, prompt: Prompt) -> Mask:
        found = (
            prompt.prior.bitmap() if isinstance(prompt.prior, Mask) else np.zeros(image.shape[:2], dtype=np.bool_)
        )
        for (x, y), positive in zip(prompt.points_xy, prompt.point_labels, strict=True):
            flooded = np.zeros((image.shape[0] + 2, image.shape[1] + 2), dtype=np.uint8)
            cv2.floodFill(image.copy(), flooded, (int(x), int(y)), (0, 0, 0))
            found = found | (flooded[1:-1, 1:-1] > 0) if positive else found & ~(flooded[1:-1, 1:-1] > 0)
        return Mask.from_bitmap(found)


def name_of(number: int) -> str:
    """The id of a picture's sample."""
    return hashlib.sha256(f"picture {number}".encode()).hexdigest()


def sample(number: int) -> Sample:
    return Sample(name_of(number), Path(f"{number}.png"), SIZE_HW, "train", str(number))


@cache
def _drawn(number: int) -> tuple[Image, tuple[Mask, ...]]:
    """Three ellipses side by side, each of another colour, and none as in another picture."""
    rng = np.random.default_rng(number)
    height, width = SIZE_HW
    image = np.full((height, width, 3), 40, dtype=np.uint8)
    masks = []
    for place in range(OBJECTS):
        centre = (int(width * (place + 0.5) / OBJECTS + rng.integers(-8, 9)), int(rng.integers(80, 160)))
        axes = (int(rng.integers(16, 38)), int(rng.integers(16, 60)))
        drawn = np.zeros(SIZE_HW, dtype=np.uint8)
        cv2.ellipse(drawn, centre, axes, 0.0, 0.0, 360.0, 1.0, -1)
        image[drawn > 0] = (80 + place * 40, number % 250, 200 - place * 30)
        masks.append(Mask.from_bitmap(drawn))
    return image, tuple(masks)


def picture(number: int) -> Image:
    return _drawn(number)[0]


def truths(number: int) -> tuple[Mask, ...]:
    return _drawn(number)[1]
