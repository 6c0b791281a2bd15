"""SAM's frame: the longest side of the image scaled to 1024, padded at the right and the bottom to a square.

As in Kirillov et al., "Segment Anything" (ICCV 2023); masks go in and come out at a quarter of that size.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import Box, Image, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Logits
from pipeline.errors import ShapeMismatch

__all__ = ["LOW_SIDE", "SIDE", "Frame"]

SIDE = 1024
LOW_SIDE = 256

_PIXEL_MEAN = np.array([123.675, 116.28, 103.53], dtype=np.float32)
_PIXEL_STD = np.array([58.395, 57.12, 57.375], dtype=np.float32)
_SURE = 10.0


@dataclass(frozen=True)
class Frame:
    """Between an image of `size_hw` and the frame."""

    size_hw: SizeHW

    @property
    def scale(self) -> float:
        """Frame pixels per image pixel."""
        return SIDE / max(self.size_hw)

    @property
    def content_hw(self) -> SizeHW:
        """The part of the frame that shows the image."""
        return self._scaled(SIDE)

    @property
    def low_content_hw(self) -> SizeHW:
        """The same for masks of a quarter of the size."""
        return self._scaled(LOW_SIDE)

    def pixels(self, image: Image) -> npt.NDArray[np.float32]:
        """The normalised, padded frame, `float32 (3, 1024, 1024)`."""
        from PIL import Image as Pillow

        height, width = self.content_hw
        # Pillow's bilinear filter widens where it makes smaller; SAM was trained on that.
        resized = Pillow.fromarray(image).resize((width, height), Pillow.Resampling.BILINEAR)
        frame = np.zeros((3, SIDE, SIDE), dtype=np.float32)
        normalised = (np.asarray(resized, dtype=np.float32) - _PIXEL_MEAN) / _PIXEL_STD
        frame[:, :height, :width] = normalised.transpose(2, 0, 1)
        return frame

    def point(self, x: float, y: float) -> tuple[float, float]:
        """SAM names a pixel by its index and not by its centre: (0.5, 0.5) becomes (0, 0)."""
        return (x - 0.5) * self.scale, (y - 0.5) * self.scale

    def box(self, box: Box) -> tuple[float, float, float, float]:
        """A box's sides lie between pixels, and are only scaled."""
        x1, y1, x2, y2 = (side * self.scale for side in box)
        return x1, y1, x2, y2

    def prior(self, prior: Logits | Mask) -> Logits:
        """Mask input `float32 (256, 256)`: logits as they came, or a mask as logits between -10 and 10.

        Raises ShapeMismatch for logits of another shape, or with values that are not finite.
        """
        if isinstance(prior, Mask):
            height, width = self.low_content_hw
            bitmap = prior.bitmap().astype(np.float32)
            logits = np.full((LOW_SIDE, LOW_SIDE), -_SURE, dtype=np.float32)
            share = cv2.resize(bitmap, (width, height), interpolation=cv2.INTER_AREA)
            logits[:height, :width] = _SURE * (2 * np.asarray(share, dtype=np.float32) - 1)
            return logits
        if prior.shape != (LOW_SIDE, LOW_SIDE) or not np.isfinite(prior).all():
            raise ShapeMismatch(
                f"prior logits must be finite and of shape ({LOW_SIDE}, {LOW_SIDE}), not {prior.shape}: "
                "give back what this segmenter answered, or a mask"
            )
        return prior.astype(np.float32)

    def _scaled(self, side: int) -> SizeHW:
        """As SAM rounds: half up, and here at least one pixel."""
        height, width = (max(1, int(length * side / max(self.size_hw) + 0.5)) for length in self.size_hw)
        return height, width
