"""What people have answered, in the order in which it was found: numbered files that never change.

Where answers come from they have no order that could be gone on after, and may be changed once they were read. So
each new content of an answer is first written down here under the next number; that number is the cursor. A crash
after that loses nothing: the same entry is told again until its cursor is recorded.
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
from pipeline.ports import Collected, NoAnswer

__all__ = ["Entry", "Journal"]

_DIGITS = 8


@dataclass(frozen=True, order=True)
class Entry:
    """An entry as its file's name tells it; `digest` tells the answer's contents apart, and has no hyphen."""

    number: int
    task_id: str
    digest: str


class Journal:
    """One writer at a time, as the workspace's lock grants."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def newest(self) -> Mapping[str, str]:
        """Task id -> digest of the answer that was last written down for it."""
        return {entry.task_id: entry.digest for entry in self.entries()}

    def next_number(self, since: str | None) -> int:
        """The number after the last entry, and after `since` too.

        Where the journal was lost but the cursor was not, answers that are found anew must not lie before
        the cursor. Raises DataError for a foreign cursor.
        """
        return max(max((entry.number for entry in self.entries()), default=0), _number(since)) + 1

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
        self._write(Entry(number, task_id, digest), row)

    def append_no_answer(self, number: int, said: NoAnswer, digest: str) -> None:
        """Write down that nothing is said; the number becomes its cursor."""
        row = {
            "sample": said.sample_id,
            "author": said.author,
            "at": said.at.isoformat(),
            "no_answer": said.reason,
        }
        self._write(Entry(number, said.task_id, digest), row)

    def after(self, since: str | None) -> Iterator[Collected | NoAnswer]:
        """The answers after a cursor, in order. Raises DataError for a foreign cursor, BadFormat for damage."""
        beyond = _number(since)
        for entry in self.entries():
            if entry.number > beyond:
                yield _read(self._path(entry), entry)

    def entries(self) -> list[Entry]:
        """All of them, in order."""
        entries = []
        for path in self._folder.glob("*.json"):
            number, _, rest = path.stem.partition("-")
            task_id, _, digest = rest.rpartition("-")
            entries.append(Entry(int(number), task_id, digest))
        return sorted(entries)

    def _write(self, entry: Entry, row: Mapping[str, object]) -> None:
        atomic_write(self._path(entry), json.dumps(row, sort_keys=True).encode())

    def _path(self, entry: Entry) -> Path:
        return self._folder / f"{entry.number:0{_DIGITS}d}-{entry.task_id}-{entry.digest}.json"


def _number(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit()):
        raise DataError(f"{cursor!r} is not a cursor of this annotator")
    return int(cursor)


def _read(path: Path, entry: Entry) -> Collected | NoAnswer:
    cursor = f"{entry.number:0{_DIGITS}d}"
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        at = datetime.fromisoformat(row["at"])
        if "no_answer" in row:
            return NoAnswer(row["sample"], entry.task_id, cursor, row["author"], at, row["no_answer"])
        height, width = row["size_hw"]
        annotation = Annotation(
            sample_id=row["sample"],
            revision=0,
            instances=tuple(parse_instance(instance) for instance in row["instances"]),
            origin=Origin(OriginKind.HUMAN, row["author"]),
            round=row["round"],
            created_at=at,
            seconds=row["seconds"],
            size_hw=(height, width),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise BadFormat(f"not an answer that was written down: {exc}; the file is damaged", path=path) from exc
    return Collected(annotation, entry.task_id, cursor)
