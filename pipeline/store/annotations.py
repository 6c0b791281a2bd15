"""The ledger's annotations: append-only revisions of who said what about each image."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, and_, exists, func, not_, or_, select

from pipeline.domain.dataset import instance_row, parse_instance
from pipeline.domain.ingested import IngestedSample
from pipeline.domain.records import HUMAN_VERIFIED, Annotation, Origin, OriginKind
from pipeline.store import schema
from pipeline.store.database import Database, chunks, insert_all, set_pointer
from pipeline.store.soundness import content_digest
from pipeline.store.tasks import answer_task, round_of_task

__all__ = ["Annotations", "append_imported"]

_A, _I = schema.revisions, schema.instances
_T, _W, _R = schema.tasks, schema.withdrawals, schema.retractions
_Row = dict[str, Any]


class Annotations:
    """Rows of `revisions` and `instances`, which the database itself protects from change."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def append(
        self, annotation: Annotation, *, task_id: str | None = None, cursor: tuple[str, str] | None = None
    ) -> Annotation:
        """Add a revision, number it, and return it; an author who repeats their newest one word for word adds nothing.
        Label files are one author, so that of several the one that was taken in last speaks.

        In the same transaction the task `task_id` becomes answered, and the pointer `cursor[0]` is set. Where several
        people are to answer a task, `close_answered` says when it is.
        """
        with self._db.write("annotations.append") as connection:
            stored = _append(connection, annotation)
            if task_id is not None:
                answer_task(connection, task_id, "answered")
            if cursor is not None:
                set_pointer(connection, *cursor)
        return stored

    def close_answered(self, round_: int, people: int) -> None:
        """The tasks of a round to which so many different people have given answers that stand become answered."""
        asked = select(_T.c.task_id, _T.c.sample_id).where(_T.c.round == round_, _T.c.state == "asked")
        by = [_A.c.origin_kind == OriginKind.HUMAN.value, _A.c.round == round_, _A.c.partial.is_not(True)]
        said = select(_A.c.sample_id).where(*by, _stands()).group_by(_A.c.sample_id)
        enough = said.having(func.count(_A.c.origin_name.distinct()) >= people)
        with self._db.write("annotations.close_answered") as connection:
            for task_id in connection.execute(asked.where(_T.c.sample_id.in_(enough))).scalars().all():
                answer_task(connection, task_id, "answered")

    def append_all(self, annotations: Iterable[Annotation]) -> list[Annotation]:
        """Add a revision of each sample, all or none; those that say something new are returned, numbered."""
        fresh = []
        with self._db.write("annotations.append_all") as connection:
            for annotation in annotations:
                last = select(func.max(_A.c.revision)).where(_A.c.sample_id == annotation.sample_id)
                before = connection.execute(last).scalar_one() or 0
                stored = _append(connection, annotation)
                if stored.revision > before:
                    fresh.append(stored)
        return fresh

    def append_shown(self, annotations: Iterable[Annotation]) -> None:
        """What the machine said of several samples, as they are about to be shown to people."""
        with self._db.write("annotations.append_shown") as connection:
            for annotation in annotations:
                _append(connection, annotation)

    def withdraw(
        self, sample_id: str, author: str, at: datetime, reason: str, task_id: str, *, cursor: tuple[str, str]
    ) -> None:
        """What people answered in a task no longer stands; its revisions stay in the history.

        What they answered in another round stands, and so does what reviewers said of single objects. In the same
        transaction the task is closed ("skipped") or open again ("withdrawn"), and the pointer is set. With "retracted"
        only what `author` answered no longer stands, and the task stays as it is.
        """
        with self._db.write("annotations.withdraw") as connection:
            retracted, round_ = reason == "retracted", round_of_task(connection, task_id)
            answers = [_A.c.sample_id == sample_id, _A.c.origin_kind == OriginKind.HUMAN.value]
            answers += [_A.c.partial.is_not(True)] + ([_A.c.round == round_] if round_ is not None else [])
            answers += [_A.c.origin_name == author] if retracted else []
            newest = connection.execute(select(func.max(_A.c.revision)).where(*answers, _stands())).scalar_one()
            if newest is not None:
                row = {"sample_id": sample_id, "revision": newest, "round": round_, "author": author}
                row |= {"at": at.isoformat()} | ({} if retracted else {"reason": reason})
                insert_all(connection, _R if retracted else _W, [row])
            if not retracted:
                answer_task(connection, task_id, "skipped" if reason == "skipped" else "asked")
            set_pointer(connection, *cursor)

    def latest(self, ids: Collection[str] | None = None) -> Iterator[Annotation]:
        """The newest revision of each sample (of `ids`, or of all), by sample id."""
        newest = select(_A.c.sample_id, func.max(_A.c.revision).label("revision")).group_by(_A.c.sample_id)
        return self._read(newest, ids)

    def history(self, sample_id: str | None = None) -> Iterator[Annotation]:
        """Every revision (of one sample, or of all), by sample id and revision."""
        return self._read(select(_A.c.sample_id, _A.c.revision), None if sample_id is None else [sample_id])

    def imported(self) -> Iterator[Annotation]:
        """What label files said, by sample id."""
        return self._read(
            select(_A.c.sample_id, _A.c.revision).where(_A.c.origin_kind == OriginKind.IMPORTED.value)
        )

    def annotated_ids(self) -> set[str]:
        """The samples of which a person or a label file has said all there is, as far as it stands."""
        return self._ids(_stands(), _A.c.origin_kind != OriginKind.MODEL.value, _A.c.partial.is_not(True))

    def answered_ids(self) -> set[str]:
        """The samples of which a person has said all there is, as far as it stands."""
        human = _A.c.origin_kind == OriginKind.HUMAN.value
        return self._ids(_stands(), human, _A.c.partial.is_not(True))

    def spoken_of_ids(self) -> set[str]:
        """The samples of which a person or a label file has said anything, as far as it stands."""
        return self._ids(_stands(), _A.c.origin_kind != OriginKind.MODEL.value)

    def _ids(self, *where: Any) -> set[str]:
        with self._db.read() as connection:
            return set(connection.execute(select(_A.c.sample_id).where(*where).distinct()).scalars())

    def totals(self, until_round: int) -> tuple[int, int, int, float]:
        """What people did up to a round: (images, instances verified in them, clicks, seconds).

        Images and instances count once, by their newest revision that stands; clicks and seconds are everybody's, but
        for words on single objects: those are reviewers', who leave a mask with the clicks that others gave it.
        """
        human = and_(_A.c.origin_kind == OriginKind.HUMAN.value, _A.c.round <= until_round)
        whole = _A.c.partial.is_not(True)
        newest = (
            select(_A.c.sample_id, func.max(_A.c.revision).label("revision"))
            .where(human, whole, _stands())
            .group_by(_A.c.sample_id)
            .subquery()
        )
        same = and_(_I.c.sample_id == newest.c.sample_id, _I.c.revision == newest.c.revision)
        verified = _I.c.state.in_([state.value for state in HUMAN_VERIFIED])
        belongs = and_(_I.c.sample_id == _A.c.sample_id, _I.c.revision == _A.c.revision)
        with self._db.read() as connection:
            images = connection.execute(select(func.count()).select_from(newest)).scalar_one()
            found = select(func.count()).select_from(_I.join(newest, same)).where(verified)
            instances = connection.execute(found).scalar_one()
            clicks = connection.execute(
                select(func.coalesce(func.sum(_I.c.clicks), 0))
                .select_from(_I.join(_A, belongs))
                .where(human, whole)
            ).scalar_one()
            seconds = connection.execute(
                select(func.coalesce(func.sum(_A.c.seconds), 0.0)).where(human)
            ).scalar_one()
        return int(images), int(instances), int(clicks), float(seconds)

    def _read(self, keys: Any, ids: Collection[str] | None = None) -> Iterator[Annotation]:
        """Annotations of these (sample id, revision) keys, streamed in order."""
        if ids is None:
            yield from self._stream(keys.subquery())
            return
        for part in chunks(sorted(ids)):
            yield from self._stream(keys.where(_A.c.sample_id.in_(part)).subquery())

    def _stream(self, keys: Any) -> Iterator[Annotation]:
        wanted = and_(_A.c.sample_id == keys.c.sample_id, _A.c.revision == keys.c.revision)
        belongs = and_(_I.c.sample_id == _A.c.sample_id, _I.c.revision == _A.c.revision)
        query = (
            select(_A, _I.c.row)
            .select_from(_A.join(keys, wanted).outerjoin(_I, belongs))
            .order_by(_A.c.sample_id, _A.c.revision, _I.c.position)
        )
        with self._db.read() as connection:
            taken_back = _taken_back(connection)
            rows = connection.execution_options(yield_per=1000).execute(query)
            for _, group in groupby(rows, key=lambda row: (row.sample_id, row.revision)):
                said = _annotation(list(group))
                yield replace(said, withdrawn=taken_back.covers(said))


