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
from pipeline.store.tasks import answer_task

__all__ = ["Annotations", "append_imported"]

_A, _I = schema.revisions, schema.instances
_W, _R = schema.withdrawals, schema.retractions
_Row = dict[str, Any]


class Annotations:
    """Rows of `revisions` and `instances`, which the database itself protects from change."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def append(
        self, annotation: Annotation, *, task_id: str | None = None, cursor: tuple[str, str] | None = None
    ) -> Annotation:
        """Add a revision, number it, and return it; an author who repeats their newest one word for word adds nothing.

        In the same transaction the task `task_id` becomes answered, and the pointer `cursor[0]` is set.
        """
        with self._db.write("annotations.append") as connection:
            stored = _append(connection, annotation)
            if task_id is not None:
                answer_task(connection, task_id, "answered")
            if cursor is not None:
                set_pointer(connection, *cursor)
        return stored

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
        """What people said of a sample no longer stands; its revisions stay in the history.

        In the same transaction the task is closed ("skipped") or open again ("withdrawn"), and the pointer is set.
        With "retracted" only what `author` said no longer stands, and the task stays as it is.
        """
        with self._db.write("annotations.withdraw") as connection:
            said = select(func.max(_A.c.revision)).where(
                _A.c.sample_id == sample_id, _A.c.origin_kind == OriginKind.HUMAN.value
            )
            if reason == "retracted":
                own = connection.execute(said.where(_A.c.origin_name == author)).scalar_one()
                if own is not None and not _taken_back(connection, [sample_id]).covers(sample_id, author, own):
                    insert_all(
                        connection,
                        _R,
                        [{"sample_id": sample_id, "author": author, "revision": own, "at": at.isoformat()}],
                    )
                set_pointer(connection, *cursor)
                return
            newest = connection.execute(said).scalar_one()
            if newest is not None and newest > _taken_back(connection, [sample_id]).all.get(sample_id, 0):
                row = {"author": author, "reason": reason, "at": at.isoformat()}
                insert_all(connection, _W, [{"sample_id": sample_id, "revision": newest, **row}])
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

    def spoken_of_ids(self) -> set[str]:
        """The samples of which a person or a label file has said anything, as far as it stands."""
        return self._ids(_stands(), _A.c.origin_kind != OriginKind.MODEL.value)

    def _ids(self, *where: Any) -> set[str]:
        with self._db.read() as connection:
            return set(connection.execute(select(_A.c.sample_id).where(*where).distinct()).scalars())

    def totals(self, until_round: int) -> tuple[int, int, int, float]:
        """What people did up to a round: (images, instances verified in them, clicks, seconds).

        Images and instances count once, by their newest revision that stands; clicks and seconds are everybody's.
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
                select(func.coalesce(func.sum(_I.c.clicks), 0)).select_from(_I.join(_A, belongs)).where(human)
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
                covered = taken_back.covers(said.sample_id, said.origin.name, said.revision)
                yield replace(said, withdrawn=covered and said.origin.kind is OriginKind.HUMAN)


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
    own = said.where(_A.c.origin_kind == origin.kind.value, _A.c.origin_name == origin.name)
    newest = connection.execute(own.order_by(_A.c.revision.desc()).limit(1)).first()
    taken_back = _taken_back(connection, [annotation.sample_id])
    stands = newest is not None and not taken_back.covers(annotation.sample_id, origin.name, newest.revision)
    if newest is not None and stands and newest.content == content:
        return replace(annotation, revision=newest.revision)
    last = connection.execute(said.order_by(_A.c.revision.desc()).limit(1)).first()
    stored = replace(annotation, revision=1 if last is None else last.revision + 1)
    insert_all(connection, _A, [_revision_row(stored, content)])
    insert_all(connection, _I, _instance_rows(stored, bodies))
    return stored


@dataclass(frozen=True)
class _TakenBack:
    """Up to which revision: what all people said of a sample, and what one author did (sample id and author)."""

    all: Mapping[str, int]
    own: Mapping[tuple[str, str], int]

    def covers(self, sample_id: str, author: str, revision: int) -> bool:
        return revision <= max(self.all.get(sample_id, 0), self.own.get((sample_id, author), 0))


def _taken_back(connection: Connection, ids: Sequence[str] | None = None) -> _TakenBack:
    """What was taken back, of some samples or of all."""
    everybody = select(_W.c.sample_id, func.max(_W.c.revision).label("revision")).group_by(_W.c.sample_id)
    keys = (_R.c.sample_id, _R.c.author)
    single = select(*keys, func.max(_R.c.revision).label("revision")).group_by(*keys)
    if ids is not None:
        everybody, single = everybody.where(_W.c.sample_id.in_(ids)), single.where(_R.c.sample_id.in_(ids))
    return _TakenBack(
        {row.sample_id: row.revision for row in connection.execute(everybody)},
        {(row.sample_id, row.author): row.revision for row in connection.execute(single)},
    )


def _stands() -> Any:
    """Of revisions: not taken back. Only what people said can be."""
    by_all = exists().where(_W.c.sample_id == _A.c.sample_id, _W.c.revision >= _A.c.revision)
    own = (_R.c.sample_id == _A.c.sample_id, _R.c.author == _A.c.origin_name)
    by_one = exists().where(*own, _R.c.revision >= _A.c.revision)
    return or_(_A.c.origin_kind != OriginKind.HUMAN.value, not_(or_(by_all, by_one)))


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
