"""The ledger's models, their judgements, the dataset versions they learnt from, and named pointers."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from pipeline.domain.dataset import DatasetVersion
from pipeline.domain.metrics import Metrics
from pipeline.domain.rounds import ModelRef
from pipeline.errors import LedgerError
from pipeline.store import schema
from pipeline.store.database import Database, get_pointer, put, set_pointer
from pipeline.store.progress import metrics_json, parse_metrics

__all__ = ["Evaluations", "Models", "Pointers", "Trained", "Versions"]

_HEAD = "head"
"""The pointer to the newest complete dataset version."""
_DROPPED = "dropped-folders"
"""The pointer to the versions whose training folders may be gone."""
_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_M, _V, _E = schema.models, schema.versions, schema.evaluations


@dataclass(frozen=True)
class Trained:
    """A model of the ledger: which round trained it, and from which model (None: from the starting weights)."""

    model: ModelRef
    round: int
    base: str | None


class Models:
    """Rows of `models`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, model: ModelRef, round_: int, base: str | None = None) -> None:
        """Record a model, and the id of the one it was trained from; one that is known already stays as it is."""
        with self._db.write("models.add") as connection:
            if connection.execute(select(_M.c.id).where(_M.c.id == model.id)).first() is None:
                connection.execute(
                    _M.insert().values(
                        id=model.id,
                        weights=self._db.kept(model.weights),
                        sha256=model.sha256,
                        class_names=json.dumps(list(model.class_names)),
                        trained_on=model.trained_on,
                        base=base,
                        round=round_,
                    )
                )

    def get(self, model_id: str) -> ModelRef:
        """Raises LedgerError for an unknown id."""
        with self._db.read() as connection:
            row = connection.execute(select(_M).where(_M.c.id == model_id)).first()
        if row is None:
            raise LedgerError(f"the ledger knows no model {model_id}")
        return self._model(row)

    def all(self) -> list[ModelRef]:
        """Every model, oldest first."""
        return [row.model for row in self.lineage()]

    def lineage(self) -> list[Trained]:
        """Every model with where it came from, oldest first."""
        with self._db.read() as connection:
            rows = connection.execute(select(_M).order_by(_M.c.round, _M.c.id)).all()
        return [Trained(self._model(row), row.round, row.base) for row in rows]

    def _model(self, row: Any) -> ModelRef:
        weights = self._db.found(row.weights)
        return ModelRef(row.id, weights, row.sha256, tuple(json.loads(row.class_names)), row.trained_on)


class Versions:
    """Rows of `versions`: which dataset version each round made."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, version: DatasetVersion, round_: int, *, config: str = "", code: str = "") -> None:
        """The version of a round is complete: from now on it is the head.

        `config` is the digest of the configuration that made it, `code` names the code; both "" if nobody knows.
        """
        row = {"id": version.id, "parent": version.parent, "counts": json.dumps(dict(version.counts))}
        with self._db.write("versions.add") as connection:
            put(connection, _V, {"round": round_}, row | {"config": config or None, "code": code or None})
            set_pointer(connection, _HEAD, version.id)

    def head(self) -> DatasetVersion | None:
        """The newest complete version, None before the first."""
        newest = select(_V).order_by(_V.c.round.desc())
        with self._db.read() as connection:
            # A ledger that an older version of maskloop made may have versions and no pointer yet.
            name = get_pointer(connection, _HEAD)
            query = newest if name is None else newest.where(_V.c.id == name)
            row = connection.execute(query.limit(1)).first()
        return None if row is None else self._version(row)

    def made_by(self) -> dict[int, tuple[str, str]]:
        """Round -> (digest of the configuration, code) that made its version; "" where nobody knows."""
        with self._db.read() as connection:
            rows = connection.execute(select(_V).order_by(_V.c.round))
            return {row.round: (row.config or "", row.code or "") for row in rows}

    def of_round(self, round_: int) -> DatasetVersion | None:
        """The version that a round made, or None."""
        with self._db.read() as connection:
            row = connection.execute(select(_V).where(_V.c.round == round_)).first()
        return None if row is None else self._version(row)

    def all(self) -> list[DatasetVersion]:
        """The versions of all rounds, oldest first; a round without news repeats the one before."""
        return list(self.by_round().values())

    def by_round(self) -> dict[int, DatasetVersion]:
        """Round -> the version that it made, in the order of rounds."""
        with self._db.read() as connection:
            rows = connection.execute(select(_V).order_by(_V.c.round))
            return {row.round: self._version(row) for row in rows}

    def drop_folders(self, ids: Collection[str]) -> None:
        """The training folders of these versions may be gone: their manifests make them again."""
        with self._db.write("versions.drop_folders") as connection:
            known = _dropped(connection)
            set_pointer(connection, _DROPPED, json.dumps(sorted({*known, *ids})))

    def dropped_folders(self) -> set[str]:
        """The ids that were ever given to `drop_folders`."""
        with self._db.read() as connection:
            return _dropped(connection)

    def digests(self) -> set[str]:
        """Every SHA-256 that versions, pointers, finished stages or promotions name."""
        texts = (_V.c.id, _V.c.parent, schema.pointers.c.value, schema.marks.c.facts, schema.promotions.c.body)
        with self._db.read() as connection:
            found = [text for column in texts for text in connection.execute(select(column)).scalars() if text]
        return {digest for text in found for digest in _DIGEST.findall(text)}

    def _version(self, row: Any) -> DatasetVersion:
        return DatasetVersion(row.id, row.parent, json.loads(row.counts))


def _dropped(connection: Connection) -> set[str]:
    return set(json.loads(get_pointer(connection, _DROPPED) or "[]"))


class Evaluations:
    """Rows of `evaluations`: a model's metrics on one state of the held-out truth."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def save(self, model_id: str, state: str, metrics: Metrics) -> None:
        with self._db.write("evaluations.save") as connection:
            put(connection, _E, {"model_id": model_id, "state": state}, {"body": metrics_json(metrics)})

    def get(self, model_id: str, state: str) -> Metrics | None:
        query = select(_E.c.body).where(_E.c.model_id == model_id, _E.c.state == state)
        with self._db.read() as connection:
            body = connection.execute(query).scalar_one_or_none()
        return None if body is None else parse_metrics(body)


class Pointers:
    """Rows of `pointers`: names for what is current, such as `champion`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def get(self, name: str) -> str | None:
        with self._db.read() as connection:
            return get_pointer(connection, name)

    def set(self, name: str, value: str) -> None:
        with self._db.write("pointers.set") as connection:
            set_pointer(connection, name, value)
