"""COCO's run lengths: how many pixels are empty and full in turn, down the columns, first column first.

They and their string are those of the COCO API (https://github.com/cocodataset/cocoapi, `maskApi.c`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError

__all__ = ["Runs", "canonical", "cropped", "runs_of", "unpacked"]

Runs = npt.NDArray[np.int64]
"""`int64 (n,)`: pixels of 0 and 1 in turn."""

_LONGEST = 9
"""Characters of a number: 45 bits, far more than an image has pixels."""


def runs_of(bitmap: npt.NDArray[np.bool_], left: int, top: int, size_hw: tuple[int, int]) -> Runs:
    """The canonical runs of an image of `size_hw` that is empty but for `bool (h, w)` at (row top, column left)."""
    height, width = size_hw
    padded = np.zeros((bitmap.shape[1], bitmap.shape[0] + 2), dtype=np.bool_)
    padded[:, 1:-1] = bitmap.T
    # A column begins and ends empty, so that its changes are the start of a run and its end, in turn.
    columns, rows = np.divmod(np.flatnonzero(padded[:, 1:] != padded[:, :-1]), bitmap.shape[0] + 1)
    changes = (left + columns) * height + top + rows
    return _between(changes[::2], changes[1::2], height * width)


def cropped(runs: Runs, left: int, top: int, crop_hw: tuple[int, int], height: int) -> npt.NDArray[np.bool_]:
    """The reverse: `bool (h, w)`, C-contiguous, of a crop outside which an image of `height` is empty.

    The work is that of the crop, not of the image.
    """
    columns, rows = np.divmod(np.cumsum(runs), height)
    inside = np.clip(columns - left, 0, crop_hw[1]) * crop_hw[0] + np.clip(rows - top, 0, crop_hw[0])
    values = np.zeros(len(runs), dtype=np.bool_)
    values[1::2] = True
    down = np.repeat(values, np.diff(inside, prepend=0))
    return np.ascontiguousarray(down.reshape(crop_hw[1], crop_hw[0]).T)


def canonical(runs: Runs) -> Runs:
    """The same pixels without empty runs but a first one: equal masks get equal bytes."""
    ends = np.cumsum(runs)
    full = np.flatnonzero(runs[1::2]) * 2 + 1
    return _between(ends[full] - runs[full], ends[full], int(ends[-1]) if len(ends) else 0)


def _between(starts: Runs, ends: Runs, size: int) -> Runs:
    """Canonical runs of `size` pixels that are full from each start to its end."""
    if not len(starts):
        return np.array([size], dtype=np.int64)
    # What goes on where the last one ended, as from the bottom of a column to the top of the next, is one run to COCO.
    apart = starts[1:] != ends[:-1]
    edges = np.zeros(2 * (1 + int(apart.sum())) + 2, dtype=np.int64)
    edges[-1] = size
    edges[1:-1:2], edges[2:-1:2] = starts[np.r_[True, apart]], ends[np.r_[apart, True]]
    runs = np.diff(edges)
    return runs if runs[-1] else runs[:-1]


def unpacked(counts: bytes | str) -> Runs:
    """The runs of a string of unknown origin: 5 bits a character, differences against the last run but one.

    Raises DataError if it cannot be read. Whether the runs fit an image is not known here.
    """
    text = counts.encode("utf-8", "surrogatepass") if isinstance(counts, str) else counts
    codes = np.frombuffer(text, dtype=np.uint8) - np.uint8(48)
    if not len(codes):
        return codes.astype(np.int64)
    ends = ((codes & 0x20) == 0).nonzero()[0]
    starts = np.zeros_like(ends)
    starts[1:] = ends[:-1] + 1
    lengths = ends - starts + 1
    if codes.max() >= 64 or lengths.max(initial=0) > _LONGEST:
        raise DataError("run-length string holds a character that COCO does not use")
    if not len(ends) or ends[-1] != len(codes) - 1:
        raise DataError("run-length string ends in the middle of a number")
    digits = np.arange(len(codes)) - starts.repeat(lengths)
    runs = np.add.reduceat((codes & 0x1F).astype(np.int64) << 5 * digits, starts)
    runs -= ((codes[ends] & 0x10) > 0) * (1 << 5 * lengths)
    runs[1::2], runs[2::2] = runs[1::2].cumsum(), runs[2::2].cumsum()
    return runs
