"""Near-duplicates among many images: candidates by hash, then by thumbnail, in parts that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from pipeline.domain.likeness import ALIKE, Alike, Looks, confirmed
from pipeline.domain.neighbours import near_pairs

__all__ = ["Numbers", "near_duplicates", "united"]

Numbers = npt.NDArray[np.int64]

_AT_ONCE = 20_000


def near_duplicates(
    one: Looks,
    other: Looks,
    settings: Alike = ALIKE,
    *,
    wanted: Callable[[Numbers, Numbers], npt.NDArray[np.bool_]] | None = None,
) -> Iterator[tuple[Numbers, Numbers]]:
    """Pairs (i of one, j of other) that are alike, each once, in parts.

    `wanted` is asked before each part which pairs are still of interest: thousands of frames of one scene have
    millions of pairs, and the first few say all there is to say.
    """
    for all_rows, all_columns in near_pairs(one.hashes, other.hashes, settings.bits):
        for start in range(0, len(all_rows), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            rows, columns = all_rows[part], all_columns[part]
            if wanted is not None:
                chosen = wanted(rows, columns)
                rows, columns = rows[chosen], columns[chosen]
            if len(rows):
                agree = confirmed(one, other, rows, columns, settings)
                yield rows[agree], columns[agree]


def united(looks: Looks, settings: Alike = ALIKE) -> Iterator[tuple[str, str]]:
    """Pairs of ids that tie every cluster of near-duplicates together: enough of them, not all there are."""
    roots = np.arange(len(looks))

    def apart(rows: Numbers, columns: Numbers) -> npt.NDArray[np.bool_]:
        _flatten(roots)
        tied: npt.NDArray[np.bool_] = (rows < columns) & (roots[rows] != roots[columns])
        return tied

    for rows, columns in near_duplicates(looks, looks, settings, wanted=apart):
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            first, second = sorted((_root(roots, row), _root(roots, column)))
            if first != second:
                roots[second] = first
                yield looks.ids[row], looks.ids[column]


def _root(roots: Numbers, number: int) -> int:
    while roots[number] != number:
        number = int(roots[number])
    return number


def _flatten(roots: Numbers) -> None:
    """Let everything point to its root at once."""
    while not np.array_equal(above := roots[roots], roots):
        roots[:] = above
