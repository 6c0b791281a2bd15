"""Files below one folder, whatever a path says."""

from __future__ import annotations

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
    here = -1
    try:
        here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        *folders, name = target.relative_to(folder).parts
        for part in folders:
            here = _stepped(here, part, os.O_DIRECTORY)
        here = _stepped(here, name, os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(here).st_mode):
            raise ImageUnreadable("not a regular file")
    except OSError as exc:
        _closed(here)
        raise ImageUnreadable(f"its file cannot be read: {exc.strerror}") from exc
    except ImageUnreadable:
        _closed(here)
        raise
    return here


def read_below(root: Path, path: str, *, most: int) -> bytes:
    """The file's bytes, `most` at most. Raises ImageUnreadable."""
    with os.fdopen(open_below(root, path), "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ImageUnreadable(f"the file has more than {most} bytes")
    return data


def _stepped(here: int, part: str, flags: int) -> int:
    """One step down; the folder that it is in is closed."""
    try:
        return os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=here)
    finally:
        os.close(here)


def _closed(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)
