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
_TOGETHER = 64


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
    window = rows.applied(columns.applied(logits.T, left, right).T, top, bottom)
    return Mask.from_crop(np.asarray(window > threshold), left, top, frame.size_hw)


def enlarged_logits(logits: Logits, frame: Frame) -> npt.NDArray[np.float32]:
    """All of the image's logits, `float32 (h, w)`."""
    rows, columns = (_Axis.of(frame, axis) for axis in (0, 1))
    height, width = frame.size_hw
    return rows.applied(columns.applied(logits.T, 0, width).T, 0, height)


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

    def applied(self, logits: npt.NDArray[np.float32], start: int, end: int) -> npt.NDArray[np.float32]:
        """Some pixels of `(low, n)` logits, `(end - start, n)`. Neighbours have neighbouring taps, so that few pixels
        at a time need a narrow part of the matrix, and none of its zeros."""
        made = np.empty((end - start, logits.shape[1]), dtype=np.float32)
        for some in range(start, end, _TOGETHER):
            last = min(some + _TOGETHER, end)
            taps = slice(int(self.first[some]), int(self.last[last - 1]) + 1)
            np.matmul(self.weights[some:last, taps], logits[taps], out=made[some - start : last - start])
        return made


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
