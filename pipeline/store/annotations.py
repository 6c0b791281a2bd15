"""The ledger's annotations: append-only revisions of who said what about each image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, and_, func, select

from pipeline.domain.dataset import instance_row, parse_instance
from pipeline.domain.ingested import IngestedSample
from pipeline.domain.records import HUMAN_VERIFIED, Annotation, Origin, OriginKind
from pipeline.store import schema
from pipeline.store.database import Database, chunks, set_pointer
from pipeline.store.tasks import answer_task

__all__ = ["Annotations", "append_imported"]

_A, _I = schema.revisions, schema.instances


class Annotations:
    """Rows of `revisions` and `instances`, which the database itself protects from change."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def append(
        self, annotation: Annotation, *, task_id: str | None = None, cursor: tuple[str, str] | None = None
    ) -> Annotation:
        """Add a revision, number it, and return it; what repeats the newest one word for word adds nothing.

        In the same transaction the task `task_id` becomes answered, and the pointer `cursor[0]` is set.
        """
        with self._db.write("annotations.append") as connection:
            stored = _append(connection, annotation)
            if task_id is not None:
                answer_task(connection, task_id, "answered")
            if cursor is not None:
                set_pointer(connection, *cursor)
        return stored

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
        """The samples that anybody has said anything about."""
        with self._db.read() as connection:
            return set(connection.execute(select(_A.c.sample_id).distinct()).scalars())

    def totals(self, until_round: int) -> tuple[int, int, int, float]:
        """What people did up to a round: (images, instances verified in them, clicks, seconds).

        Images and instances count once, by their newest revision; clicks and seconds are everybody's.
        """
        human = and_(_A.c.origin_kind == OriginKind.HUMAN.value, _A.c.round <= until_round)
        newest = (
            select(_A.c.sample_id, func.max(_A.c.revision).label("revision"))
            .where(human)
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
            rows = connection.execution_options(yield_per=1000).execute(query)
            for _, group in groupby(rows, key=lambda row: (row.sample_id, row.revision)):
                yield _annotation(list(group))


def append_imported(connection: Connection, item: IngestedSample, at: datetime) -> None:
    """A sample's imported labels as its first revision."""
    if item.labels is None:
        return
    name = item.labels[0].origin.name if item.labels else item.source.parent.name
    annotation = Annotation(item.sample.id, 0, item.labels, Origin(OriginKind.IMPORTED, name), 0, at)
    _append(connection, annotation)


def _append(connection: Connection, annotation: Annotation) -> Annotation:
    rows = [json.dumps(instance_row(instance), sort_keys=True) for instance in annotation.instances]
    said = [annotation.origin.kind.value, annotation.origin.name, annotation.round, rows]
    content = hashlib.sha256(json.dumps(said).encode()).hexdigest()
    newest = connection.execute(
        select(_A.c.revision, _A.c.content)
        .where(_A.c.sample_id == annotation.sample_id)
        .order_by(_A.c.revision.desc())
        .limit(1)
    ).first()
    if newest is not None and newest.content == content:
        return replace(annotation, revision=newest.revision)
    stored = replace(annotation, revision=1 if newest is None else newest.revision + 1)
    connection.execute(
        _A.insert().values(
            sample_id=stored.sample_id,
            revision=stored.revision,
            origin_kind=stored.origin.kind.value,
            origin_name=stored.origin.name,
            round=stored.round,
            created_at=stored.created_at.isoformat(),
            seconds=stored.seconds,
            content=content,
        )
    )
    if rows:
        connection.execute(_I.insert(), _instance_values(stored, rows))
    return stored


def _instance_values(annotation: Annotation, rows: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "sample_id": annotation.sample_id,
            "revision": annotation.revision,
            "position": position,
            "label": instance.label,
            "state": instance.state.value,
            "clicks": instance.clicks,
            "row": row,
        }
        for position, (instance, row) in enumerate(zip(annotation.instances, rows, strict=True))
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
    )
