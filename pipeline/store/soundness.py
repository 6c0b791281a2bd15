"""Proof that the ledger is sound: the database's own structure, and every row that it holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from sqlalchemy import and_, select

from pipeline.domain.dataset import parse_instance
from pipeline.errors import PipelineError
from pipeline.store import schema
from pipeline.store.database import Database

__all__ = ["Soundness", "content_digest"]

_A, _I, _P, _S = schema.revisions, schema.instances, schema.products, schema.shards
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, PipelineError)
"""What reading a damaged row raises."""


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
        yield from self._of_structure()
        for name, read in self._readers.items():
            try:
                read()
            except _UNREADABLE as exc:
                yield f"{name} cannot be read: {' '.join(str(exc).split())}"
        yield from self._of_annotations()
        yield from self._of_products()

    def _of_structure(self) -> Iterator[str]:
        with self._db.read() as connection:
            if connection.dialect.name != "sqlite":
                return
            for (line,) in connection.exec_driver_sql("PRAGMA integrity_check(10)"):
                if line != "ok":
                    yield f"the database is damaged: {line}"
            for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
                yield f"a row of {row[0]} refers to one of {row[2]} that is not there"

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


def _agrees(row: Any) -> bool:
    """Whether an object's columns say what its row says."""
    try:
        item = parse_instance(json.loads(row.row))
    except _UNREADABLE:
        return False
    return bool((item.label, item.state.value, item.clicks) == (row.label, row.state, row.clicks))
