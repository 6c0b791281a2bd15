"""Which split a sample belongs to, and which samples come first: by hash, so that no other sample matters.

A split that depends on positions or counts moves samples when files are added; a hash never does.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Generic, TypeVar

from pipeline.domain.records import Split

__all__ = ["FirstByHash", "assign_split", "group_key", "unit_hash"]

T = TypeVar("T")

_FRAME = re.compile(r"(.*?)[-_. ]*\d+")
"""What is called so is a frame: the name of its video, and its number."""


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


def group_key(root: str, below: PurePath, by: str, pattern: str = "") -> str:
    """The name of the group that a file's path `below` its source `root` says; "" where the image is its own.

    By "folder" it is the folder; by "video" the folder and the file's name without the number at its end; by
    "pattern" what the regular expression finds in the path: its groups, if it has any, or all of it.
    """
    folder = f"{root}/{below.parent.as_posix()}"
    match by:
        case "folder":
            return folder
        case "video":
            frame = _FRAME.fullmatch(below.stem)
            return f"{folder}/{frame[1]}" if frame else ""
        case "pattern":
            found = re.search(pattern, below.as_posix())
            return "/".join(part or "" for part in found.groups() or (found[0],)) if found else ""
    return ""


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
