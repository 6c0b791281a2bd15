"""Proof that the ledger is sound: the database's own structure, and every row that it holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from sqlalchemy import and_, select

from pipeline.domain.dataset import parse_instance
from pipeline.domain.rounds import STAGES
from pipeline.errors import PipelineError
from pipeline.store import schema
from pipeline.store.database import Database, row_digest

__all__ = ["Soundness", "content_digest"]

_A, _I, _P, _S = schema.revisions, schema.instances, schema.products, schema.shards
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, PipelineError)
"""What reading a damaged row raises."""


_JSON = (
    schema.truths.c.instances,
    schema.marks.c.facts,
    schema.selections.c.body,
    schema.rounds.c.body,
    schema.versions.c.counts,
    schema.models.c.class_names,
    schema.evaluations.c.body,
    schema.promotions.c.body,
)
_VALUES = {
    schema.samples.c.split: ("test", "train", "val"),
    schema.tasks.c.state: ("answered", "asked", "refused", "skipped"),
    schema.intents.c.state: ("closed", "open"),
    schema.requests.c.state: ("asked", "open"),
    schema.withdrawals.c.reason: ("skipped", "withdrawn"),
    schema.marks.c.stage: STAGES,
}


def content_digest(kind: str, name: str, round_: int, bodies: list[str], *, partial: bool) -> str:
    """The SHA-256 of who said what in which round; when and how slowly it was said does not count."""
    said = [kind, name, round_, bodies]
    said += ["partial"] if partial else []
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


class Soundness:
    """Reads all that there is; `readers` are the other topics' own ways of reading everything, by name."""

    def __init__(self, database: Database, readers: dict[str, Callable[[], object]]) -> None:
        self._db = database
        self._readers = readers

    def problems(self) -> Iterator[str]:
        """Everything that is wrong, in words. What it cannot know: numbers that no digest covers, such as seconds."""
        for look in (
            self._of_structure,
            self._of_topics,
            self._of_columns,
            self._of_digests,
            self._of_annotations,
            self._of_products,
        ):
            try:
                yield from look()
            except PipelineError as exc:
                yield str(exc)

    def _of_topics(self) -> Iterator[str]:
        for name, read in self._readers.items():
            try:
                read()
            except _UNREADABLE as exc:
                yield f"{name} cannot be read: {' '.join(str(exc).split())}"

    def _of_structure(self) -> Iterator[str]:
        with self._db.read() as connection:
            if connection.dialect.name != "sqlite":
                return
            for (line,) in connection.exec_driver_sql("PRAGMA integrity_check(10)"):
                if line != "ok":
                    yield f"the database is damaged: {line}"
            for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
                yield f"a row of {row[0]} refers to one of {row[2]} that is not there"

    def _of_columns(self) -> Iterator[str]:
        """Columns that hold JSON, and those that know few values."""
        with self._db.read() as connection:
            for column in _JSON:
                for text in connection.execute(select(column)).scalars():
                    if not _is_json(text):
                        yield f"{column} holds what is no JSON: {text!s:.40}"
            for column, values in _VALUES.items():
                strange = select(column).where(column.not_in(values)).distinct().order_by(column)
                for value in connection.execute(strange).scalars():
                    yield f"{column} is {value!r}, which is none of {', '.join(values)}"

    def _of_digests(self) -> Iterator[str]:
        """The rows of the tables that have digests, each against its own."""
        with self._db.read() as connection:
            for table, columns in schema.DIGESTED.items():
                rows = connection.execution_options(yield_per=1000).execute(select(table.c.digest, *columns))
                for digest, *values in rows:
                    if digest is None or row_digest(*values) != digest:
                        yield f"row {values[0]} of {table.name} is not what was written"

    def _of_annotations(self) -> Iterator[str]:
        """Every revision against the digest it was stored with, every object against its own columns."""
        belongs = and_(_I.c.sample_id == _A.c.sample_id, _I.c.revision == _A.c.revision)
        columns = (_I.c.row, _I.c.label, _I.c.state, _I.c.clicks)
        query = (
            select(_A, *columns)
            .select_from(_A.outerjoin(_I, belongs))
            .order_by(_A.c.sample_id, _A.c.revision, _I.c.position)
        )
        with self._db.read() as connection:
            rows = connection.execution_options(yield_per=1000).execute(query)
            for (sample_id, revision), group in groupby(rows, key=lambda row: (row.sample_id, row.revision)):
                said = list(group)
                objects = [row for row in said if row.row is not None]
                first, bodies = said[0], [row.row for row in objects]
                digest = content_digest(
                    first.origin_kind, first.origin_name, first.round, bodies, partial=bool(first.partial)
                )
                if digest != first.content or not all(map(_agrees, objects)):
                    yield f"revision {revision} of image {sample_id} is not what was written"

    def _of_products(self) -> Iterator[str]:
        known = select(_S.c.name)
        query = select(_P.c.shard).where(_P.c.shard.not_in(known)).distinct().order_by(_P.c.shard)
        with self._db.read() as connection:
            for name in connection.execute(query).scalars():
                yield f"shard {name} has products and no digest"


def _is_json(text: Any) -> bool:
    try:
        json.loads(text)
    except (ValueError, TypeError):  # where text was, a damaged row may hold anything
        return False
    return True


def _agrees(row: Any) -> bool:
    """Whether an object's columns say what its row says."""
    try:
        item = parse_instance(json.loads(row.row))
    except _UNREADABLE:
        return False
    return bool((item.label, item.state.value, item.clicks) == (row.label, row.state, row.clicks))
