"""What people have said, from Label Studio to the journal.

A webhook may be lost, late or forged, and a clock may jump: only looking tells. The tasks that changed since the last
look, by the server's own clock and with an overlap, are listed with the numbers and times of their annotations; only
annotations that are new or changed are read. A whole sweep, which alone sees what was deleted with nothing left behind,
is made whenever every task has its answer, before the round goes on, and now and then while it waits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from connectors.journal import Journal
from connectors.label_studio.client import Client
from connectors.label_studio.convert import read_regions
from connectors.label_studio.project import Project
from connectors.label_studio.verdicts import verdicts
from connectors.tasks import Task, Tasks, read_task
from connectors.work_folder import atomic_write, read_json
from pipeline.domain.records import Annotation, Origin, OriginKind
from pipeline.errors import BackendRejected, DataError
from pipeline.ports import NoAnswer, Unusable

__all__ = ["Collector"]

_OVERLAP = timedelta(minutes=5)
_SWEEP_EVERY = timedelta(minutes=2)
_LIGHT = "id,data,updated_at,annotations"
"""With these fields alone, annotations come as numbers and times."""


_NAME = "label_studio"

_Seen = dict[int, tuple[str, bool]]
"""A task's annotations as they were last read: number -> the time of its last change, and whether it is a skip."""


