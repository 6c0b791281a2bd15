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

from pipeline.errors import WorkspaceLocked

__all__ = ["hold"]

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
    descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    _held.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = _read(descriptor)
            raise WorkspaceLocked(root, pid=holder.get("pid"), since=holder.get("since")) from exc
        text = json.dumps({"pid": os.getpid(), "since": since.isoformat(timespec="seconds")})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
        yield
    finally:
        if descriptor in _held:  # not so in a forked child that unwinds
            _held.remove(descriptor)
            os.close(descriptor)


def _read(descriptor: int) -> dict[str, Any]:
    try:
        row = json.loads(os.pread(descriptor, 4096, 0) or b"{}")
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}
