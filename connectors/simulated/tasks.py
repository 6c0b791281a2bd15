"""The simulated person's inbox: one small file a task, in the order of submission."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from connectors.work_folder import atomic_write
from pipeline.domain.dataset import instance_row, parse_instance
from pipeline.domain.records import Instance, Sample
from pipeline.errors import BadFormat, DataError
from pipeline.ports import TaskItem

__all__ = ["Inbox", "Task"]


@dataclass(frozen=True)
class Task:
    """What was asked: the sample, what was shown for it, and in which round. `number` is its place in line."""

    number: int
    id: str
    sample: Sample
    instances: tuple[Instance, ...]
    round: int

    @property
    def cursor(self) -> str:
        return f"{self.number:08d}"


class Inbox:
    """A folder of tasks. A file is there whole or not at all, so any process may read while one writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def submit(self, items: Sequence[TaskItem]) -> dict[str, str]:
        """Sample id -> task id. What was asked before, in this round, keeps its task and its place."""
        known = {task_id: number for number, task_id in self._entries()}
        number = max(known.values(), default=0)
        tasks: dict[str, str] = {}
        for item in items:
            task_id = _task_id(item)
            tasks[item.sample.id] = task_id
            if task_id not in known:
                number += 1
                known[task_id] = number
                row = json.dumps(_row(item), sort_keys=True)
                atomic_write(self._path(number, task_id), row.encode())
        return tasks

    def after(self, cursor: str | None) -> Iterator[Task]:
        """The tasks after `cursor`, first submitted first. Raises DataError for a foreign cursor, BadFormat for
        a damaged file.
        """
        if cursor is not None and not (cursor.isascii() and cursor.isdigit()):
            raise DataError(f"{cursor!r} is not a cursor of the simulated annotator")
        since = int(cursor) if cursor is not None else 0
        for number, task_id in sorted(self._entries()):
            if number > since:
                yield _read(self._path(number, task_id), number, task_id)

    def _entries(self) -> list[tuple[int, str]]:
        parts = [path.stem.partition("-") for path in self._folder.glob("*.json")]
        return [(int(number), task_id) for number, _, task_id in parts]

    def _path(self, number: int, task_id: str) -> Path:
        return self._folder / f"{number:08d}-{task_id}.json"


def _task_id(item: TaskItem) -> str:
    return hashlib.sha256(f"{item.round}\n{item.sample.id}".encode()).hexdigest()[:24]


def _row(item: TaskItem) -> dict[str, object]:
    sample = item.sample
    return {
        "sample": {
            "id": sample.id,
            "path": str(sample.path),
            "size_hw": list(sample.size_hw),
            "split": sample.split,
            "group": sample.group,
        },
        "round": item.round,
        "instances": [instance_row(instance) for instance in item.instances],
    }


def _read(path: Path, number: int, task_id: str) -> Task:
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        fields = row["sample"]
        height, width = fields["size_hw"]
        sample = Sample(fields["id"], Path(fields["path"]), (height, width), fields["split"], fields["group"])
        instances = tuple(parse_instance(instance) for instance in row["instances"])
        return Task(number, task_id, sample, instances, row["round"])
    except (KeyError, TypeError, ValueError) as exc:
        raise BadFormat(f"not a task: {exc}; delete it and submit again", path=path) from exc
