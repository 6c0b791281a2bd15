"""One writer at a time: a lock that the kernel releases when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.errors import LedgerError, WorkspaceLocked

__all__ = ["alone_in", "hold", "is_held"]

_TEXT_BYTES = 128
_held: set[int] = set()


def _let_go() -> None:
    """A forked child is not the holder, and must not keep the lock when it outlives its parent."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


@contextmanager
def hold(root: Path, *, since: datetime) -> Iterator[None]:
    """Hold the lock file of the workspace at `root`. Raises WorkspaceLocked with the holder's process id.

    The file's text (process id, start) only serves the message; what locks is `flock`, which no crash
    leaves behind.
    """
    try:
        descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as exc:
        raise LedgerError(f"the lock file {root / 'lock'} cannot be opened: {exc.strerror}") from exc
    _held.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = _read(descriptor)
            raise WorkspaceLocked(root, pid=holder.get("pid"), since=holder.get("since")) from exc
        except OSError as exc:
            raise LedgerError(
                f"{root} cannot be locked: {exc.strerror}; put the workspace on a disk that supports file locks"
            ) from exc
        text = json.dumps({"pid": os.getpid(), "since": since.isoformat(timespec="seconds")})
        # One write over all that may be there: a reader never finds it torn.
        os.pwrite(descriptor, text.ljust(_TEXT_BYTES).encode(), 0)
        os.ftruncate(descriptor, _TEXT_BYTES)
        yield
    finally:
        if descriptor in _held:  # not so in a forked child that unwinds
            _held.remove(descriptor)
            os.close(descriptor)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process is inside this same call for the folder; it needs no file there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Whether a process is inside `alone_in` for the folder at this moment."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _read(descriptor: int) -> dict[str, Any]:
    try:
        row = json.loads(os.pread(descriptor, 4096, 0) or b"{}")
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}
