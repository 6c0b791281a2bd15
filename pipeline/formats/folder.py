"""Image files under a folder: recursive, sorted, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.formats.labels import Found, LabelProblem

__all__ = ["IMAGE_SUFFIXES", "find_images", "is_image_name"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
_OTHER_SUFFIXES = frozenset({".gif", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".psd", ".dng", ".jfif"})


def is_image_name(path: Path) -> bool:
    """Whether the name claims an image. Formats that cannot be read count too, so that each is refused aloud."""
    return path.suffix.lower() in IMAGE_SUFFIXES | _OTHER_SUFFIXES and not path.name.startswith(".")


def find_images(folder: Path) -> Iterator[Found | LabelProblem]:
    """Every file with an image's name, and a problem for each folder that cannot be listed.

    Sorted by path within each folder, files before sub-folders. Hidden files and folders are passed over.
    Links to folders are followed, each real folder once, so a loop of links ends.
    """
    yield from _walk(folder, set())


def _walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Found | LabelProblem]:
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        entries = sorted(folder.iterdir())
    except OSError as exc:
        yield LabelProblem(folder, None, f"the folder cannot be listed: {exc.strerror or exc}")
        return
    folders = [entry for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    for entry in sorted(set(entries) - set(folders)):
        if is_image_name(entry):
            yield Found(entry)
    for entry in folders:
        yield from _walk(entry, seen)
