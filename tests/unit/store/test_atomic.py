"""Files and folders come into being whole and durable, or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DataError
from pipeline.store.atomic import atomic_folder, atomic_write
from pipeline.store.blobs import BlobStore


class Syncs:
    """Everything that was flushed to the disk, by path."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, descriptor: int) -> None:
        self.paths.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        self._fsync(descriptor)


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Syncs:
    return Syncs(monkeypatch)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_flushed_before_its_name_and_its_name_before_the_caller_goes_on(
    tmp_path: Path, syncs: Syncs
) -> None:
    order: list[str] = []

    def emit(name: str, /, **_: object) -> None:
        order.append(f"{name} {len(syncs.paths)}")

    atomic_write(tmp_path / "a.bin", b"new", emit=emit)
    assert order == ["file.created 0", "file.written 0", "file.synced 1", "file.renamed 1", "file.durable 2"]
    assert syncs.paths[1] == str(tmp_path)


def test_new_folders_above_a_file_are_durable_too(tmp_path: Path, syncs: Syncs) -> None:
    atomic_write(tmp_path / "x" / "y" / "a.bin", b"new")
    assert {str(tmp_path), str(tmp_path / "x"), str(tmp_path / "x" / "y")} <= set(syncs.paths)


@pytest.mark.parametrize("what", ["folder", "blob"])
def test_what_a_killed_process_renamed_is_made_durable_before_it_is_relied_on(
    tmp_path: Path, syncs: Syncs, what: str
) -> None:
    def make() -> Path:
        if what == "folder":
            atomic_folder(tmp_path / "made", lambda folder: None)
            return tmp_path
        blobs = BlobStore(tmp_path)
        return blobs.path(blobs.put(b"data")).parent

    make()
    syncs.paths.clear()
    assert str(make()) in syncs.paths


def test_every_file_and_folder_inside_a_new_folder_is_flushed(tmp_path: Path, syncs: Syncs) -> None:
    def fill(folder: Path) -> None:
        (folder / "inside").mkdir()
        (folder / "inside" / "a").write_bytes(b"a")

    atomic_folder(tmp_path / "made", fill)
    ends = {path.partition(".unfinished-")[2].partition("/")[2] for path in syncs.paths}
    assert {"", "inside", "inside/a"} <= ends
    assert syncs.paths[-1] == str(tmp_path)


@pytest.mark.parametrize("name", ["a.bin", "[a].bin", "a*b", "ä ö"])
def test_the_next_write_removes_what_a_killed_one_left_of_the_same_target(tmp_path: Path, name: str) -> None:
    (tmp_path / f".{name}.unfinished-0123").write_bytes(b"half")
    (tmp_path / ".other.unfinished-0123").write_bytes(b"half")
    atomic_write(tmp_path / name, b"whole")
    assert names(tmp_path) == sorted([name, ".other.unfinished-0123"])


def test_a_folder_that_is_there_is_complete_and_stays(tmp_path: Path) -> None:
    atomic_folder(tmp_path / "made", lambda folder: (folder / "a").touch())
    atomic_folder(tmp_path / "made", lambda folder: (folder / "b").touch())
    assert names(tmp_path / "made") == ["a"]


def test_two_that_fill_one_folder_do_not_harm_each_other(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "a").write_bytes(b"first")
        with pytest.raises(DataError, match=r"made: could not be written: another process writes there"):
            atomic_folder(tmp_path / "made", lambda other: (other / "a").touch())
        assert (folder / "a").read_bytes() == b"first"
        atomic_folder(tmp_path / "beside", lambda other: (other / "b").touch())

    atomic_folder(tmp_path / "made", fill)
    assert names(tmp_path) == ["beside", "made"]
    assert (tmp_path / "made" / "a").read_bytes() == b"first"


def test_a_folder_that_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".made.unfinished-0123"
    left.mkdir()
    (left / "a").touch()
    script = f"""
import os
from pathlib import Path
from pipeline.files import whole_folder
def fill(folder):
    folder.joinpath("half").touch()
    os.kill(os.getpid(), 9)
whole_folder(Path({str(tmp_path / "made")!r}), fill)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert len(names(tmp_path)) == 1, "what the first left is gone, and the second has left something"
    atomic_folder(tmp_path / "made", lambda folder: (folder / "b").touch())
    assert names(tmp_path) == ["made"]
    assert names(tmp_path / "made") == ["b"]


def test_without_locks_nothing_is_taken_for_a_left_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".made.unfinished-0123").mkdir()

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("pipeline.files.fcntl.flock", refuse)
    atomic_folder(tmp_path / "made", lambda folder: (folder / "b").touch())
    assert names(tmp_path) == [".made.unfinished-0123", "made"]


def test_an_error_while_filling_leaves_nothing(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "a").touch()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        atomic_folder(tmp_path / "made", fill)
    assert names(tmp_path) == []


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    atomic_write(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left on device; what was there before is unharmed"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_an_interruption_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    atomic_write(path, b"old")

    def interrupt(name: str, /, **_: Any) -> None:
        if name == "file.synced":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, b"new", emit=interrupt)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]
