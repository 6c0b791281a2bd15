"""The workspace's way of writing: whole files and folders (`pipeline/files.py`); refusals name the path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline import files
from pipeline.errors import DataError
from pipeline.events import Emit, silent

__all__ = ["atomic_folder", "atomic_write", "make_folder"]


def atomic_write(path: Path, data: bytes, *, emit: Emit = silent) -> None:
    """Create or replace the file at `path`; nobody else may be writing the same path meanwhile.

    Raises DataError, naming the path, when the disk refuses; nothing half-written is left behind then.
    """
    with _refusals_named(path):
        files.whole_file(path, lambda file: file.write(data), emit=emit)


def atomic_folder(path: Path, fill: Callable[[Path], None], *, emit: Emit = silent) -> None:
    """Create the folder `path` with what `fill` puts into it; a folder that is there is complete, and stays.

    Raises DataError, naming the path, when the disk refuses, and whatever `fill` raises.
    """
    with _refusals_named(path):
        files.whole_folder(path, fill, emit=emit)


def make_folder(path: Path) -> None:
    """Make the folder if it is not there. Raises DataError, naming the path, when the disk refuses."""
    with _refusals_named(path):
        files.make_folder(path)


@contextmanager
def _refusals_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise DataError(
            f"could not be written: {exc.strerror or exc}; what was there before is unharmed", path=path
        ) from exc
