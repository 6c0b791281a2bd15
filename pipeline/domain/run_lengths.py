"""COCO's run lengths: how many pixels are empty and full in turn, down the columns, first column first.

They and their string are those of the COCO API (https://github.com/cocodataset/cocoapi, `maskApi.c`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError

__all__ = ["canonical", "runs_of", "unpacked"]


def runs_of(bitmap: npt.NDArray[np.bool_], left: int, top: int, size_hw: tuple[int, int]) -> npt.NDArray[np.int64]:
    """The canonical runs of an image of `size_hw` that is empty but for `bool (h, w)` at (row top, column left)."""
    height, width = size_hw
    padded = np.zeros((bitmap.shape[1], bitmap.shape[0] + 2), dtype=np.bool_)
    padded[:, 1:-1] = bitmap.T
    # A column begins and ends empty, so that its changes are the start of a run and its end, in turn.
    columns, rows = np.divmod(np.flatnonzero(padded[:, 1:] != padded[:, :-1]), bitmap.shape[0] + 1)
    changes = (left + columns) * height + top + rows
    starts, ends = changes[::2], changes[1::2]
    # A run to the bottom of a column goes on at the top of the next: one run to COCO.
    apart = starts[1:] != ends[:-1]
    edges = np.zeros(2 * (1 + int(apart.sum())) + 2 if len(starts) else 2, dtype=np.int64)
    edges[-1] = height * width
    if len(starts):
        edges[1:-1:2], edges[2:-1:2] = starts[np.r_[True, apart]], ends[np.r_[apart, True]]
    runs = np.diff(edges)
    return runs if runs[-1] or len(runs) == 1 else runs[:-1]


def canonical(runs: Sequence[int]) -> list[int]:
    """The same pixels without empty runs but a first one: equal masks get equal bytes."""
    kept: list[int] = []
    value_of_last = 1
    for index, run in enumerate(runs):
        value = index % 2
        if run == 0 and index > 0:
            continue
        if kept and value == value_of_last:
            kept[-1] += run
        else:
            kept.append(run)
            value_of_last = value
    return kept


def unpacked(counts: bytes | str) -> list[int]:
    """The runs of a string of unknown origin: 5 bits a character, differences against the last run but one.

    Raises DataError if it cannot be read.
    """
    runs: list[int] = []
    value = shift = 0
    text = counts.encode("utf-8", "surrogatepass") if isinstance(counts, str) else counts
    for character in text:
        bits = character - 48
        if not 0 <= bits < 64 or shift > 40:
            raise DataError("run-length string holds a character that COCO does not use")
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise DataError("run-length string ends in the middle of a number")
    return runs
