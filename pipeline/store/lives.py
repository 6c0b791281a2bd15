"""The ledger's topics seen from one image: what was made of it, asked about it, taken back and set aside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from pipeline.store import schema
from pipeline.store.database import Database
from pipeline.store.decisions import Request

__all__ = ["Asked", "Lives", "TakenBack"]

_G = schema.retractions
_P, _T, _W, _R, _Q = schema.products, schema.tasks, schema.withdrawals, schema.requests, schema.quarantine


@dataclass(frozen=True)
class Asked:
    """One task about the image; `state` is "asked", "answered", "skipped" or "refused"."""

    round: int
    task_id: str
    state: str


@dataclass(frozen=True)
class TakenBack:
    """What people said up to `revision` no longer stands, since `at`."""

    revision: int
    author: str
    reason: str
    at: datetime


class Lives:
    """Every method answers about one sample id; an unknown one has no rows."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def sources(self, sample_id: str) -> list[Path]:
        """Where the image was found, sorted."""
        table = schema.sources
        query = select(table.c.path).where(table.c.sample_id == sample_id).order_by(table.c.path)
        with self._db.read() as connection:
            return [self._db.found(path) for path in connection.execute(query).scalars()]

    def products(self, sample_id: str) -> dict[tuple[str, str], str]:
        """(stage, fingerprint) -> the name of the shard that holds the product."""
        query = select(_P.c.stage, _P.c.fingerprint, _P.c.shard).where(_P.c.sample_id == sample_id)
        with self._db.read() as connection:
            return {(row.stage, row.fingerprint): row.shard for row in connection.execute(query)}

    def tasks(self, sample_id: str) -> list[Asked]:
        """In the order of rounds."""
        query = select(_T).where(_T.c.sample_id == sample_id).order_by(_T.c.round)
        with self._db.read() as connection:
            return [Asked(row.round, row.task_id, row.state) for row in connection.execute(query)]

    def withdrawals(self, sample_id: str) -> list[TakenBack]:
        """What all people said, and what one author did ("retracted"), in the order of revisions."""
        by_all = select(_W).where(_W.c.sample_id == sample_id)
        by_one = select(_G).where(_G.c.sample_id == sample_id)
        with self._db.read() as connection:
            rows = [(row.revision, row.author, row.reason, row.at) for row in connection.execute(by_all)]
            rows += [(row.revision, row.author, "retracted", row.at) for row in connection.execute(by_one)]
        return [
            TakenBack(revision, author, reason, datetime.fromisoformat(at))
            for revision, author, reason, at in sorted(rows)
        ]

    def requests(self, sample_id: str) -> list[tuple[Request, str]]:
        """Every request to ask people again, with its state ("open" or "asked"), oldest first."""
        query = select(_R).where(_R.c.sample_id == sample_id).order_by(_R.c.at, _R.c.key)
        with self._db.read() as connection:
            rows = connection.execute(query).all()
        return [
            (Request(row.key, row.sample_id, row.reason, row.author, datetime.fromisoformat(row.at)), row.state)
            for row in rows
        ]

    def set_aside(self, sample_id: str) -> str | None:
        """Why no later round uses the image; None if it may be used."""
        query = select(_Q.c.reason).where(_Q.c.sample_id == sample_id).limit(1)
        with self._db.read() as connection:
            reason: str | None = connection.execute(query).scalar_one_or_none()
        return reason
