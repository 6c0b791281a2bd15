"""What people have said, from Label Studio to the journal.

A webhook may be lost, late or forged, and a clock may jump: only looking tells. The tasks that changed since the last
look, by the server's own clock and with an overlap, are listed with the numbers and times of their annotations; only
annotations that are new or changed are read, and only other content is another answer. A whole sweep, which sees what
times do not tell, such as a task that was deleted, is made whenever every task has its answer, before the round goes
on, and now and then while it waits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from connectors.journal import Journal
from connectors.label_studio.click_log import ClickLog
from connectors.label_studio.client import Client
from connectors.label_studio.convert import read_regions
from connectors.label_studio.project import Project
from connectors.label_studio.verdicts import verdicts
from connectors.tasks import Task, Tasks, read_task, task_id
from connectors.work_folder import atomic_write, read_json
from pipeline.domain.mask import Mask
from pipeline.domain.records import Annotation, Origin, OriginKind
from pipeline.errors import DataError
from pipeline.ports import NoAnswer, Unusable

__all__ = ["Collector"]

_OVERLAP = timedelta(minutes=5)
_SWEEP_EVERY = timedelta(minutes=2)
_LIGHT = "id,data,updated_at,annotations"
"""With these fields alone, annotations come as numbers and times."""
_NAME = "label_studio"
_NOBODY = "none."
"""How the digest begins of an entry that opens a task again."""


@dataclass(frozen=True)
class _Saw:
    """An annotation as it was last read: the time of its last change, whether it is a skip, the number of the
    task, as Label Studio counts them, that it is in, and whose it is."""

    when: str
    skipped: bool
    row: int
    author: str = ""


class Collector:
    """Reads the answers to `tasks` into `journal`; `work` keeps what was seen."""

    def __init__(self, client: Client, project: Project, tasks: Tasks, journal: Journal, work: Path) -> None:
        self._client = client
        self._project = project
        self._tasks = tasks
        self._journal = journal
        self._work = work
        self._clicks = ClickLog(work / "clicks")
        self._people: dict[int, str] = {}
        self._told: set[tuple[int, str]] = set()

    def take_in(self, since: str | None, now: datetime) -> list[Unusable]:
        """Write down every answer that is new; the answers that cannot be used are told, each once.

        The project must be open. Raises DataError for a foreign cursor, BadFormat for a damaged record.
        """
        self._known = self._tasks.known()
        self._newest = dict(self._journal.newest())
        self._number = self._journal.next_number(since)
        rows = list(self._listed(self._last_look()))
        unusable = self._look_at(rows)
        if self._wants_sweep(now):
            rows = list(self._listed(None))
            unusable += self._look_at(rows)
            self._close_the_vanished({self._task_id(row) for row in rows}, now)
            self._remember(swept=now.isoformat())
        newest = max((str(row["updated_at"]) for row in rows), default=None)
        if newest is not None:
            self._remember(newest=newest)
        return unusable

    def _listed(self, since: datetime | None) -> Iterator[dict[str, Any]]:
        return self._client.tasks(self._project.id, key=self._project.key, since=since, include=_LIGHT)

    def _task_id(self, row: Mapping[str, Any]) -> str:
        """Which of our tasks it is; empty for one whose key somebody has changed."""
        _, _, rest = str(row["data"].get("maskloop_key")).partition("/")
        number, _, sample = rest.partition("/")
        return task_id(int(number), sample) if number.isdecimal() else ""

    def _look_at(self, rows: Iterable[Mapping[str, Any]]) -> list[Unusable]:
        """Tasks with one key are one task."""
        by_task: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            by_task.setdefault(self._task_id(row), []).append(row)
        return [told for name, own in by_task.items() if name in self._known for told in self._look(name, own)]

    # --- one task -----------------------------------------------------------------------------------------

    def _look(self, name: str, rows: Sequence[Mapping[str, Any]]) -> list[Unusable]:
        """Write down what is new in one task, oldest first."""
        listed = {
            int(one["id"]): (str(one["updated_at"]), int(row["id"]))
            for row in rows
            for one in row.get("annotations") or []
        }
        seen, looked_at = self._seen(name), {int(row["id"]) for row in rows}
        kept = {key: saw for key, saw in seen.items() if key in listed or saw.row not in looked_at}
        fresh = [key for key in listed if key not in seen or seen[key].when != listed[key][0]]
        if len(kept) == len(seen) and not fresh:
            return []
        task, lost, unusable = read_task(self._known[name]), len(kept) < len(seen), []
        for key in sorted(fresh, key=lambda one: (listed[one], one)):
            try:
                read = self._read(key, task)
            except DataError as exc:
                unusable += self._tell(key, *listed[key], exc)
                continue
            if read is None:
                continue  # deleted a moment ago: the next look sees that
            skipped = isinstance(read[0], NoAnswer)
            lost = lost or (skipped and key in kept and not kept[key].skipped)
            kept[key] = _Saw(listed[key][0], skipped, listed[key][1], _author_of(read[0]))
            if not skipped or all(saw.skipped for saw in kept.values()):
                self._write(*read, task)
                if not lost:
                    self._keep_seen(name, kept)  # at once: a crash must not have it written down twice
        if lost:
            at = max(str(row["updated_at"]) for row in rows)
            unusable += self._write_what_is_left(seen, kept, task, at)
        if kept != seen:
            self._keep_seen(name, kept)
        return unusable

    def _write_what_is_left(
        self, seen: Mapping[int, _Saw], kept: Mapping[int, _Saw], task: Task, at: str
    ) -> list[Unusable]:
        """After a deletion, or a skip: what each of the others has answered stands, else a skip, else nothing."""
        left = {saw.author: key for key, saw in sorted(kept.items(), key=_by_time) if not saw.skipped}
        gone = {saw.author for saw in seen.values() if not saw.skipped and saw.author} - left.keys()
        if left:
            when = datetime.fromisoformat(at)
            for author in sorted(gone):
                nothing = NoAnswer(task.sample_id, task.id, "", author, when, "retracted")
                self._write(nothing, f"retracted.{_sha(author + at)}", task)
        else:
            left = {saw.author: key for key, saw in sorted(kept.items(), key=_by_time)[-1:]}
        if not left:
            nobody = NoAnswer(task.sample_id, task.id, "", _NAME, datetime.fromisoformat(at), "withdrawn")
            self._write(nobody, f"{_NOBODY}{_sha(at)}", task)
        unusable = []
        for key in sorted(left.values(), key=lambda key: _by_time((key, kept[key]))):
            try:
                read = self._read(key, task)
            except DataError as exc:
                unusable += self._tell(key, kept[key].when, kept[key].row, exc)
                continue
            if read is not None:
                self._write(*read, task)
        return unusable

    def _tell(self, key: int, when: str, row: int, problem: DataError) -> list[Unusable]:
        if (key, when) in self._told:
            return []
        self._told.add((key, when))
        where = f"{self._client.url}/projects/{self._project.id}/data?task={row}"
        return [Unusable(where, problem.reason)]

    def _read(self, key: int, task: Task) -> tuple[Annotation | NoAnswer, str] | None:
        """What an annotation says, with a digest of it; None for one that is gone. Raises DataError for a result that
        cannot be read.
        """
        row = self._client.annotation(key)
        if row is None:
            return None
        author, result, skipped = self._author(row), row.get("result"), bool(row.get("was_cancelled"))
        at = datetime.fromisoformat(str(row["updated_at"]))
        digest = f"{key}.{_sha(json.dumps([skipped, result], sort_keys=True))}"
        if skipped:
            return NoAnswer(task.sample_id, task.id, "", author, at, "skipped"), digest
        regions = read_regions(result if isinstance(result, list) else [], task.size_hw)
        origin = Origin(OriginKind.HUMAN, author)
        said = Annotation(
            sample_id=task.sample_id,
            revision=0,
            instances=verdicts(task.instances, regions, origin, task=task.id, clicks=self._counted(row)),
            origin=origin,
            round=task.round,
            created_at=at,
            seconds=max(0.0, float(row.get("lead_time") or 0.0)),
            size_hw=task.size_hw,
        )
        return said, digest

    def _counted(self, row: Mapping[str, Any]) -> Callable[[str, Mask], int]:
        """How many clicks the backend saw for a region's mask, in the task of this annotation."""
        return lambda region, mask: self._clicks.clicks(str(row.get("task")), region, mask)

    def _write(self, said: Annotation | NoAnswer, digest: str, task: Task) -> None:
        """Unless it is what was last written down for its task."""
        if self._newest.get(task.id) == digest:
            return
        if isinstance(said, NoAnswer):
            self._journal.append_no_answer(self._number, said, digest)
        else:
            self._journal.append(self._number, said, task.id, digest)
        self._newest[task.id] = digest
        self._number += 1

    def _is_open(self, name: str) -> bool:
        return self._newest.get(name, _NOBODY).startswith(_NOBODY)

    def _close_the_vanished(self, listed: set[str], now: datetime) -> None:
        """A task that was deleted will not be answered. What was said in one that had an answer stands.

        A listing in pages may miss a row while people delete others: each is looked for by itself before.
        """
        for name in [name for name in self._known if name not in listed and self._is_open(name)]:
            task = read_task(self._known[name])
            key = f"{self._project.key}/{task.round}/{task.sample_id}"
            if next(self._client.tasks(self._project.id, key=key), None) is None:
                self._write(NoAnswer(task.sample_id, task.id, "", _NAME, now, "skipped"), "deleted", task)

    def _author(self, row: Mapping[str, Any]) -> str:
        """The e-mail address of who has said it; where an account was deleted nobody is named."""
        by = row.get("completed_by")
        number = by.get("id") if isinstance(by, Mapping) else by
        if not isinstance(number, int):
            return _NAME
        if number not in self._people:
            self._people = self._client.users()
        return self._people.get(number, f"user {number}")

    # --- what is remembered -------------------------------------------------------------------------------

    def _wants_sweep(self, now: datetime) -> bool:
        swept = self._state().get("swept")
        if swept is None or abs(now - datetime.fromisoformat(str(swept))) >= _SWEEP_EVERY:
            return True
        return not any(self._is_open(name) for name in self._known)

    def _last_look(self) -> datetime | None:
        newest = self._state().get("newest")
        return datetime.fromisoformat(str(newest)) - _OVERLAP if newest is not None else None

    def _state(self) -> dict[str, Any]:
        return read_json(self._work / "polled.json") or {}

    def _remember(self, **more: str) -> None:
        atomic_write(self._work / "polled.json", json.dumps(self._state() | more, sort_keys=True).encode())

    def _seen(self, name: str) -> dict[int, _Saw]:
        rows = (read_json(self._work / "seen" / f"{name}.json") or {}).items()
        return {
            int(key): _Saw(str(when), bool(skipped), int(row), *author)
            for key, (when, skipped, row, *author) in rows
        }

    def _keep_seen(self, name: str, kept: Mapping[int, _Saw]) -> None:
        rows = {key: astuple(saw) for key, saw in kept.items()}
        atomic_write(self._work / "seen" / f"{name}.json", json.dumps(rows, sort_keys=True).encode())


def _by_time(item: tuple[int, _Saw]) -> tuple[str, int]:
    key, saw = item
    return saw.when, key


def _author_of(said: Annotation | NoAnswer) -> str:
    return said.author if isinstance(said, NoAnswer) else said.origin.name


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
