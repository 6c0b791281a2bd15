"""The ledger's samples: images, where they came from, what simulations know of them, and what was put aside."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
from pipeline.store.database import Database, chunks, insert_all, put
from pipeline.store.likenesses import add_likenesses

__all__ = ["Samples"]


class Samples:
    """Rows of `samples`, `sources`, `truths` and `quarantine`."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._db = database
        self._now = now

    def add(self, ingested: Sequence[IngestedSample]) -> None:
        """Take samples in. A known id keeps its split and labels, and gains a source; its path too, unless its
        file is gone: then it is read from where it was found again.
        """
        if not ingested:
            return
        with self._db.write("samples.add") as connection:
            known = self._known(connection, [item.sample.id for item in ingested])
            fresh: dict[str, IngestedSample] = {}
            for item in ingested:
                if item.sample.id not in known:
                    fresh.setdefault(item.sample.id, item)
            insert_all(connection, schema.samples, [self._sample_row(item.sample) for item in fresh.values()])
            insert_all(connection, schema.truths, [row for item in fresh.values() for row in _truth_rows(item)])
            append_imported(connection, fresh.values(), self._now())
            add_likenesses(
                connection,
                {key: item.likeness for key, item in fresh.items() if item.likeness is not None},
            )
            self._find_again(connection, [item.sample for item in ingested if item.sample.id in known])
            self._put_sources(connection, ingested)

    def _find_again(self, connection: Connection, samples: Sequence[Sample]) -> None:
        """People rename folders: a sample whose file is gone moves to the path it was found at."""
        table = schema.samples
        for sample in samples:
            path = connection.execute(select(table.c.path).where(table.c.id == sample.id)).scalar_one()
            if not self._db.found(path).is_file() and sample.path.is_file():
                moved = table.update().where(table.c.id == sample.id).values(path=self._db.kept(sample.path))
                connection.execute(moved)

    def _put_sources(self, connection: Connection, ingested: Sequence[IngestedSample]) -> None:
        """Where each sample was found; a path whose file has changed since leads to another sample now."""
        table = schema.sources
        rows = {path: _source_row(path, item) for item in ingested for path in [self._db.kept(item.source)]}
        known: dict[str, dict[str, Any]] = {}
        for part in chunks(list(rows)):
            found = connection.execute(select(table).where(table.c.path.in_(part)))
            known.update((row.path, row._asdict()) for row in found)
        for path, row in known.items():
            if row != rows[path]:
                put(connection, table, {"path": path}, rows[path])
        insert_all(connection, table, [row for path, row in rows.items() if path not in known])

    @staticmethod
    def _known(connection: Connection, ids: Collection[str]) -> set[str]:
        known: set[str] = set()
        for part in chunks(list(ids)):
            query = select(schema.samples.c.id).where(schema.samples.c.id.in_(part))
            known.update(connection.execute(query).scalars())
        return known

    def _sample_row(self, sample: Sample) -> dict[str, Any]:
        height, width = sample.size_hw
        return {
            "id": sample.id,
            "path": self._db.kept(sample.path),
            "height": height,
            "width": width,
            "split": sample.split,
            "group_key": sample.group,
        }

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

    def quarantine(self, *items: Quarantined) -> None:
        """Record why files, or their labels, could not be used, all at once; the newest reason stands."""
        with self._db.write("samples.quarantine") as connection:
            for item in items:
                size, mtime_ns = item.stamp
                row = {"reason": item.reason, "size": size, "mtime_ns": mtime_ns}
                put(connection, schema.quarantine, {"path": self._db.kept(item.path)}, row)

    def set_aside(self, sample_id: str, reason: str) -> None:
        """Take a sample out of every later round. Raises LedgerError for an unknown one."""
        path = self._db.kept(self.get(sample_id).path)
        table = schema.quarantine
        with self._db.write("samples.set_aside") as connection:
            # What ingest said about the same file keeps its stamp, or the file would be read again.
            stamp = connection.execute(
                select(table.c.size, table.c.mtime_ns).where(table.c.path == path)
            ).first() or (0, 0)
            row = {"reason": reason, "size": stamp[0], "mtime_ns": stamp[1], "sample_id": sample_id}
            put(connection, table, {"path": path}, row)

    def quarantined(self) -> list[Quarantined]:
        """Everything that was put aside, sorted by path."""
        with self._db.read() as connection:
            rows = connection.execute(select(schema.quarantine).order_by(schema.quarantine.c.path))
            return [Quarantined(self._db.found(row.path), row.reason, (row.size, row.mtime_ns)) for row in rows]

    def set_aside_ids(self) -> set[str]:
        """The samples that no later round may use."""
        query = select(schema.quarantine.c.sample_id).where(schema.quarantine.c.sample_id.is_not(None))
        with self._db.read() as connection:
            return set(connection.execute(query).scalars())

    def _sample(self, row: Any) -> Sample:
        path: Path = self._db.found(row.path)
        return Sample(row.id, path, (row.height, row.width), row.split, row.group_key)


def _truth_rows(item: IngestedSample) -> Iterator[dict[str, Any]]:
    if item.truth is not None:
        body = json.dumps([instance_row(instance) for instance in item.truth])
        yield {"sample_id": item.sample.id, "instances": body}


def _source_row(path: str, item: IngestedSample) -> dict[str, Any]:
    size, mtime_ns = item.source_stamp
    return {"path": path, "sample_id": item.sample.id, "size": size, "mtime_ns": mtime_ns}
