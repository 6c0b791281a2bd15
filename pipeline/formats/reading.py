"""One file of a source, read: what a worker does, so everything here can be sent to another process."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.domain.geometry import SizeHW
from pipeline.domain.ingested import Frame
from pipeline.domain.likeness import Likeness, likeness_of
from pipeline.domain.records import Split
from pipeline.errors import DataError, ImageUnreadable
from pipeline.formats.image import png_bytes, read_image
from pipeline.formats.labels import LabelProblem, Labels, LabelSource

__all__ = ["Item", "Reading", "Stamp", "lost", "printable", "read_item", "stamp_of"]

Stamp = tuple[int, int]
"""(size in bytes, mtime_ns) of a file; (0, 0) where there is no file."""


@dataclass(frozen=True)
class Item:
    """A file to read, with what its source says about it; `key` is "" where the image is its own group.

    `frame` is what is known of the file already: then only its labels are read.
    """

    image: Path
    stamp: Stamp
    split: Split | None
    labels: LabelSource | None
    key: str
    frame: Frame | None = None


@dataclass(frozen=True)
class Reading:
    """Why the image cannot be used, or the rest; `png` is the frame, if a file of it has to be made."""

    item: Item
    failure: str | None = None
    sample_id: str = ""
    size_hw: SizeHW = (0, 0)
    png: bytes | None = None
    labels: Labels | None = None
    likeness: Likeness | None = None


def read_item(item: Item, *, classes: tuple[str, ...], max_pixels: int, describe: bool = False) -> Reading:
    """Decode the image, read its labels and, to `describe` it, see what it looks like.

    Nothing that is wrong with them is raised: it is told.
    """
    if item.frame is not None:
        frame = item.frame
        labels = _checked(item.labels, frame.size_hw, frame.sample_id, classes) if item.labels else None
        return Reading(item, None, frame.sample_id, frame.size_hw, None, labels, frame.likeness)
    try:
        if printable(item.image) != item.image:
            raise ImageUnreadable("the file's name is not valid UTF-8: rename it")
        decoded = read_image(item.image, max_pixels=max_pixels)
    except ImageUnreadable as exc:
        return Reading(item, failure=exc.reason)
    size_hw = (decoded.image.shape[0], decoded.image.shape[1])
    png = None if decoded.canonical else png_bytes(decoded.image)
    labels = _checked(item.labels, size_hw, decoded.sha256, classes) if item.labels is not None else None
    likeness = likeness_of(decoded.image) if describe else None
    return Reading(item, None, decoded.sha256, size_hw, png, labels, likeness)


def stamp_of(path: Path) -> Stamp:
    """The stamp of the file as it is now."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # absent, or a name that no file can have: reading it says which
        return 0, 0
    return status.st_size, status.st_mtime_ns


def lost(path: Path, sample_id: str, source: tuple[str, Stamp] | None) -> str | None:
    """Why the file at `path` is no longer the one that gave the sample; None if it is.

    `source` is what the ledger knows of the path (None: a copy that ingest made): whose file it is now, and its
    stamp. The file is read only if the stamp has changed.
    """
    now = stamp_of(path)
    if now == (0, 0):
        return "its file is gone; put back, it counts again"
    if source is None or (source[0] == sample_id and source[1] == now):
        return None
    with path.open("rb") as file:
        same = hashlib.file_digest(file, "sha256").hexdigest() == sample_id
    return None if same else "another image lies in its file's place"


def printable(path: Path) -> Path:
    """The path itself, or an escaped form of it where its bytes are not UTF-8 and no record could hold it."""
    return Path(os.fsencode(path).decode("utf-8", "backslashreplace"))


def _checked(source: LabelSource, size_hw: SizeHW, key: str, classes: tuple[str, ...]) -> Labels:
    """Labels, less the instances whose class the project does not have."""
    try:
        labels = source.read(size_hw, key)
    except DataError as exc:
        return Labels((), (LabelProblem(source.path, None, exc.reason),))
    foreign = sorted({instance.label for instance in labels.instances} - set(classes))
    problems = [
        LabelProblem(source.path, None, f"class {name!r} is neither in project.classes nor in the source's ignore")
        for name in foreign
    ]
    wanted = tuple(instance for instance in labels.instances if instance.label in classes)
    return Labels(wanted, (*labels.problems, *problems))
