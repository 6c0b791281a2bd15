"""How a file or folder comes into being whole, or not at all: the one mechanism, for the house and for its doors.

Write beside the target, flush to the disk, rename, flush the folder: the order that survives a crash on
every file system (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014). What the disk
refuses is an OSError here; whoever calls says what it means.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pipeline.events import Emit, silent

__all__ = [
    "file_sha256",
    "is_unfinished",
    "make_folder",
    "sync_folder",
    "unfinished_name",
    "whole_file",
    "whole_folder",
]

_UNFINISHED = ".unfinished-"
_SYNCING = 8


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def whole_file(path: Path, fill: Callable[[BinaryIO], object], *, emit: Emit = silent) -> None:
    """Create or replace the file at `path` with what `fill` writes; nobody else may be writing it meanwhile.

    Raises OSError when the disk refuses, and whatever `fill` raises; nothing half-written is left then.
    """
    make_folder(path.parent)
    _remove_unfinished(path)
    temporary = unfinished_name(path)
    try:
        with temporary.open("xb") as file:
            emit("file.created", path=str(path))
            fill(file)
            emit("file.written", path=str(path))
            file.flush()
            os.fsync(file.fileno())
            emit("file.synced", path=str(path))
        temporary.replace(path)
        emit("file.renamed", path=str(path))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    emit("file.durable", path=str(path))


def whole_folder(path: Path, fill: Callable[[Path], None], *, emit: Emit = silent) -> None:
    """Create the folder `path` with what `fill` puts into it; a folder that is there is complete, and stays.

    Raises OSError when the disk refuses or another process is filling the same folder, and whatever `fill` raises.
    """
    make_folder(path.parent)
    with _unfinished_folder(path) as temporary:
        if temporary is None:
            sync_folder(path.parent)
            return
        try:
            emit("folder.created", path=str(path))
            fill(temporary)
            emit("folder.filled", path=str(path))
            _sync_all([temporary, *temporary.rglob("*")])
            emit("folder.synced", path=str(path))
            temporary.replace(path)
            emit("folder.renamed", path=str(path))
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    sync_folder(path.parent)
    emit("folder.durable", path=str(path))


def unfinished_name(path: Path) -> Path:
    """A new name beside `path` for what is not, or not any longer, a whole file or folder."""
    return path.with_name(f".{path.name}{_UNFINISHED}{uuid.uuid4().hex}")


def is_unfinished(path: Path) -> bool:
    """Whether a killed process left this file or folder; the next write of its target removes it."""
    return path.name.startswith(".") and _UNFINISHED in path.name


def make_folder(path: Path) -> None:
    """Make a folder and its parents, durably: a file's name is no safer than those above it."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable: what a killed process renamed into it may not be yet."""
    _sync(path)


def _remove_unfinished(path: Path) -> None:
    """What a killed process left of this very target. Raises BlockingIOError for what another process still fills."""
    for left in path.parent.glob(f".{glob.escape(path.name)}{_UNFINISHED}*"):
        if left.is_dir():
            # Whoever fills it may finish at this moment: then it has another name.
            with suppress(FileNotFoundError), _locked(left, wait=False) as locked:
                if locked:
                    shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)


@contextmanager
def _unfinished_folder(path: Path) -> Iterator[Path | None]:
    """A new folder to become `path`, held while it is filled, so that nobody takes it for what a killed process left;
    None if there is nothing to make.
    """
    with ExitStack() as held:
        # Nobody looks between a folder's creation and its being held.
        with _locked(path.parent, wait=True):
            _remove_unfinished(path)
            temporary = None if path.exists() else unfinished_name(path)
            if temporary is not None:
                temporary.mkdir()
                held.enter_context(_locked(temporary, wait=False))
        yield temporary


@contextmanager
def _locked(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a folder; False where the file system knows no locks. The kernel lets go of it when its holder dies.

    Raises BlockingIOError if another holds it, unless it is to `wait`.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as exc:
            raise BlockingIOError(exc.errno, "another process writes there") from exc
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_all(paths: Sequence[Path]) -> None:
    """Flush many at once: a journal writes down together whatever waits together, some ten times as fast."""
    with ThreadPoolExecutor(_SYNCING, thread_name_prefix="maskloop-sync") as pool:
        for _ in pool.map(_sync, paths):
            pass