class Collector:
    """Reads the answers to `tasks` into `journal`; `work` keeps what was seen."""

    def __init__(self, client: Client, project: Project, tasks: Tasks, journal: Journal, work: Path) -> None:
        self._client = client
        self._project = project
        self._tasks = tasks
        self._journal = journal
        self._work = work
        self._told: set[tuple[int, str]] = set()

    def take_in(self, since: str | None, now: datetime) -> list[Unusable]:
        """Write down every answer that is new; the answers that cannot be used are told, each once."""
        self._known = self._tasks.known()
        self._newest = dict(self._journal.newest())
        self._number = self._journal.next_number(since)
        rows = list(self._listed(self._last_look()))
        unusable = [told for row in rows for told in self._look(row)]
        if self._wants_sweep(now):
            rows = list(self._listed(None))
            unusable += [told for row in rows for told in self._look(row)]
            self._close_the_vanished({str(row["id"]) for row in rows}, now)
            self._remember(swept=now.isoformat())
        newest = max((str(row["updated_at"]) for row in rows), default=None)
        if newest is not None:
            self._remember(newest=newest)
        return unusable

    def _listed(self, since: datetime | None) -> Iterator[dict[str, Any]]:
        return self._client.tasks(self._project.id, key=self._project.key, since=since, include=_LIGHT)

    # --- one task -----------------------------------------------------------------------------------------

    def _look(self, row: Mapping[str, Any]) -> list[Unusable]:
        """Write down what is new in one listed task."""
        path = self._known.get(str(row["id"]))
        if path is None:
            return []  # made by hand, or twice: this workspace has no record of it
        task, seen = read_task(path), self._seen(str(row["id"]))
        listed = {int(one["id"]): str(one["updated_at"]) for one in row.get("annotations") or []}
        kept = {key: value for key, value in seen.items() if key in listed}
        deleted, unusable = len(kept) < len(seen), []
        for key in sorted(listed, key=lambda one: (listed[one], one)):
            if key in kept and kept[key][0] == listed[key]:
                continue
            try:
                said = self._read(key, task)
            except DataError as exc:
                unusable += self._tell(key, listed[key], task, exc)
                continue
            kept[key] = (listed[key], isinstance(said, NoAnswer))
            if not isinstance(said, NoAnswer) or all(skipped for _, skipped in kept.values()):
                self._write(said, task, f"{key}.{_digest(listed[key])}")
                deleted = False
        if deleted:
            self._write_what_is_left(kept, task, str(row["updated_at"]))
        if kept != seen:
            self._keep_seen(task.id, kept)
        return unusable

    def _write_what_is_left(self, kept: _Seen, task: Task, at: str) -> None:
        """After a deletion: the newest answer of somebody else stands, else a skip, else nothing."""
        left = [(when, key) for key, (when, skipped) in kept.items() if not skipped]
        left = left or [(when, key) for key, (when, _) in kept.items()]
        if left:
            when, key = max(left)
            self._write(self._read(key, task), task, f"{key}.{_digest(when)}.left")
        else:
            nobody = NoAnswer(task.sample_id, task.id, "", _NAME, datetime.fromisoformat(at), "withdrawn")
            self._write(nobody, task, f"none.{_digest(at)}")

    def _tell(self, key: int, when: str, task: Task, problem: DataError) -> list[Unusable]:
        if (key, when) in self._told:
            return []
        self._told.add((key, when))
        where = f"{self._client.url}/projects/{self._project.id}/data?task={task.id}"
        return [Unusable(where, problem.reason)]

    def _read(self, key: int, task: Task) -> Annotation | NoAnswer:
        return self._said(self._client.get(f"/api/annotations/{key}/", "read an annotation"), task)

    def _said(self, row: Mapping[str, Any], task: Task) -> Annotation | NoAnswer:
        """Raises DataError for a result that cannot be read."""
        author = self._author(row)
        at = datetime.fromisoformat(str(row["updated_at"]))
        if row.get("was_cancelled"):
            return NoAnswer(task.sample_id, task.id, "", author, at, "skipped")
        result = row.get("result")
        regions = read_regions(result if isinstance(result, list) else [], task.size_hw)
        origin = Origin(OriginKind.HUMAN, author)
        return Annotation(
            sample_id=task.sample_id,
            revision=0,
            instances=verdicts(task.instances, regions, origin, task=task.id),
            origin=origin,
            round=task.round,
            created_at=at,
            seconds=max(0.0, float(row.get("lead_time") or 0.0)),
            size_hw=task.size_hw,
        )

    def _write(self, said: Annotation | NoAnswer, task: Task, digest: str) -> None:
        """A crash may have come between the journal and what was seen: what is there already is not written again."""
        if self._newest.get(task.id) == digest:
            return
        if isinstance(said, NoAnswer):
            self._journal.append_no_answer(self._number, said, digest)
        else:
            self._journal.append(self._number, said, task.id, digest)
        self._newest[task.id] = digest
        self._number += 1

    def _close_the_vanished(self, listed: set[str], now: datetime) -> None:
        """A task that was deleted will not be answered. What was said in one that had an answer stands."""
        for name, path in self._known.items():
            if name not in listed and not self._seen(name):
                task = read_task(path)
                self._write(NoAnswer(task.sample_id, task.id, "", _NAME, now, "skipped"), task, "deleted")

    # --- what is remembered -------------------------------------------------------------------------------

    @cached_property
    def _names(self) -> dict[int, str]:
        return self._client.users()

    def _author(self, row: Mapping[str, Any]) -> str:
        by = row.get("completed_by")
        number = by.get("id") if isinstance(by, Mapping) else by
        if not isinstance(number, int):
            raise BackendRejected(
                "an annotation does not say whose it is", backend=_NAME, operation="read an annotation"
            )
        return self._names.get(number, f"user {number}")

    def _wants_sweep(self, now: datetime) -> bool:
        swept = self._state().get("swept")
        if swept is None or now - datetime.fromisoformat(str(swept)) >= _SWEEP_EVERY:
            return True
        return all(self._seen(name) for name in self._known)

    def _last_look(self) -> datetime | None:
        newest = self._state().get("newest")
        return datetime.fromisoformat(str(newest)) - _OVERLAP if newest is not None else None

    def _state(self) -> dict[str, Any]:
        return read_json(self._work / "polled.json") or {}

    def _remember(self, **more: str) -> None:
        atomic_write(self._work / "polled.json", json.dumps(self._state() | more, sort_keys=True).encode())

    def _seen(self, task: str) -> _Seen:
        rows = (read_json(self._work / "seen" / f"{task}.json") or {}).items()
        return {int(key): (str(when), bool(skipped)) for key, (when, skipped) in rows}

    def _keep_seen(self, task: str, kept: _Seen) -> None:
        atomic_write(self._work / "seen" / f"{task}.json", json.dumps(kept, sort_keys=True).encode())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
