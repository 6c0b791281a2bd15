"""How often a training sees an image: by the sample ids that it was told, for the files of a dataset folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

__all__ = ["STEM", "named", "repeated"]

STEM = 16
"""A file of a dataset folder is called by so many first digits of its sample's id."""


def repeated(files: Iterable[Path], repeats: Mapping[str, int]) -> Iterator[tuple[Path, int]]:
    """Each image or label file with how often it is seen, in order; those that are left out do not come."""
    by_stem = {sample_id[:STEM]: times for sample_id, times in repeats.items()}
    for path in files:
        if (times := by_stem.get(path.stem, 1)) > 0:
            yield path, times


def named(path: Path, number: int) -> Path:
    """The `number`-th appearance (from 1) of a file: `a.png`, `a--2.png`."""
    return path if number == 1 else path.with_stem(f"{path.stem}--{number}")
