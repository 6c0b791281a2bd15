"""Labels that a door reads from a file of tasks, as every other label file of the house."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance
from pipeline.errors import DataError
from pipeline.formats.labels import Found, LabelProblem, Labels, imported, told_apart

__all__ = ["ReadTasks", "TaskFile", "TaskLabels", "TaskShapes", "find_tasks"]


class TaskShapes(Protocol):
    """One task's objects; `image` is its image's file name, or its sample's id."""

    @property
    def image(self) -> str: ...

    def shapes(self, size_hw: SizeHW) -> Iterator[tuple[str, Box | None, Mask | None] | str]:
        """Label, box and mask of each object in the frame of `size_hw`; or why one is lost."""
        ...


class TaskFile(Protocol):
    """The tasks that have labels, or why one cannot be read; how many predictions, and tasks without labels."""

    @property
    def tasks(self) -> Sequence[TaskShapes | str]: ...

    @property
    def predictions(self) -> int: ...

    @property
    def skipped(self) -> int: ...

    @property
    def notes(self) -> Sequence[str]: ...


ReadTasks = Callable[[Path], TaskFile]


@dataclass(frozen=True)
class TaskLabels:
    """The labels of one task of the file `path`."""

    path: Path
    task: TaskShapes

    def read(self, size_hw: SizeHW, key: str) -> Labels:
        """Instances in the frame of `size_hw`, and a problem for each object that is lost."""
        instances: list[Instance] = []
        problems: list[LabelProblem] = []
        for index, shape in enumerate(self.task.shapes(size_hw)):
            if isinstance(shape, str):
                problems.append(LabelProblem(self.path, None, shape))
                continue
            label, box, mask = shape
            try:
                box = box.checked(size_hw) if mask is None and box is not None else box
                instances.append(imported(label, box, mask, key=key, source=self.path))
            except DataError as exc:
                problems.append(LabelProblem(self.path, None, f"object {index + 1}: {exc.reason}"))
        return Labels(told_apart(instances, key=key, source=self.path), tuple(problems))


def find_tasks(path: Path, images: Path, read: ReadTasks) -> Iterator[Found | LabelProblem]:
    """The images of a file of tasks, by name under the folder `images`. Raises BadFormat if the file is broken.

    Predictions are no labels: how many there are is told, and that is all that becomes of them.
    """
    content = read(path)
    told = list(content.notes)
    if content.predictions:
        told.append(f"{content.predictions} predictions are no labels, and were left out")
    if content.skipped:
        told.append(f"{content.skipped} tasks have no labels, or were skipped")
    yield from (LabelProblem(path, None, reason, lost=False) for reason in told)
    for task in content.tasks:
        if isinstance(task, str):
            yield LabelProblem(path, None, task)
        else:
            yield Found(images / task.image, None, TaskLabels(path, task))
