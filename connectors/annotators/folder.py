"""People without a server: each task is a folder with an image and a COCO file; answers are COCO files.

In the annotator's work folder lie

- `outbox/<task id>/`: the image, `instances.json` (what the machine found, as COCO) and `preview.png`;
- `inbox/`: where people put `<task id>.json`, the corrected COCO file, made with any tool that reads and writes
  COCO. Beside COCO's keys it may say `annotator` (a name) and `seconds` (the time it took);
- `inbox/refused/`: answers that cannot be used, each with a `.txt` that says why; the task stays open;
- `README.txt`: the same, for whoever answers;
- `tasks/` and `answers/`: this module's own records.

An object keeps its identity by its attribute `maskloop_id` or its annotation id; one that comes back unchanged is
accepted, changed it is edited, missing it is rejected, and any other was drawn. A file may be changed later: that
is a new revision. One that is no JSON yet, because it is still being copied, is left until nobody has touched it
for `settle_s`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from connectors.folder.answers import parse_answer
from connectors.folder.inbox import Inbox, Letter
from connectors.folder.instructions import INSTRUCTIONS
from connectors.folder.outbox import Outbox
from connectors.journal import Journal
from connectors.tasks import Task, Tasks, read_task, task_of
from connectors.verdicts import verdicts
from connectors.work_folder import atomic_write
from pipeline.domain.records import Annotation, Origin, OriginKind
from pipeline.errors import BackendUnavailable, DataError
from pipeline.ports import Annotator, Collected, NoAnswer, Resources, TaskItem, Unusable

__all__ = ["REQUIRES", "Settings", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {}

_NAME = "folder"


class Settings(BaseModel):
    """`max_megabytes`: a larger answer is refused unread. `settle_s`: see the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_megabytes: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 32.0
    settle_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0


def build(settings: Settings, resources: Resources) -> Annotator:
    return _Folder(settings, resources)


class _Folder:
    name = _NAME

    def __init__(self, settings: Settings, resources: Resources) -> None:
        self._resources = resources
        self._readme = resources.work / "README.txt"
        self._tasks = Tasks(resources.work / "tasks")
        self._journal = Journal(resources.work / "answers")
        self._outbox = Outbox(resources.work / "outbox", resources.classes)
        self._inbox = Inbox(
            resources.work / "inbox",
            max_bytes=round(settings.max_megabytes * 1_000_000),
            settle_s=settings.settle_s,
        )

    def submit(self, items: Sequence[TaskItem]) -> Mapping[str, str]:
        """Raises ImageUnreadable if an image is gone, BackendUnavailable if the disk refuses."""
        tasks = {item.sample.id: task_of(item) for item in items}
        with _disk("submit tasks"):
            self._inbox.open()
            if not self._readme.exists():
                atomic_write(self._readme, INSTRUCTIONS.encode())
            known = self._tasks.known()
            for item in items:
                task = tasks[item.sample.id]
                if task.id not in known:
                    self._outbox.publish(task, item.sample.path, self._resources.read_image(item.sample))
                    self._tasks.add(task)  # last: what has a record is complete
        return {sample_id: task.id for sample_id, task in tasks.items()}

    def collect(self, since: str | None) -> Iterator[Collected | NoAnswer | Unusable]:
        """Raises DataError for a foreign cursor, BadFormat for a damaged record, BackendUnavailable if the disk
        refuses. An answer that cannot be used is moved to `refused/` and told as Unusable.
        """
        with _disk("collect answers"):
            self._take_in(since)
        yield from self._inbox.refusals()
        yield from self._journal.after(since)

    def _take_in(self, since: str | None) -> None:
        """Write down every answer whose content is new: in the order of the tasks, which is the same anywhere."""
        number = self._journal.next_number(since)
        newest, known = self._journal.newest(), self._tasks.known()
        place = {task_id: index for index, task_id in enumerate(known)}
        for letter in self._inbox.letters(place):
            if newest.get(letter.task_id) == letter.digest:
                continue
            if letter.task_id not in known:
                self._inbox.refuse(letter, "it is named after no task: call it <task id>.json, like its folder")
                continue
            task = read_task(known[letter.task_id])
            try:
                annotation = self._annotation(letter, task)
            except DataError as exc:
                self._inbox.refuse(letter, exc.reason)
            else:
                if annotation is not None:
                    self._journal.append(number, annotation, letter.task_id, letter.digest)
                    number += 1

    def _annotation(self, letter: Letter, task: Task) -> Annotation | None:
        """What a file says, None if it is not whole yet. Raises DataError if it cannot be used."""
        now = self._resources.now()
        content = self._inbox.content(letter, now)
        if content is None:
            return None
        answer = parse_answer(content, task, self._resources.classes)
        origin = Origin(OriginKind.HUMAN, answer.author or _NAME)
        return Annotation(
            sample_id=task.sample_id,
            revision=0,
            instances=verdicts(task.instances, answer.outlines, origin, annotator=_NAME, task=task.id),
            origin=origin,
            round=task.round,
            created_at=now,
            seconds=answer.seconds or 0.0,
            size_hw=task.size_hw,
        )


@contextmanager
def _disk(operation: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise BackendUnavailable(
            f"{exc.filename or 'the work folder'}: {exc.strerror or exc}", backend=_NAME, operation=operation
        ) from exc
