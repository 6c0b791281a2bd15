"""What ingest says about a file: a sample with what is known of it, or why it cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.domain.geometry import SizeHW
from pipeline.domain.likeness import Likeness
from pipeline.domain.records import Instance, Sample

__all__ = ["Frame", "IngestedSample", "Quarantined", "SetAside"]


@dataclass(frozen=True)
class Frame:
    """An image that was read, and has no split yet: `path` is a file of its canonical frame."""

    sample_id: str
    size_hw: SizeHW
    path: Path
    likeness: Likeness | None


@dataclass(frozen=True)
class IngestedSample:
    """One image that has entered the pool.

    `source` is the original file and `source_stamp` its (size in bytes, mtime_ns) when it was read. `labels`
    are the imported annotation; `truth` is what a simulated person knows. None means nothing is known, an
    empty tuple that there is nothing in the image. `likeness` is None where nobody asked what it looks like.
    """

    sample: Sample
    source: Path
    source_stamp: tuple[int, int]
    labels: tuple[Instance, ...] | None
    truth: tuple[Instance, ...] | None
    likeness: Likeness | None = None


@dataclass(frozen=True)
class Quarantined:
    """A file, or the labels of one, that could not be used as it stands, with the reason."""

    path: Path
    reason: str
    stamp: tuple[int, int]


@dataclass(frozen=True)
class SetAside:
    """Files that are put aside for each other's sake: record all of them at once, or none."""

    rows: tuple[Quarantined, ...]
