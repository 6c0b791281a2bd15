"""The ledger's progress: which products exist, which stages are done, what each round came to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from pipeline.domain.metrics import ClassMetrics, Metrics
from pipeline.domain.rounds import Budget, Round, Selection
from pipeline.errors import LedgerError
from pipeline.store import schema
from pipeline.store.database import Database, chunks, insert_all, put

__all__ = ["Products", "Rounds", "metrics_json", "parse_metrics"]

_P, _S = schema.products, schema.shards


class Products:
    """Rows of `products` and `shards`: what was made for which sample, by fingerprint."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def pending(self, stage: str, fingerprint: str, ids: Sequence[str]) -> list[str]:
        """Those of `ids` that have no product of this fingerprint, in their order."""
        query = select(_P.c.sample_id).where(_P.c.stage == stage, _P.c.fingerprint == fingerprint)
        with self._db.read() as connection:
            made = set(connection.execute(query).scalars())
        return [sample_id for sample_id in ids if sample_id not in made]

    def record(self, stage: str, fingerprint: str, shard: str, sha256: str, ids: Sequence[str]) -> None:
        """A shard that holds the products of `ids` is on the disk."""
        rows = [{"stage": stage, "fingerprint": fingerprint, "sample_id": row, "shard": shard} for row in ids]
        with self._db.write("products.record") as connection:
            put(connection, _S, {"name": shard}, {"sha256": sha256})
            insert_all(connection, _P, rows)

    def shards(self, stage: str, fingerprint: str, ids: Sequence[str]) -> list[str]:
        """The names of the shards that hold the products of `ids`, sorted."""
        names: set[str] = set()
        with self._db.read() as connection:
            for part in chunks(ids):
                where = (_P.c.stage == stage, _P.c.fingerprint == fingerprint, _P.c.sample_id.in_(part))
                names.update(connection.execute(select(_P.c.shard).where(*where).distinct()).scalars())
        return sorted(names)

    def all_shards(self) -> Mapping[str, str]:
        """Shard name -> SHA-256 of the file."""
        with self._db.read() as connection:
            return {row.name: row.sha256 for row in connection.execute(select(_S).order_by(_S.c.name))}


class Rounds:
    """Rows of `marks`, `selections` and `rounds`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def mark(self, round_: int, stage: str, facts: Mapping[str, Any], *, seconds: float | None = None) -> None:
        """A stage of a round is done; `facts` are what it tells the stages after it, `seconds` what it took."""
        with self._db.write("rounds.mark") as connection:
            row = {"facts": json.dumps(dict(facts)), "seconds": seconds}
            put(connection, schema.marks, {"round": round_, "stage": stage}, row)

    def marked(self, round_: int, stage: str) -> dict[str, Any] | None:
        """What a stage told, or None if it is not done."""
        table = schema.marks
        query = select(table.c.facts).where(table.c.round == round_, table.c.stage == stage)
        with self._db.read() as connection:
            body = connection.execute(query).scalar_one_or_none()
        return None if body is None else dict(json.loads(body))

    def marks(self) -> dict[int, dict[str, dict[str, Any]]]:
        """Round -> stage -> what it told, of every stage that is done; rounds in order."""
        found: dict[int, dict[str, dict[str, Any]]] = {}
        with self._db.read() as connection:
            for row in connection.execute(select(schema.marks).order_by(schema.marks.c.round)):
                found.setdefault(row.round, {})[row.stage] = json.loads(row.facts)
        return found

    def seconds(self) -> dict[tuple[int, str], float]:
        """(round, stage) -> what the call that finished it took; a stage that was not measured is left out."""
        table = schema.marks
        query = select(table).where(table.c.seconds.is_not(None)).order_by(table.c.round, table.c.stage)
        with self._db.read() as connection:
            return {(row.round, row.stage): row.seconds for row in connection.execute(query)}

    def save_selection(self, selection: Selection) -> None:
        body = {
            "ranked": list(selection.ranked),
            "strategy": selection.strategy,
            "budget": [selection.budget.unit, selection.budget.amount],
            "seed": selection.seed,
        }
        with self._db.write("rounds.save_selection") as connection:
            put(connection, schema.selections, {"round": selection.round}, {"body": json.dumps(body)})

    def selection(self, round_: int) -> Selection:
        """Raises LedgerError if nothing was selected in that round yet."""
        query = select(schema.selections.c.body).where(schema.selections.c.round == round_)
        with self._db.read() as connection:
            body = connection.execute(query).scalar_one_or_none()
        if body is None:
            raise LedgerError(f"round {round_} has no selection yet")
        row = json.loads(body)
        return Selection(round_, tuple(row["ranked"]), row["strategy"], Budget(*row["budget"]), row["seed"])

    def finish(self, round_: Round) -> None:
        """What a round came to."""
        body = {
            "labelled": round_.labelled,
            "instances": round_.instances,
            "clicks": round_.clicks,
            "human_seconds": round_.human_seconds,
            "promoted": round_.promoted,
            "metrics": json.loads(metrics_json(round_.metrics)),
        }
        with self._db.write("rounds.finish") as connection:
            put(connection, schema.rounds, {"round": round_.round}, {"body": json.dumps(body)})

    def all(self) -> list[Round]:
        """Every finished round, in order."""
        with self._db.read() as connection:
            rows = list(connection.execute(select(schema.rounds).order_by(schema.rounds.c.round)))
        found = []
        for row in rows:
            body = json.loads(row.body)
            metrics = parse_metrics(json.dumps(body.pop("metrics")))
            found.append(Round(round=row.round, metrics=metrics, **body))
        return found


def metrics_json(metrics: Metrics) -> str:
    """Metrics as JSON; the inverse of `parse_metrics`."""
    body = {name: value for name, value in vars(metrics).items() if name != "per_class"}
    return json.dumps({**body, "per_class": {name: vars(row) for name, row in metrics.per_class.items()}})


def parse_metrics(body: str) -> Metrics:
    """Metrics from what `metrics_json` made."""
    row = json.loads(body)
    per_class = {name: ClassMetrics(**values) for name, values in row.pop("per_class").items()}
    return Metrics(per_class=per_class, **row)
