"""Files below one folder, whatever a path says."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from pipeline.errors import ImageUnreadable

__all__ = ["open_below", "read_below"]


def open_below(root: Path, path: str) -> int:
    """An open descriptor of the regular file at `path` below `root`, both with their symbolic links followed.

    Raises ImageUnreadable for a path that leaves the folder, or that is no file. Between looking and opening nobody can
    put a link in the way: the path that was looked at is walked from the folder down, and no link is followed there.
    """
    if "\0" in path or "\\" in path:
        raise ImageUnreadable("no file of a project can have this name")
    folder = Path(os.path.realpath(root))
    target = Path(os.path.realpath(folder / path.lstrip("/")))
    if not target.is_relative_to(folder) or target == folder:
        raise ImageUnreadable("its path leaves the folder of local files")
    *folders, name = target.relative_to(folder).parts
    with contextlib.ExitStack() as closing:
        try:
            here = _step(folder, None, os.O_DIRECTORY, closing)
            for part in folders:
                here = _step(part, here, os.O_DIRECTORY, closing)
            file = _step(name, here, os.O_NONBLOCK, closing)
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise ImageUnreadable("not a regular file")
            return os.dup(file)
        except OSError as exc:
            raise ImageUnreadable(f"its file cannot be read: {exc.strerror}") from exc


def read_below(root: Path, path: str, *, most: int) -> bytes:
    """The file's bytes, `most` at most. Raises ImageUnreadable."""
    with os.fdopen(open_below(root, path), "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ImageUnreadable(f"the file has more than {most} bytes")
    return data


def _step(part: str | Path, folder: int | None, flags: int, closing: contextlib.ExitStack) -> int:
    """One step down from an open folder; what is opened is closed in the end."""
    descriptor = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=folder)
    closing.callback(os.close, descriptor)
    return descriptor
