"""Images into an exported folder: what they are called there, and how they get there.

A file is called by the first 16 digits of its sample id, with the suffix of what it really is.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pipeline.domain.dataset import DatasetEntry
from pipeline.errors import DataError

__all__ = ["SPLITS", "image_stem", "is_copy", "make_folders", "named_images", "place_image", "write_or_link"]

SPLITS = ("train", "val", "test")
_STEM_LENGTH = 16
_SIGNATURES = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG": ".png",
    b"RIFF": ".webp",
    b"BM": ".bmp",
    b"II*\x00": ".tiff",
    b"MM\x00*": ".tiff",
    b"II+\x00": ".tiff",
    b"MM\x00+": ".tiff",
}
_JPEG_END = b"\xff\xd9"
_READ_ONLY = 0o444
_CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}


def make_folders(folder: Path, names: Iterable[str]) -> None:
    """Make the sub-folders `names` of a folder."""
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)


def image_stem(sample_id: str) -> str:
    """What the image of a sample is called, less the suffix."""
    return sample_id[:_STEM_LENGTH]


def named_images(
    entries: Iterable[DatasetEntry], image_path: Callable[[str], Path]
) -> Iterator[tuple[DatasetEntry, str]]:
    """Every entry with its image's file name, sorted by sample id.

    Raises DataError, naming the sample, for an image that is missing or of a kind that trainers do not read.
    """
    taken: dict[str, str] = {}
    for entry in sorted(entries, key=lambda entry: entry.sample_id):
        stem = image_stem(entry.sample_id)
        if stem in taken:
            raise DataError(
                f"shares its first {_STEM_LENGTH} digits with {taken[stem]}", sample_id=entry.sample_id
            )
        taken[stem] = entry.sample_id
        yield entry, stem + _suffix(entry.sample_id, image_path(entry.sample_id))


def _suffix(sample_id: str, path: Path) -> str:
    """By content: a name may lie, and two files of one sample may be called differently."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as exc:
        raise DataError(f"its image {path} cannot be read: {exc.strerror}", sample_id=sample_id) from exc
    for signature, suffix in _SIGNATURES.items():
        if head.startswith(signature):
            return suffix
    raise DataError(f"its image {path} is not a JPEG, PNG, WebP, BMP or TIFF file", sample_id=sample_id)


def place_image(source: Path, target: Path, *, link: bool, twin: Path | None = None) -> None:
    """Link or copy an image. A JPEG without its end marker becomes a copy with one, or a link to `twin` if it has it.

    Ultralytics would otherwise encode the file anew, and with it the version would change.
    """
    if target.suffix == ".jpg" and not _ends_as_jpeg(source):
        write_or_link(source.read_bytes() + _JPEG_END, target, twin)
    elif not (link and _linked(source, target)):
        shutil.copyfile(source, target)


def is_copy(copy: Path, original: Path) -> bool:
    """Whether `place_image` may have made `copy` of the file at `original`."""
    data = original.read_bytes()
    return copy.read_bytes() in (data, data + _JPEG_END)


def write_or_link(data: bytes, target: Path, twin: Path | None) -> None:
    """A link to `twin` if that has the bytes; an empty file takes no room, and needs none."""
    if twin is None:
        target.write_bytes(data)
        return
    if not (data and _holds(twin, data) and _linked(twin, target)):
        target.write_bytes(data)
    target.chmod(_READ_ONLY)


def _holds(path: Path, data: bytes) -> bool:
    """Whether a file is there and has these bytes: one that was damaged is not passed on."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


def _linked(source: Path, target: Path) -> bool:
    """Whether `target` is now a hard link to `source`; False where the file system allows none."""
    try:
        os.link(source, target)
    except OSError as exc:
        if exc.errno not in _CANNOT_LINK:
            raise
        return False
    return True


def _ends_as_jpeg(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-len(_JPEG_END), os.SEEK_END)
        return file.read() == _JPEG_END