def append_imported(connection: Connection, items: Iterable[IngestedSample], at: datetime) -> None:
    """The imported labels of samples that are new, as their first revisions."""
    revisions: list[_Row] = []
    instances: list[_Row] = []
    for item in items:
        if item.labels is not None:
            name = item.labels[0].origin.name if item.labels else item.source.parent.name
            said = Annotation(item.sample.id, 1, item.labels, Origin(OriginKind.IMPORTED, name), 0, at)
            bodies = _bodies(said)
            revisions.append(_revision_row(said, _content(said, bodies)))
            instances.extend(_instance_rows(said, bodies))
    insert_all(connection, _A, revisions)
    insert_all(connection, _I, instances)


def _append(connection: Connection, annotation: Annotation) -> Annotation:
    bodies = _bodies(annotation)
    content = _content(annotation, bodies)
    origin = annotation.origin
    said = select(_A.c.revision, _A.c.content).where(_A.c.sample_id == annotation.sample_id)
    own = said.where(_A.c.origin_kind == origin.kind.value)
    if origin.kind is not OriginKind.IMPORTED:  # of label files the newest speaks, whatever its name
        own = own.where(_A.c.origin_name == origin.name)
    newest = connection.execute(own.order_by(_A.c.revision.desc()).limit(1)).first()
    if newest is not None and newest.content == content:
        repeated = replace(annotation, revision=newest.revision)
        if not _taken_back(connection, [annotation.sample_id]).covers(repeated):
            return repeated
    last = connection.execute(said.order_by(_A.c.revision.desc()).limit(1)).first()
    stored = replace(annotation, revision=1 if last is None else last.revision + 1)
    insert_all(connection, _A, [_revision_row(stored, content)])
    insert_all(connection, _I, _instance_rows(stored, bodies))
    return stored


