"""The ledger's samples: images, where they came from, what simulations know of them, and what was put aside."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from pipeline.domain.dataset import instance_row, parse_instance
from pipeline.domain.ingested import IngestedSample, Quarantined
from pipeline.domain.records import Instance, Sample, Split
from pipeline.errors import LedgerError
from pipeline.store import schema
from pipeline.store.annotations import append_imported
from pipeline.store.database import Database, chunks, put

__all__ = ["Samples"]


class Samples:
    """Rows of `samples`, `sources`, `truths` and `quarantine`."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._db = database
        self._now = now

    def add(self, ingested: Sequence[IngestedSample]) -> None:
        """Take samples in. A known id keeps its path, split and labels; it only gains a source."""
        if not ingested:
            return
        with self._db.write("samples.add") as connection:
            known = self._known(connection, {item.sample.id for item in ingested})
            for item in ingested:
                if item.sample.id not in known:
                    known.add(item.sample.id)
                    self._insert(connection, item)
                size, mtime_ns = item.source_stamp
                row = {"sample_id": item.sample.id, "size": size, "mtime_ns": mtime_ns}
                put(connection, schema.sources, {"path": self._db.kept(item.source)}, row)

    def _known(self, connection: Connection, ids: Collection[str]) -> set[str]:
        known: set[str] = set()
        for part in chunks(sorted(ids)):
            query = select(schema.samples.c.id).where(schema.samples.c.id.in_(part))
            known.update(connection.execute(query).scalars())
        return known

    def _insert(self, connection: Connection, item: IngestedSample) -> None:
        sample = item.sample
        height, width = sample.size_hw
        connection.execute(
            schema.samples.insert().values(
                id=sample.id,
                path=self._db.kept(sample.path),
                height=height,
                width=width,
                split=sample.split,
                group_key=sample.group,
            )
        )
        if item.truth is not None:
            body = json.dumps([instance_row(instance) for instance in item.truth])
            connection.execute(schema.truths.insert().values(sample_id=sample.id, instances=body))
        append_imported(connection, item, self._now())

    def all(self, split: Split | None = None) -> list[Sample]:
        """Every sample, or those of one split, sorted by id."""
        query = select(schema.samples).order_by(schema.samples.c.id)
        if split is not None:
            query = query.where(schema.samples.c.split == split)
        with self._db.read() as connection:
            return [self._sample(row) for row in connection.execute(query)]

    def some(self, ids: Collection[str]) -> dict[str, Sample]:
        """The samples of these ids, by id. Raises LedgerError for an unknown one."""
        found: dict[str, Sample] = {}
        with self._db.read() as connection:
            for part in chunks(list(ids)):
                for row in connection.execute(select(schema.samples).where(schema.samples.c.id.in_(part))):
                    found[row.id] = self._sample(row)
        missing = [sample_id for sample_id in ids if sample_id not in found]
        if missing:
            raise LedgerError(f"the ledger knows no sample {missing[0]}")
        return found

    def get(self, sample_id: str) -> Sample:
        """Raises LedgerError for an unknown id."""
        return self.some([sample_id])[sample_id]

    def count(self) -> int:
        with self._db.read() as connection:
            return int(connection.execute(select(func.count()).select_from(schema.samples)).scalar_one())

    def sources(self) -> Mapping[str, tuple[str, tuple[int, int]]]:
        """Source path -> (sample id, (size in bytes, mtime_ns))."""
        with self._db.read() as connection:
            return {
                str(self._db.found(row.path)): (row.sample_id, (row.size, row.mtime_ns))
                for row in connection.execute(select(schema.sources))
            }

    def truth(self, sample_id: str) -> tuple[Instance, ...] | None:
        """What a simulation knows of a sample; None where nothing is known."""
        query = select(schema.truths.c.instances).where(schema.truths.c.sample_id == sample_id)
        with self._db.read() as connection:
            body = connection.execute(query).scalar_one_or_none()
        return None if body is None else tuple(parse_instance(row) for row in json.loads(body))

    def quarantine(self, item: Quarantined) -> None:
        """Record why a file, or its labels, could not be used; the newest reason stands."""
        self._put_aside(item, None)

    def set_aside(self, sample_id: str, reason: str) -> None:
        """Take a sample out of every later round."""
        self._put_aside(Quarantined(self.get(sample_id).path, reason, (0, 0)), sample_id)

    def _put_aside(self, item: Quarantined, sample_id: str | None) -> None:
        size, mtime_ns = item.stamp
        row = {"reason": item.reason, "size": size, "mtime_ns": mtime_ns, "sample_id": sample_id}
        with self._db.write("samples.quarantine") as connection:
            put(connection, schema.quarantine, {"path": self._db.kept(item.path)}, row)

    def quarantined(self) -> list[Quarantined]:
        """Everything that was put aside, sorted by path."""
        with self._db.read() as connection:
            rows = connection.execute(select(schema.quarantine).order_by(schema.quarantine.c.path))
            return [Quarantined(self._db.found(row.path), row.reason, (row.size, row.mtime_ns)) for row in rows]

    def set_aside_ids(self) -> set[str]:
        query = select(schema.quarantine.c.sample_id).where(schema.quarantine.c.sample_id.is_not(None))
        with self._db.read() as connection:
            return set(connection.execute(query).scalars())

    def _sample(self, row: Any) -> Sample:
        path: Path = self._db.found(row.path)
        return Sample(row.id, path, (row.height, row.width), row.split, row.group_key)
