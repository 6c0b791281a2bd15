"""From low-resolution logits to a mask of the image, only where there can be any.

SAM's own way is bilinear to the square, without its padding bilinear to the image, and then the threshold. Both
steps are linear and separable, so that both together are one small matrix for rows and one for columns; and a pixel
whose taps are all at most the threshold cannot be over it. So only the window around the object is ever computed:
the same pixels, for a few percent of the work on a large image with small objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from connectors.promptable.frame import Frame
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Logits

__all__ = ["enlarged", "enlarged_logits"]

_REMEMBERED = 32


def enlarged(logits: Logits, frame: Frame, threshold: float) -> Mask:
    """The pixels of the image, whose enlarged logit is over `threshold`. `logits` are `float32 (low, low)`."""
    over = logits > threshold
    if not over.any():
        return Mask.empty(frame.size_hw)
    rows, columns = (_Axis.of(frame, axis) for axis in (0, 1))
    low_rows, low_columns = np.flatnonzero(over.any(axis=1)), np.flatnonzero(over.any(axis=0))
    top, bottom = rows.reach(int(low_rows[0]), int(low_rows[-1]))
    left, right = columns.reach(int(low_columns[0]), int(low_columns[-1]))
    if top >= bottom or left >= right:  # all of it lies in the padding
        return Mask.empty(frame.size_hw)
    down, (first_row, last_row) = rows.between(top, bottom)
    across, (first_column, last_column) = columns.between(left, right)
    window = down @ logits[first_row:last_row, first_column:last_column] @ across.T
    return Mask.from_crop(np.asarray(window > threshold), left, top, frame.size_hw)


def enlarged_logits(logits: Logits, frame: Frame) -> npt.NDArray[np.float32]:
    """All of the image's logits, `float32 (h, w)`."""
    rows, columns = (_Axis.of(frame, axis) for axis in (0, 1))
    return np.asarray(rows.weights @ logits @ columns.weights.T)


@dataclass(frozen=True, eq=False)
class _Axis:
    """`weights (length, low)` from logits to the image along one axis; `first` and `last` tap of each pixel."""

    weights: npt.NDArray[np.float32]
    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]

    @staticmethod
    def of(frame: Frame, axis: int) -> _Axis:
        square = frame.square
        return _axis(square.low_side, square.side, frame.content_hw[axis], frame.size_hw[axis])

    def reach(self, low_first: int, low_last: int) -> tuple[int, int]:
        """The pixels, from and up to, that have a tap among these."""
        pixels = np.flatnonzero((self.last >= low_first) & (self.first <= low_last))
        return (int(pixels[0]), int(pixels[-1]) + 1) if pixels.size else (0, 0)

    def between(self, start: int, end: int) -> tuple[npt.NDArray[np.float32], tuple[int, int]]:
        """The weights of some pixels, and the taps, from and up to, that they are for."""
        taps = int(self.first[start]), int(self.last[end - 1]) + 1
        return self.weights[start:end, taps[0] : taps[1]], taps


@lru_cache(maxsize=_REMEMBERED)
def _axis(low: int, side: int, content: int, length: int) -> _Axis:
    weights = (_bilinear(content, length) @ _bilinear(low, side)[:content]).astype(np.float32)
    taps = weights > 0
    return _Axis(weights, taps.argmax(axis=1), low - 1 - taps[:, ::-1].argmax(axis=1))


def _bilinear(length_in: int, length_out: int) -> npt.NDArray[np.float64]:
    """`(out, in)`: bilinear sampling with pixel centres at halves, and the border's value beyond it."""
    centres = np.maximum((np.arange(length_out) + 0.5) * length_in / length_out - 0.5, 0.0)
    lower = np.minimum(centres.astype(np.int64), length_in - 1)
    upper = np.minimum(lower + 1, length_in - 1)
    share = centres - lower
    weights = np.zeros((length_out, length_in))
    np.add.at(weights, (np.arange(length_out), lower), 1.0 - share)
    np.add.at(weights, (np.arange(length_out), upper), share)
    return weights