@dataclass(frozen=True)
class _TakenBack:
    """Up to which revision people's answers were taken back: those of all, by sample id and round, and those of one
    author, by sample id, round and author. A round of None means every round.
    """

    all: Mapping[tuple[str, int | None], int]
    own: Mapping[tuple[str, int | None, str], int]

    def covers(self, said: Annotation) -> bool:
        if said.origin.kind is not OriginKind.HUMAN or said.partial:
            return False
        rounds = (None, said.round)
        by_all = max(self.all.get((said.sample_id, round_), 0) for round_ in rounds)
        by_one = max(self.own.get((said.sample_id, round_, said.origin.name), 0) for round_ in rounds)
        return said.revision <= max(by_all, by_one)


def _taken_back(connection: Connection, ids: Sequence[str] | None = None) -> _TakenBack:
    """What was taken back, of some samples or of all."""
    keys = {table: (table.c.sample_id, table.c.round) for table in (_W, _R)}
    everybody = select(*keys[_W], func.max(_W.c.revision).label("revision")).group_by(*keys[_W])
    by_one = (*keys[_R], _R.c.author)
    single = select(*by_one, func.max(_R.c.revision).label("revision")).group_by(*by_one)
    if ids is not None:
        everybody, single = everybody.where(_W.c.sample_id.in_(ids)), single.where(_R.c.sample_id.in_(ids))
    return _TakenBack(
        {(row.sample_id, row.round): row.revision for row in connection.execute(everybody)},
        {(row.sample_id, row.round, row.author): row.revision for row in connection.execute(single)},
    )


def _stands() -> Any:
    """Of revisions: not taken back. Only what people answered can be."""

    def taken_back(table: Any, *own: Any) -> Any:
        same = (table.c.sample_id == _A.c.sample_id, or_(table.c.round.is_(None), table.c.round == _A.c.round))
        return exists().where(*same, *own, table.c.revision >= _A.c.revision)

    lost = or_(taken_back(_W), taken_back(_R, _R.c.author == _A.c.origin_name))
    return or_(_A.c.origin_kind != OriginKind.HUMAN.value, _A.c.partial.is_(True), not_(lost))


def _bodies(annotation: Annotation) -> list[str]:
    """Each instance as JSON; a mask stays run-length encoded."""
    return [json.dumps(instance_row(instance), sort_keys=True) for instance in annotation.instances]


def _content(annotation: Annotation, bodies: list[str]) -> str:
    origin = annotation.origin
    return content_digest(origin.kind.value, origin.name, annotation.round, bodies, partial=annotation.partial)


def _revision_row(annotation: Annotation, content: str) -> _Row:
    return {
        "sample_id": annotation.sample_id,
        "revision": annotation.revision,
        "origin_kind": annotation.origin.kind.value,
        "origin_name": annotation.origin.name,
        "round": annotation.round,
        "created_at": annotation.created_at.isoformat(),
        "seconds": annotation.seconds,
        "content": content,
        "partial": annotation.partial or None,
    }


def _instance_rows(annotation: Annotation, bodies: Sequence[str]) -> list[_Row]:
    return [
        {
            "sample_id": annotation.sample_id,
            "revision": annotation.revision,
            "position": position,
            "label": instance.label,
            "state": instance.state.value,
            "clicks": instance.clicks,
            "row": body,
        }
        for position, (instance, body) in enumerate(zip(annotation.instances, bodies, strict=True))
    ]


def _annotation(rows: Sequence[Any]) -> Annotation:
    first = rows[0]
    return Annotation(
        sample_id=first.sample_id,
        revision=first.revision,
        instances=tuple(parse_instance(json.loads(row.row)) for row in rows if row.row is not None),
        origin=Origin(OriginKind(first.origin_kind), first.origin_name),
        round=first.round,
        created_at=datetime.fromisoformat(first.created_at),
        seconds=first.seconds,
        partial=bool(first.partial),
    )
