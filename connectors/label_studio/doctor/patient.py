"""Who is examined: what the settings and the environment say of an annotator at Label Studio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from connectors.label_studio.importing import ImagesSettings
from connectors.tasks import Task, Tasks, read_task

__all__ = ["Patient"]


@dataclass(frozen=True)
class Patient:
    """`wanted` is the project's number or title, `work` the annotator's folder; `token` is Label Studio's, and `secret`
    that of the backend at `backend`. Neither is shown."""

    url: str
    wanted: int | str
    classes: tuple[str, ...]
    images: ImagesSettings
    backend: str | None
    work: Path
    token: str | None = field(repr=False)
    secret: str | None = field(repr=False)

    def asked(self) -> Mapping[str, Task]:
        """Sample id -> what people were asked about it last. Raises BadFormat for a damaged file."""
        tasks = (read_task(path) for path in Tasks(self.work / "tasks").known().values())
        return {task.sample_id: task for task in tasks}
