"""Where people put their answers: files of unknown origin, perhaps still being copied."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from connectors.folder.answers import parse_json
from connectors.work_folder import atomic_write
from pipeline.errors import DataError
from pipeline.ports import Unusable

__all__ = ["Inbox", "Letter"]

_SUFFIX = ".json"
_STEM_CHARACTERS = 48
"""What is kept of a refused file's name, so that the names made from it fit any file system."""


@dataclass(frozen=True)
class Letter:
    """A file of the inbox as it was read; `digest` is of its bytes, `state` tells if it has changed since."""

    path: Path
    data: bytes
    digest: str
    state: tuple[int, int, int]
    changed_at: float

    @property
    def task_id(self) -> str:
        return _task_id(self.path)


class Inbox:
    """A folder that people write into. Files that cannot be used are moved to `refused/`, with the reason."""

    def __init__(self, folder: Path, *, max_bytes: int, settle_s: float) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._settle_s = settle_s
        self._refusals: list[Unusable] = []

    def refusals(self) -> list[Unusable]:
        """What was refused since the last call."""
        told, self._refusals = self._refusals, []
        return told

    def open(self) -> None:
        """Make the folder."""
        self._folder.mkdir(parents=True, exist_ok=True)

    def letters(self, place: Mapping[str, int]) -> Iterator[Letter]:
        """The files as they stand, read one at a time: those of known tasks by their `place`, after the others.

        Hidden files, other suffixes and folders are not answers. A file that is too large, or that may not be
        read, is refused here.
        """
        if not self._folder.is_dir():
            return
        paths = [path for path in self._folder.iterdir() if _is_letter(path)]
        for path in sorted(paths, key=lambda path: (place.get(_task_id(path), -1), path.name)):
            try:
                yield self._read(path)
            except FileNotFoundError:
                continue  # taken back by whoever put it there
            except PermissionError as exc:
                self._set_aside(path, f"it cannot be read: {exc.strerror}")
            except DataError as exc:
                self._set_aside(path, exc.reason)

    def content(self, letter: Letter, now: datetime) -> Any | None:
        """The parsed JSON; None if it is no JSON, but was changed so lately that it may still be written.

        Raises DataError if it is no JSON and nobody has touched it for `settle_s`.
        """
        try:
            return parse_json(letter.data)
        except ValueError as exc:
            if abs(now.timestamp() - letter.changed_at) < self._settle_s:
                return None
            raise DataError(f"not JSON: {exc}") from exc

    def refuse(self, letter: Letter, reason: str) -> None:
        """Move a file to `refused/`, unless it has been changed since it was read: then it is read again."""
        try:
            if _state(letter.path.stat()) == letter.state:
                self._set_aside(letter.path, reason)
        except FileNotFoundError:
            return  # taken back by whoever put it there

    def _read(self, path: Path) -> Letter:
        with path.open("rb") as opened:
            status = os.fstat(opened.fileno())
            data = opened.read(self._max_bytes + 1)
        if len(data) > self._max_bytes:
            raise DataError(f"it has more than {self._max_bytes:,} bytes: is it about one image only?")
        return Letter(path, data, hashlib.sha256(data).hexdigest()[:32], _state(status), status.st_mtime)

    def _set_aside(self, path: Path, reason: str) -> None:
        """The reason is written first, so that no refused file is ever without one; nothing is replaced."""
        refused = self._folder / "refused"
        stem = path.stem[:_STEM_CHARACTERS]
        names = (stem if n == 1 else f"{stem}-{n}" for n in itertools.count(1))
        name = next(name for name in names if not (refused / f"{name}{_SUFFIX}").exists())
        text = f"{path.name} was not taken: {reason}\nPut it right, and put it into the inbox again.\n"
        atomic_write(refused / f"{name}.txt", text.encode("utf-8", "backslashreplace"))
        path.rename(refused / f"{name}{_SUFFIX}")
        self._refusals.append(Unusable(path.name, reason))


def _is_letter(path: Path) -> bool:
    return path.suffix.lower() == _SUFFIX and not path.name.startswith(".") and path.is_file()


def _task_id(path: Path) -> str:
    """The task that a file is named after; `x.JSON` is not `x.json`, or one task could have two answers."""
    return path.stem if path.suffix == _SUFFIX else path.name


def _state(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns
