"""People at Label Studio, with the machine's masks before them and a backend that refines them by clicks.

The project is found by its number or title, or made: brush, smart key points, smart rectangles and polygons with the
project's classes. Images come in with the machine's masks as predictions, the most doubtful first. What people submit,
change, skip and delete is collected; drafts are not.

The token is in the environment: `LABEL_STUDIO_API_KEY`, a personal access token or a legacy one. With `backend`, the
address of `pipeline serve` as Label Studio reaches it, clicks are answered; the secret between the two is
`MASKLOOP_SECRET`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from connectors.journal import Journal
from connectors.label_studio.client import Client
from connectors.label_studio.collecting import Collector
from connectors.label_studio.credentials import TOKEN
from connectors.label_studio.importing import ImagesSettings, Importer, Uploaded
from connectors.label_studio.project import SECRET, Project, connect_backend
from connectors.tasks import Tasks, task_of
from connectors.work_folder import atomic_write
from pipeline.errors import ConfigError
from pipeline.ports import Annotator, Check, Collected, NoAnswer, Resources, TaskItem, Unusable

__all__ = ["REQUIRES", "Settings", "build", "checks", "client_of"]

REQUIRES: Mapping[str, tuple[str, ...]] = {"label-studio": ("httpx", "defusedxml")}

_NAME = "label_studio"


class Settings(BaseModel):
    """`project` is a number or a title; by default the title is the name of the loop's own project.

    `output` is how the machine's masks are shown: by brush exactly; polygons are lighter, and lose holes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, Field(pattern=r"^https?://[^/\s]+(/\S*)?$")]
    project: int | Annotated[str, Field(min_length=3, max_length=50)] | None = None
    backend: Annotated[str, Field(pattern=r"^https?://[^/\s]+(/\S*)?$")] | None = None
    images: ImagesSettings = Uploaded()
    output: Literal["brush", "polygon"] = "brush"
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 60.0


def build(settings: Settings, resources: Resources, *, client: Client | None = None) -> Annotator:
    """`client` is by default that of the settings and the environment's token: ConfigError if there is none. Nobody is
    asked anything yet.
    """
    return _LabelStudio(settings, resources, client or client_of(settings))


def client_of(settings: Settings) -> Client:
    """Raises ConfigError if the environment has no token."""
    token = os.environ.get(TOKEN)
    if not token:
        raise ConfigError(
            "is not set: take a personal access token from Label Studio (Account & Settings) and export it",
            key=TOKEN,
        )
    return Client(settings.url, token, timeout_s=settings.timeout_s)


def checks(settings: Settings, resources: Resources) -> Iterator[Check]:
    """For `pipeline doctor`: the way of a click from end to end. Raises BackendError if the server goes meanwhile."""
    from connectors.label_studio.doctor.examination import studio_checks
    from connectors.label_studio.doctor.patient import Patient

    yield from studio_checks(
        Patient(
            url=settings.url.rstrip("/"),
            wanted=_wanted(settings, resources),
            classes=resources.classes,
            images=settings.images,
            backend=settings.backend,
            work=resources.work,
            token=os.environ.get(TOKEN),
            secret=os.environ.get(SECRET) or None,
        )
    )


class _LabelStudio:
    name = _NAME

    def __init__(self, settings: Settings, resources: Resources, client: Client) -> None:
        self._settings = settings
        self._resources = resources
        work = resources.work
        self._client = client
        wanted = _wanted(settings, resources)
        self._project = Project(client, work, wanted, resources.classes, people=resources.people)
        self._importer = Importer(client, self._project, settings.images, resources)
        self._tasks = Tasks(work / "tasks")
        self._journal = Journal(work / "answers")
        self._collector = Collector(client, self._project, self._tasks, self._journal, work)
        self._connected = False

    def submit(self, items: Sequence[TaskItem]) -> Mapping[str, str]:
        """Raises BackendUnavailable and BackendRejected with what to do, ImageUnreadable if an image is gone, and
        ConfigError for one that Label Studio cannot be shown as `images` says."""
        tags = self._project.open()
        self._connect()
        if self._settings.output == "polygon" and tags.polygon is not None:
            tags = replace(tags, brush=None)
        self._importer.submit(items, tags)
        where = f"{self._client.url}/projects/{self._project.id}/data\n"
        atomic_write(self._resources.work / "README.txt", where.encode())  # what the waiting run tells
        tasks = {item.sample.id: task_of(item) for item in items}
        known = self._tasks.known()
        for task in tasks.values():
            if task.id not in known:
                self._tasks.add(task)
        return {sample_id: task.id for sample_id, task in tasks.items()}

    def collect(self, since: str | None) -> Iterator[Collected | NoAnswer | Unusable]:
        """Raises DataError for a foreign cursor, BadFormat for a damaged record, and as `submit`."""
        if self._project.reopen():
            yield from self._collector.take_in(since, self._resources.now())
        yield from self._journal.after(since)

    def _connect(self) -> None:
        if self._settings.backend is not None and not self._connected:
            connect_backend(self._client, self._project.id, self._settings.backend, os.environ.get(SECRET) or None)
            self._connected = True


def _wanted(settings: Settings, resources: Resources) -> int | str:
    """The project's number or title: Label Studio wants three characters or more, and 50 at most."""
    name = resources.project
    if settings.project is not None:
        return settings.project
    return name[:50] if len(name) >= 3 else f"maskloop {name}"
