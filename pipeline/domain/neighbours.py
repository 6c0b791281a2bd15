"""Pairs of 64-bit hashes that differ in few bits, without looking at every pair.

Multi-index hashing (Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with Multi-Index Hashing", 2012): two
hashes within `bits` of each other are, in at least one of four bands of 16 bits, within a quarter of that. So each
band is looked up under every value that is so near, and only what lies there is compared. Exact: no pair is missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import numpy.typing as npt

__all__ = ["near_pairs"]

_BANDS = 4
_BAND_BITS = 16
_AT_ONCE = 1 << 20
"""Candidates in memory at a time, but for those of one single query."""

_FEW = 1 << 16
"""Pairs that are faster looked at than looked up."""

_Hashes = npt.NDArray[np.uint64]
_Numbers = npt.NDArray[np.int64]


def near_pairs(queries: _Hashes, known: _Hashes, bits: int) -> Iterator[tuple[_Numbers, _Numbers]]:
    """Every pair (i of queries, j of known) whose hashes differ in at most `bits` bits, once, in many parts."""
    if len(queries) * len(known) <= _FEW:
        apart = np.bitwise_count(queries[:, None] ^ known[None])
        rows, columns = np.nonzero(apart <= bits)
        yield rows, columns
        return
    radius = bits // _BANDS
    for band in range(_BANDS):
        table = _Table(_band(known, band))
        values = _band(queries, band)
        for mask in _masks(radius):
            for rows, columns in table.under(values ^ mask):
                apart = queries[rows] ^ known[columns]
                near = np.bitwise_count(apart) <= bits
                for earlier in range(band):  # an earlier band has brought the pair already
                    near &= np.bitwise_count(_band(apart, earlier)) > radius
                if near.any():
                    yield rows[near], columns[near]


class _Table:
    """Where each 16-bit value stands among many: positions sorted by value, and where each value begins."""

    def __init__(self, values: npt.NDArray[np.uint16]) -> None:
        self._order = np.argsort(values, kind="stable")
        counts = np.bincount(values, minlength=1 << _BAND_BITS)
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def under(self, values: npt.NDArray[np.uint16]) -> Iterator[tuple[_Numbers, _Numbers]]:
        """Pairs (query, position) of equal values."""
        first = self._starts[values]
        many = self._starts[values.astype(np.int64) + 1] - first
        asking = np.flatnonzero(many)
        ends = np.cumsum(many[asking])
        done = 0
        while done < len(asking):
            before = int(ends[done - 1]) if done else 0
            stop = max(done + 1, int(np.searchsorted(ends, before + _AT_ONCE, side="right")))
            here = asking[done:stop]
            rows = np.repeat(here, many[here])
            offsets = np.arange(len(rows)) - np.repeat(ends[done:stop] - many[here] - before, many[here])
            yield rows, self._order[np.repeat(first[here], many[here]) + offsets]
            done = stop


def _band(hashes: _Hashes, number: int) -> npt.NDArray[np.uint16]:
    return (hashes >> np.uint64(_BAND_BITS * number)).astype(np.uint16)


def _masks(radius: int) -> list[np.uint16]:
    """Every change of a band in at most `radius` bits."""
    return [
        np.uint16(sum(1 << bit for bit in flipped))
        for count in range(radius + 1)
        for flipped in combinations(range(_BAND_BITS), count)
    ]
