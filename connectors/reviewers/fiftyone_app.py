"""The FiftyOne App, in a browser: proposals, people's masks, scores; its tags are the verdicts.

A tag on a sample or on one of its labels is a verdict: `accept`, `fix` (ask about it again), `reject`, `relabel:NAME`,
or, on a sample, `hold-out`. A label that was renamed in the App is `relabel:NAME` too. Without a tag a prediction stays
a prediction. Any other tag is left alone, and told.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from connectors.fiftyone import mongod
from connectors.fiftyone.app import serving
from connectors.fiftyone.calling import ask
from connectors.fiftyone.rows import write_rows
from connectors.fiftyone.tags import Ignored, TaggedLabel, TaggedSample, verdicts
from connectors.serving.secrets import is_loopback
from connectors.work_folder import atomic_write, read_json
from pipeline.errors import BackendError, ConfigError
from pipeline.ports import Check, Resources, Reviewer, ReviewRow, Verdict

__all__ = ["REQUIRES", "Settings", "build", "checks", "lacks"]

REQUIRES: Mapping[str, tuple[str, ...]] = {"fiftyone": ("fiftyone",)}

_DATABASE = "FIFTYONE_DATABASE_URI"
_OLDEST = (1, 17)
"""Before it, any web page could read any file of this machine through the App (CVE-2026-53656)."""

_log = logging.getLogger(__name__)


class Settings(BaseModel):
    """`author` is written into the verdicts: FiftyOne does not know who sets a tag.

    The App has no login: a `host` that is reached from elsewhere needs `without_login` too. With `brain`, images are
    compared with each other. The database is one of our own, unless FIFTYONE_DATABASE_URI names another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    author: Annotated[str, Field(min_length=1)] = "reviewer"
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 5151
    without_login: bool = False
    brain: bool = True


def build(settings: Settings, resources: Resources) -> Reviewer:
    """Raises ConfigError for a FiftyOne that is too old, and for an address that strangers reach."""
    found = importlib.metadata.version("fiftyone")
    if _numbers(found) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise ConfigError(
            f"FiftyOne {found} lets any web page read files of this machine (CVE-2026-53656): pip install "
            f"'fiftyone>={oldest}'",
            key="reviewer.kind",
        )
    if not is_loopback(settings.host) and not settings.without_login:
        raise ConfigError(
            f"{settings.host} is reached from elsewhere, and the App has no login: whoever reaches it reads every file "
            "that you can read; stay with 127.0.0.1 and a tunnel, or set reviewer.without_login",
            key="reviewer.host",
        )
    return _FiftyOne(settings, resources)


def lacks() -> list[str]:
    """A database, if it has none of its own and is told of none."""
    if mongod.executable() is not None or os.environ.get(_DATABASE):
        return []
    return [f"a mongod: pip install 'maskloop[fiftyone]', or set {_DATABASE}"]


def checks(_settings: Settings, _resources: Resources) -> Iterator[Check]:
    """FiftyOne's version, that of the database it would use, and whether the two work together here."""
    found = importlib.metadata.version("fiftyone")
    install = "pip install 'maskloop[fiftyone]'"
    if _numbers(found) < _OLDEST:
        yield Check("FiftyOne", "failed", found, f"{install} brings one that is safe")
        return
    yield Check("FiftyOne", "ok", found)
    program = mongod.executable()
    if os.environ.get(_DATABASE):
        yield Check("MongoDB", "ok", f"that of {_DATABASE}")
    elif program is None:
        yield Check("MongoDB", "failed", "no mongod", f"{install}, or set {_DATABASE}")
        return
    else:
        yield Check("MongoDB", "ok", f"{mongod.version(program)}, on loopback, without compression")
    try:
        with tempfile.TemporaryDirectory() as passing, _database(Path(passing)) as (address, own):
            list(ask(address, "tags", "no-such-dataset", own=own, operation="be asked"))
    except (BackendError, ConfigError) as exc:
        yield Check("both together", "failed", str(exc), f"{install}, in an environment of its own if need be")
    else:
        yield Check("both together", "ok", "a question was answered")


@contextmanager
def _database(folder: Path) -> Iterator[tuple[str, bool]]:
    """The database's address, and whether it is our own: then its data lie in `folder`."""
    named = os.environ.get(_DATABASE)
    if named:
        yield named, False
        return
    with mongod.running(folder) as address:
        yield address, True


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


class _FiftyOne:
    name = "fiftyone_app"

    def __init__(self, settings: Settings, resources: Resources) -> None:
        self._settings = settings
        self._classes = resources.classes
        self._work = resources.work
        self._project = resources.project or "maskloop"
        self._dataset = _slug(self._project)

    def open(self, rows: Iterable[ReviewRow]) -> None:
        """Make the dataset, or bring it up to date: it then shows these rows and no others. Tags that people have set
        stay with the samples and objects that are still there.

        Raises BackendRejected if a dataset of its name belongs to somebody else.
        """
        with tempfile.TemporaryDirectory(dir=self._work) as passing, _database(self._database) as (address, own):
            path = Path(passing) / "rows.jsonl"
            with path.open("wb") as file:
                write_rows(rows, file)
            brain = "brain" if self._settings.brain else "alone"
            for counts in ask(
                address, "fill", self._dataset, self._project, path, brain, own=own, operation="open"
            ):
                _log.info("%s: %s", self._dataset, counts)
        opened = {**(read_json(self._opened) or {}), self._dataset: self._project}
        atomic_write(self._opened, json.dumps(opened, sort_keys=True).encode())

    def verdicts(self) -> Iterator[Verdict]:
        """What people's tags say; none before `open`. Tags that are no verdicts are told and left alone."""
        if self._dataset not in (read_json(self._opened) or {}):
            return
        with _database(self._database) as (address, own):
            answers = list(ask(address, "tags", self._dataset, own=own, operation="read tags"))
        for answer in answers:
            sample = _tagged(answer)
            for said in verdicts(sample, self._classes, self._settings.author):
                if isinstance(said, Ignored):
                    _log.warning(
                        "image %s: tag %r is left alone: %s", sample.sample_id[:12], said.tag, said.reason
                    )
                else:
                    yield said

    def show(self, ready: Callable[[str], None]) -> None:
        """Serve the App until Ctrl-C; `ready` is told its address once it answers.

        Raises ConfigError for a port that is taken, and BackendUnavailable when the App or our database ends by itself.
        """
        settings = self._settings
        if not is_loopback(settings.host):
            _log.warning(
                "the App has no login: whoever reaches %s reads every file that you can read", settings.host
            )
        log = self._work / f"app-{settings.port}.log"
        with (
            _database(self._database) as (address, own),
            serving(address, log, host=settings.host, port=settings.port, own=own) as app,
        ):
            ready(f"{app.url}/datasets/{self._dataset}")
            app.wait()

    @property
    def _database(self) -> Path:
        return self._work / "database"

    @property
    def _opened(self) -> Path:
        return self._work / "opened.json"


def _slug(project: str) -> str:
    """The dataset's name, as it stands in the App's addresses: FiftyOne finds only those that are their own slug."""
    slug = re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-")[:80]
    plain = re.fullmatch(r"[A-Za-z0-9 _-]*", project) and slug
    return slug if plain else f"{slug or 'maskloop'}-{hashlib.sha256(project.encode()).hexdigest()[:8]}"


def _tagged(answer: Mapping[str, Any]) -> TaggedSample:
    labels = tuple(TaggedLabel(**{**label, "tags": tuple(label["tags"])}) for label in answer["labels"])
    return TaggedSample(answer["sample_id"], tuple(answer["tags"]), labels)
