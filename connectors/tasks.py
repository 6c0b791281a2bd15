"""What people were asked: one small file a task, in the order of submission; kept apart from what people touch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from connectors.work_folder import atomic_write
from pipeline.domain.dataset import instance_row, parse_instance
from pipeline.domain.geometry import SizeHW
from pipeline.domain.records import Instance
from pipeline.errors import BadFormat
from pipeline.ports import TaskItem

__all__ = ["Task", "Tasks", "read_task", "task_id", "task_of"]


@dataclass(frozen=True)
class Task:
    """One image that people were asked about, with what they were shown."""

    id: str
    sample_id: str
    size_hw: SizeHW
    round: int
    instances: tuple[Instance, ...]


def task_of(item: TaskItem) -> Task:
    """The task of an item."""
    sample = item.sample
    return Task(task_id(item.round, sample.id), sample.id, sample.size_hw, item.round, item.instances)


def task_id(round_: int, sample_id: str) -> str:
    """Hangs on the sample and the round alone, and is fit for a file's name."""
    digest = hashlib.sha256(f"{round_}\n{sample_id}".encode()).hexdigest()
    return f"round{round_}-{digest[:16]}"


class Tasks:
    """A folder of task files. A file is there whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def known(self) -> Mapping[str, Path]:
        """Task id -> its file, first submitted first."""
        return {path.stem.partition("-")[2]: path for path in sorted(self._folder.glob("*.json"))}

    def add(self, task: Task) -> None:
        """Put a new task at the end of the line."""
        numbers = [int(path.stem.partition("-")[0]) for path in self.known().values()]
        row = {
            "id": task.id,
            "sample": task.sample_id,
            "size_hw": list(task.size_hw),
            "round": task.round,
            "instances": [instance_row(instance) for instance in task.instances],
        }
        path = self._folder / f"{max(numbers, default=0) + 1:08d}-{task.id}.json"
        atomic_write(path, json.dumps(row, sort_keys=True).encode())


def read_task(path: Path) -> Task:
    """A task of `Tasks.known`. Raises BadFormat for a damaged file."""
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        height, width = row["size_hw"]
        instances = tuple(parse_instance(instance) for instance in row["instances"])
        return Task(row["id"], row["sample"], (height, width), row["round"], instances)
    except (KeyError, TypeError, ValueError) as exc:
        raise BadFormat(f"not a task: {exc}; the file is damaged", path=path) from exc
