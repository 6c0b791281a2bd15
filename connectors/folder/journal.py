"""What people have answered, in the order in which it was found: numbered files that never change.

The order of a folder's files says nothing, and a file may be changed after it was read. So each new content of
an answer is first written down here under the next number; that number is the cursor. A crash after that loses
nothing: the same entry is told again until its cursor is recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from connectors.work_folder import atomic_write
from pipeline.domain.dataset import instance_row, parse_instance
from pipeline.domain.records import Annotation, Origin, OriginKind
from pipeline.errors import BadFormat, DataError
from pipeline.ports import Collected

__all__ = ["Journal"]

_DIGITS = 8


@dataclass(frozen=True, order=True)
class _Entry:
    """An entry as its file's name tells it; `digest` is that of the answer's bytes."""

    number: int
    task_id: str
    digest: str


class Journal:
    """One writer at a time, as the workspace's lock grants."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def newest(self) -> Mapping[str, str]:
        """Task id -> digest of the answer that was last written down for it."""
        return {entry.task_id: entry.digest for entry in self._entries()}

    def next_number(self, since: str | None) -> int:
        """The number after the last entry, and after `since` too.

        Where the journal was lost but the cursor was not, answers that are found anew must not lie before
        the cursor. Raises DataError for a foreign cursor.
        """
        return max(max((entry.number for entry in self._entries()), default=0), _number(since)) + 1

    def append(self, number: int, annotation: Annotation, task_id: str, digest: str) -> None:
        """Write an answer down under a new number; when this returns it is on the disk."""
        row = {
            "sample": annotation.sample_id,
            "size_hw": list(annotation.size_hw or ()),
            "round": annotation.round,
            "author": annotation.origin.name,
            "at": annotation.created_at.isoformat(),
            "seconds": annotation.seconds,
            "instances": [instance_row(instance) for instance in annotation.instances],
        }
        atomic_write(self._path(_Entry(number, task_id, digest)), json.dumps(row, sort_keys=True).encode())

    def after(self, since: str | None) -> Iterator[Collected]:
        """The answers after a cursor, in order. Raises DataError for a foreign cursor, BadFormat for damage."""
        beyond = _number(since)
        for entry in self._entries():
            if entry.number > beyond:
                yield Collected(_read(self._path(entry)), entry.task_id, f"{entry.number:0{_DIGITS}d}")

    def _entries(self) -> list[_Entry]:
        entries = []
        for path in self._folder.glob("*.json"):
            number, _, rest = path.stem.partition("-")
            task_id, _, digest = rest.rpartition("-")
            entries.append(_Entry(int(number), task_id, digest))
        return sorted(entries)

    def _path(self, entry: _Entry) -> Path:
        return self._folder / f"{entry.number:0{_DIGITS}d}-{entry.task_id}-{entry.digest}.json"


def _number(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit()):
        raise DataError(f"{cursor!r} is not a cursor of the annotator `folder`")
    return int(cursor)


def _read(path: Path) -> Annotation:
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        height, width = row["size_hw"]
        return Annotation(
            sample_id=row["sample"],
            revision=0,
            instances=tuple(parse_instance(instance) for instance in row["instances"]),
            origin=Origin(OriginKind.HUMAN, row["author"]),
            round=row["round"],
            created_at=datetime.fromisoformat(row["at"]),
            seconds=row["seconds"],
            size_hw=(height, width),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise BadFormat(f"not an answer that was written down: {exc}; the file is damaged", path=path) from exc
