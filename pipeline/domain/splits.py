"""Which split a sample belongs to, and which samples come first: by hash, so that no other sample matters.

A split that depends on positions or counts moves samples when files are added; a hash never does.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

from pipeline.domain.records import Split

__all__ = ["FirstByHash", "assign_split", "unit_hash"]

T = TypeVar("T")


def unit_hash(salt: str, text: str) -> float:
    """A number in [0, 1) that only `salt` and `text` decide: the first 53 bits of their SHA-256."""
    digest = hashlib.sha256(f"{salt}\n{text}".encode()).digest()
    return float((int.from_bytes(digest[:8], "big") >> 11) / 2**53)


def assign_split(salt: str, group: str, *, train: float, val: float) -> Split:
    """The split of everything in `group`; what `train` and `val`, fractions in [0, 1], leave over is test."""
    place = unit_hash(salt, group)
    if place < train:
        return "train"
    # Rounding must not open a test split that nobody asked for.
    return "val" if place < train + val or train + val >= 1 - 1e-9 else "test"


class FirstByHash(Generic[T]):
    """Keeps the `count` entries whose ids have the smallest hashes, of a stream of any length and order."""

    def __init__(self, count: int, salt: str) -> None:
        self._count = count
        self._salt = salt
        self._kept: list[tuple[float, str, T]] = []

    def offer(self, key: str, value: T) -> T | None:
        """Keep the value, or return the one, this or an earlier one, that is no longer among the first."""
        entry = (-unit_hash(self._salt, key), key, value)
        if len(self._kept) < self._count:
            heapq.heappush(self._kept, entry)
            return None
        return heapq.heappushpop(self._kept, entry)[2] if self._kept else value

    def kept(self) -> Iterator[T]:
        """What was kept, smallest hash first."""
        return (value for _, _, value in sorted(self._kept, key=lambda entry: (-entry[0], entry[1])))
