"""Every act on the disk fails once, and for good: the old file or the new one is there, never a torn one."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DataError
from pipeline.store.atomic import atomic_folder, atomic_write

OLD, NEW = b"old" * 5_000, b"newer" * 50_000
ACTS = ((os, "mkdir"), (os, "open"), (os, "fsync"), (os, "replace"), (io, "open"))


class FailingDisk:
    """Counts the acts on the disk, told events among them, and refuses the `nth`: once, or from then on."""

    def __init__(self, nth: int | None, *, persistent: bool = False) -> None:
        self.acts = 0
        self._nth = nth
        self._persistent = persistent

    def emit(self, name: str, /, **_: object) -> None:
        self._act()

    def wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def acting(*arguments: Any, **more: Any) -> Any:
            self._act()
            return function(*arguments, **more)

        return acting

    def _act(self) -> None:
        self.acts += 1
        if self._nth is not None and (self.acts == self._nth or (self._persistent and self.acts > self._nth)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def installed(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for module, name in ACTS:
                patch.setattr(module, name, self.wrapped(getattr(module, name)))
            yield


def write(path: Path, disk: FailingDisk) -> None:
    with disk.installed():
        atomic_write(path, NEW, emit=disk.emit)


def fill(folder: Path) -> None:
    (folder / "inside").mkdir()
    (folder / "inside" / "a").write_bytes(NEW)
    (folder / "b").write_bytes(OLD)


def make(path: Path, disk: FailingDisk) -> None:
    with disk.installed():
        atomic_folder(path, fill, emit=disk.emit)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def acts_of(work: Callable[[Path, FailingDisk], None], path: Path) -> int:
    disk = FailingDisk(None)
    work(path, disk)
    return disk.acts


@pytest.mark.parametrize("persistent", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("before", [None, OLD], ids=["new file", "old file"])
def test_a_file_is_old_or_new_whatever_act_fails(tmp_path: Path, before: bytes | None, persistent: bool) -> None:
    acts = acts_of(write, tmp_path / "sound" / "deep" / "a.bin")
    assert acts >= 10
    refused = 0
    for nth in range(1, acts + 1):
        path = tmp_path / str(nth) / "deep" / "a.bin"
        if before is not None:
            atomic_write(path, before)
        try:
            write(path, FailingDisk(nth, persistent=persistent))
        except DataError as exc:
            refused += exc.path == path and "No space left" in str(exc)
        found = path.read_bytes() if path.exists() else None
        assert found in (before, NEW)
        assert not path.parent.is_dir() or names(path.parent) <= {"a.bin"}
        write(path, FailingDisk(None))
        assert names(path.parent) == {"a.bin"}
        assert path.read_bytes() == NEW
    # An existing folder needs fewer acts: the last counts are never reached there.
    assert refused == acts if before is None else refused >= 8


@pytest.mark.parametrize("persistent", [False, True], ids=["once", "for good"])
def test_a_folder_is_whole_or_absent_whatever_act_fails(tmp_path: Path, persistent: bool) -> None:
    acts = acts_of(make, tmp_path / "sound" / "made")
    whole = contents(tmp_path / "sound" / "made")
    assert len(whole) == 2
    for nth in range(1, acts + 1):
        path = tmp_path / str(nth) / "made"
        with pytest.raises(DataError, match="No space left"):
            make(path, FailingDisk(nth, persistent=persistent))
        assert not path.exists() or contents(path) == whole
        make(path, FailingDisk(None))
        assert contents(path) == whole
        assert names(path.parent) == {"made"}


WRITE_BEYOND_THE_LIMIT = """
import resource, sys
from pathlib import Path
from pipeline.errors import DataError
from pipeline.store.atomic import atomic_write
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    atomic_write(Path(sys.argv[1]), b"x" * 200_000)
except DataError as exc:
    print(exc)
    sys.exit(7)
"""


def test_a_disk_that_is_full_in_the_middle_of_a_write(tmp_path: Path) -> None:
    """The kernel's own refusal, after a part of the bytes is written."""
    path = tmp_path / "a.bin"
    atomic_write(path, OLD)
    done = subprocess.run(
        [sys.executable, "-c", WRITE_BEYOND_THE_LIMIT, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 7, done.stderr
    assert str(path) in done.stdout
    assert path.read_bytes() == OLD
    assert names(tmp_path) == {"a.bin"}
