"""The ledger's likenesses: what each image looks like, coarsely, to find near-duplicates by."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, select

from pipeline.domain.likeness import THUMBNAIL_BYTES, Likeness
from pipeline.errors import LedgerCorrupt
from pipeline.store import schema
from pipeline.store.database import Database, chunks, insert_all

__all__ = ["Likenesses", "add_likenesses"]

_L = schema.likenesses


class Likenesses:
    """Rows of `likenesses`, one a sample; samples of older workspaces may have none."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, rows: Mapping[str, Likeness]) -> None:
        """Keep what samples look like; those whose likeness is known are passed over."""
        if rows:
            with self._db.write("likenesses.add") as connection:
                known: set[str] = set()
                for part in chunks(list(rows)):
                    query = select(_L.c.sample_id).where(_L.c.sample_id.in_(part))
                    known.update(connection.execute(query).scalars())
                add_likenesses(connection, {key: row for key, row in rows.items() if key not in known})

    def all(self) -> dict[str, Likeness]:
        """Sample id -> likeness. Raises LedgerCorrupt for a row that is none."""
        with self._db.read() as connection:
            return {
                row.sample_id: _likeness(row.sample_id, row.phash, row.thumbnail)
                for row in connection.execute(select(_L))
            }

    def missing(self, ids: Collection[str]) -> list[str]:
        """Those of the samples whose likeness is not known, sorted."""
        with self._db.read() as connection:
            known = set(connection.execute(select(_L.c.sample_id)).scalars())
        return sorted(set(ids) - known)


def add_likenesses(connection: Connection, rows: Mapping[str, Likeness]) -> None:
    """Insert the rows of samples that have none, within an open transaction."""
    insert_all(
        connection,
        _L,
        [
            {"sample_id": key, "phash": f"{likeness.phash:016x}", "thumbnail": likeness.thumbnail}
            for key, likeness in rows.items()
        ],
    )


def _likeness(sample_id: str, phash: str, thumbnail: bytes) -> Likeness:
    try:
        bits = int(phash, 16)
    except ValueError as exc:
        raise LedgerCorrupt(f"the perceptual hash of sample {sample_id} is no number: {phash!r}") from exc
    if len(thumbnail) != THUMBNAIL_BYTES or bits >= 1 << 64:
        raise LedgerCorrupt(f"the likeness of sample {sample_id} does not have its size")
    return Likeness(bits, thumbnail)
