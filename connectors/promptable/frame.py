"""The square that a network sees: the image scaled to it, and the way there for points, boxes and masks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import Box, Image, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Logits
from pipeline.errors import ShapeMismatch

__all__ = ["Frame", "Square"]

_SURE = 10.0


@dataclass(frozen=True)
class Square:
    """How a kind of network wants its pictures.

    `side` is the square's, `low_side` that of logits and priors, both in pixels. The image's longest side fills the
    square, padded at the right and the bottom as in Kirillov et al., "Segment Anything" (ICCV 2023); or both sides
    are stretched to it, as in Ravi et al., "SAM 2" (2024). Pixels are normalised by `mean` and `std` (of 0 to 255).
    `point_shift`: some networks name a pixel by its index, so that its centre (0.5, 0.5) is (0, 0) to them.
    """

    side: int
    low_side: int
    stretch: bool = False
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    point_shift: float = -0.5

    @property
    def name(self) -> str:
        """Tells preprocessings apart, in fingerprints."""
        return f"{'stretch' if self.stretch else 'longest'}-{self.side}-1"


@dataclass(frozen=True)
class Frame:
    """Between an image of `size_hw` and the square."""

    square: Square
    size_hw: SizeHW

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Square pixels per image pixel; across and down they differ by the rounding of the content's size."""
        (height, width), (content_height, content_width) = self.size_hw, self.content_hw
        return content_width / width, content_height / height

    @property
    def content_hw(self) -> SizeHW:
        """The part of the square that shows the image."""
        return self._content(self.square.side)

    @property
    def low_content_hw(self) -> SizeHW:
        """The same for logits."""
        return self._content(self.square.low_side)

    def pixels(self, image: Image) -> npt.NDArray[np.float32]:
        """The normalised square, `float32 (1, 3, side, side)`."""
        from PIL import Image as Pillow

        height, width = self.content_hw
        # Pillow's bilinear filter widens where it makes smaller; SAM was trained on that.
        resized = Pillow.fromarray(image).resize((width, height), Pillow.Resampling.BILINEAR)
        mean, std = (np.array(values, dtype=np.float32) for values in (self.square.mean, self.square.std))
        square = np.zeros((1, 3, self.square.side, self.square.side), dtype=np.float32)
        square[0, :, :height, :width] = ((np.asarray(resized, dtype=np.float32) - mean) / std).transpose(2, 0, 1)
        return square

    def point(self, x: float, y: float) -> tuple[float, float]:
        """A point of the image, as the network names it."""
        (across, down), shift = self.scale_xy, self.square.point_shift
        return (x + shift) * across, (y + shift) * down

    def box(self, box: Box) -> tuple[float, float, float, float]:
        """A box's sides lie between pixels, and are only scaled."""
        across, down = self.scale_xy
        return box.x1 * across, box.y1 * down, box.x2 * across, box.y2 * down

    def prior(self, prior: Logits | Mask) -> Logits:
        """Mask input `float32 (low_side, low_side)`: logits as they came, or a mask as logits between -10 and 10.

        Raises ShapeMismatch for logits of another shape, or with values that are not finite.
        """
        side = self.square.low_side
        if isinstance(prior, Mask):
            height, width = self.low_content_hw
            bitmap = prior.bitmap().astype(np.float32)
            logits = np.full((side, side), -_SURE, dtype=np.float32)
            share = cv2.resize(bitmap, (width, height), interpolation=cv2.INTER_AREA)
            logits[:height, :width] = _SURE * (2 * np.asarray(share, dtype=np.float32) - 1)
            return logits
        if prior.shape != (side, side) or not np.isfinite(prior).all():
            raise ShapeMismatch(
                f"prior logits must be finite and of shape ({side}, {side}), not {prior.shape}: "
                "give back what this segmenter answered, or a mask"
            )
        return prior.astype(np.float32)

    def _content(self, side: int) -> SizeHW:
        """As SAM rounds: half up, and here at least one pixel."""
        if self.square.stretch:
            return side, side
        height, width = (max(1, int(length * side / max(self.size_hw) + 0.5)) for length in self.size_hw)
        return height, width
