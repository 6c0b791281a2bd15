"""The ledger's decisions: what reviewers said, and whom people are to be asked about again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, select

from pipeline.errors import LedgerError
from pipeline.ports import Verdict
from pipeline.store import schema
from pipeline.store.database import Database, insert_all, put

__all__ = ["HOLD_OUT", "Decided", "Decisions", "Request", "Requests"]

HOLD_OUT = "hold-out"
_D, _R = schema.decisions, schema.requests


@dataclass(frozen=True)
class Decided:
    """A verdict as the ledger holds it, numbered from 1, with the round in which it was taken back."""

    number: int
    verdict: Verdict
    round: int


class Decisions:
    """Rows of `decisions`: added, never changed."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, verdict: Verdict, round_: int) -> None:
        """Write a verdict down. Raises LedgerError for one without a time."""
        if verdict.at is None:
            raise LedgerError(f"the verdict {verdict.decision!r} on {verdict.sample_id} carries no time")
        about = verdict.instance_id or ""
        with self._db.write("decisions.add") as connection:
            row = {"decision": verdict.decision, "author": verdict.author, "at": verdict.at.isoformat()}
            key = {"sample_id": verdict.sample_id, "instance_id": about, "round": round_}
            insert_all(connection, _D, [row | key])

    def all(self, sample_id: str | None = None) -> list[Decided]:
        """Every decision (on one sample, or on all), oldest first."""
        query = select(_D).order_by(_D.c.number)
        if sample_id is not None:
            query = query.where(_D.c.sample_id == sample_id)
        with self._db.read() as connection:
            rows = connection.execute(query).all()
        return [
            Decided(
                row.number,
                Verdict(
                    row.sample_id,
                    row.decision,
                    row.author,
                    row.instance_id or None,
                    datetime.fromisoformat(row.at),
                ),
                row.round,
            )
            for row in rows
        ]

    def held_out_ids(self) -> set[str]:
        """The samples that a reviewer keeps out of training."""
        return set(self.held_out())

    def held_out(self) -> dict[str, tuple[str, ...]]:
        """Who keeps which sample out of training: "hold-out" is what they said of it as a whole last.

        Another reviewer's word does not end that.
        """
        last = {
            (row.verdict.sample_id, row.verdict.author): row.verdict.decision
            for row in self.all()
            if not row.verdict.instance_id
        }
        found: dict[str, tuple[str, ...]] = {}
        for (sample_id, author), decision in last.items():
            if decision == HOLD_OUT:
                found[sample_id] = (*found.get(sample_id, ()), author)
        return found


@dataclass(frozen=True)
class Request:
    """One image that people are to be asked about again. Two requests with one `key` are one."""

    key: str
    sample_id: str
    reason: Literal["fix", "disagreement"]
    author: str
    at: datetime


class Requests:
    """Rows of `requests`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def open(self, request: Request) -> bool:
        """Ask for it, unless it was asked for before: then nothing is written, and the answer is False."""
        with self._db.write("requests.open") as connection:
            if connection.execute(select(_R.c.key).where(_R.c.key == request.key)).first() is not None:
                return False
            row = {"sample_id": request.sample_id, "reason": request.reason, "author": request.author}
            insert_all(connection, _R, [row | {"key": request.key, "at": request.at.isoformat(), "state": "open"}])
        return True

    def waiting(self) -> list[str]:
        """The samples that were asked for and not yet shown again, the longest waiting first."""
        query = select(_R.c.sample_id).where(_R.c.state == "open").order_by(_R.c.at, _R.c.sample_id)
        with self._db.read() as connection:
            return list(dict.fromkeys(connection.execute(query).scalars()))

    def reasons(self, ids: Sequence[str]) -> dict[str, str]:
        """Sample id -> why it is asked about again: its newest request's reason, among `ids`."""
        query = select(_R.c.sample_id, _R.c.reason).order_by(_R.c.at, _R.c.key)
        with self._db.read() as connection:
            found = {row.sample_id: row.reason for row in connection.execute(query)}
        return {sample_id: found[sample_id] for sample_id in ids if sample_id in found}

    def asked(self, ids: Iterable[str]) -> None:
        """These samples are being shown again: their requests are answered."""
        with self._db.write("requests.asked") as connection:
            for key in _open_keys(connection, set(ids)):
                put(connection, _R, {"key": key}, {"state": "asked"})


def _open_keys(connection: Connection, ids: set[str]) -> list[str]:
    rows = connection.execute(select(_R.c.key, _R.c.sample_id).where(_R.c.state == "open"))
    return [row.key for row in rows if row.sample_id in ids]
