"""Held-out images that training would see: as themselves, as near-duplicates, or by their group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.likeness import ALIKE, Alike, Likeness, Looks, correlation, hash_distance
from pipeline.domain.records import Split
from pipeline.domain.twins import Numbers, near_duplicates

__all__ = ["Leak", "leaks"]


@dataclass(frozen=True)
class Leak:
    """A train image and the held-out one that it gives away, by their sample ids.

    `kind`: "itself" (one id: the pool holds it out), "group" or "near-duplicate". `distance` (bits of 64) and
    `correlation` (of the thumbnails) say how alike the two look; None where that is not known.
    """

    train: str
    held_out: str
    kind: Literal["itself", "group", "near-duplicate"]
    distance: int | None = None
    correlation: float | None = None


def leaks(
    entries: Sequence[DatasetEntry],
    splits: Mapping[str, Split],
    likenesses: Mapping[str, Likeness],
    settings: Alike = ALIKE,
) -> list[Leak]:
    """One leak for each train image of a dataset version that has any, the surest first.

    `splits` are those of the pool, by sample id; images without one of the `likenesses` have no near-duplicates.
    """
    train = [entry for entry in entries if entry.split == "train"]
    held_out = [entry for entry in entries if entry.split != "train"]
    found = {
        entry.sample_id: Leak(entry.sample_id, entry.sample_id, "itself")
        for entry in train
        if splits.get(entry.sample_id, "train") != "train"
    }
    for leak in (*_alike(train, held_out, likenesses, settings), *_grouped(train, held_out)):
        found.setdefault(leak.train, leak)
    return sorted(found.values(), key=_rank)


def _rank(leak: Leak) -> tuple[bool, float, str]:
    return leak.kind != "itself", -(leak.correlation if leak.correlation is not None else -1.0), leak.train


def _alike(
    train: Sequence[DatasetEntry],
    held_out: Sequence[DatasetEntry],
    likenesses: Mapping[str, Likeness],
    settings: Alike,
) -> list[Leak]:
    one, other = (_looks(entries, likenesses) for entries in (train, held_out))
    seen = np.zeros(len(one), dtype=np.bool_)
    found = []

    def unseen(rows: Numbers, _columns: Numbers) -> npt.NDArray[np.bool_]:
        return ~seen[rows]

    for rows, columns in near_duplicates(one, other, settings, wanted=unseen):
        seen[rows] = True
        found += [(one.ids[row], other.ids[column]) for row, column in zip(rows, columns, strict=True)]
    pairs = [(likenesses[a], likenesses[b]) for a, b in found]
    made = [
        Leak(a, b, "near-duplicate", hash_distance(*pair), correlation(*pair))
        for (a, b), pair in zip(found, pairs, strict=True)
    ]
    return sorted(made, key=lambda leak: (_rank(leak), leak.held_out))


def _grouped(train: Sequence[DatasetEntry], held_out: Sequence[DatasetEntry]) -> list[Leak]:
    first: dict[str, str] = {}
    for entry in held_out:
        first[entry.group] = min(entry.sample_id, first.get(entry.group, entry.sample_id))
    return [Leak(entry.sample_id, first[entry.group], "group") for entry in train if entry.group in first]


def _looks(entries: Sequence[DatasetEntry], likenesses: Mapping[str, Likeness]) -> Looks:
    known = ((entry.sample_id, likenesses.get(entry.sample_id)) for entry in entries)
    return Looks((sample_id, likeness) for sample_id, likeness in known if likeness is not None)
