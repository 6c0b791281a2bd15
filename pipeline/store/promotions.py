"""The ledger's promotions: who is champion, who was, and who decided so why."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

from sqlalchemy import Connection, select

from pipeline.errors import ConfigError
from pipeline.store import schema
from pipeline.store.database import Database, get_pointer, insert_all, set_pointer

__all__ = ["CHAMPION", "GATE", "Decided", "Promotion", "Promotions"]

CHAMPION = "champion"
"""The pointer that names the champion; where there is none, it is the detector's own starting weights."""
GATE = "gate"
"""Who decides where no person does."""

Decided = Literal["promoted", "kept", "promoted by hand", "rolled back"]
_CHANGES = ("promoted", "promoted by hand")
_OF_THE_GATE = ("promoted", "kept")
_P = schema.promotions


@dataclass(frozen=True)
class Promotion:
    """One decision, numbered from 1: about which model, over which champion (None: the starting weights), by whom
    and why.

    `model_id` is "" for the starting weights. `body` holds the figures that it rests on, as plain JSON
    values: empty for those made by hand.
    """

    number: int
    at: datetime
    round: int
    model_id: str
    previous: str | None
    decision: Decided
    by: str
    reason: str
    body: Mapping[str, Any]


class Promotions:
    """Rows of `promotions`: added, never changed. The champion changes in the transaction that says why."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._db = database
        self._now = now

    def champion(self) -> str | None:
        """The champion's id; None for the starting weights."""
        with self._db.read() as connection:
            return get_pointer(connection, CHAMPION)

    def judged(
        self, model_id: str, round_: int, *, promoted: bool, reason: str, body: Mapping[str, Any]
    ) -> Promotion:
        """The gate's word on a round's model; once it has spoken it is not heard again."""
        if (known := self.of_round(round_)) is not None and known.model_id == model_id:
            return known
        decision: Decided = "promoted" if promoted else "kept"
        return self._add(model_id, round_, decision, by=GATE, reason=reason, body=body)

    def promote(self, model_id: str | None, round_: int, *, by: str, reason: str) -> Promotion:
        """Make a model champion by hand (None: the starting weights). Raises ConfigError if it is that already."""
        if self.champion() == model_id:
            raise ConfigError(f"{model_id or 'the detector with its starting weights'} is the champion already")
        return self._add(model_id or "", round_, "promoted by hand", by=by, reason=reason)

    def roll_back(self, round_: int, *, by: str, reason: str) -> Promotion:
        """Back to the champion before this one. Raises as `before`."""
        return self._add(self.before() or "", round_, "rolled back", by=by, reason=reason)

    def before(self) -> str | None:
        """The champion before this one (None: the starting weights); again and again as far as the decisions reach.

        Raises ConfigError where they say of nothing before it.
        """
        reign = self.reign()
        if len(reign) < 2 or reign[-1] != self.champion():
            raise ConfigError(
                f"no champion is known before {self.champion() or 'the starting weights'}: "
                "`pipeline promote` makes any model champion"
            )
        return reign[-2]

    def reign(self) -> list[str | None]:
        """The champions one upon the other, the present one last; what was rolled back is taken off again."""
        stack: list[str | None] = []
        for row in self.all():
            if row.decision in _CHANGES:
                stack += [*([] if stack else [row.previous]), row.model_id or None]
            elif row.decision == "rolled back":
                stack.pop()
        return stack

    def of_round(self, round_: int) -> Promotion | None:
        """What the gate said of a round's model, or None."""
        return next((row for row in self.all() if row.round == round_ and row.decision in _OF_THE_GATE), None)

    def all(self) -> list[Promotion]:
        """Every decision, oldest first."""
        with self._db.read() as connection:
            return [_promotion(row) for row in connection.execute(select(_P).order_by(_P.c.number))]

    def _add(
        self,
        model_id: str,
        round_: int,
        decision: Decided,
        *,
        by: str,
        reason: str,
        body: Mapping[str, Any] = MappingProxyType({}),
    ) -> Promotion:
        with self._db.write("promotions.add") as connection:
            row = {
                "at": self._now().isoformat(),
                "round": round_,
                "model_id": model_id,
                "previous": get_pointer(connection, CHAMPION),
                "decision": decision,
                "by": by,
                "reason": reason,
                "body": json.dumps(dict(body), sort_keys=True),
            }
            insert_all(connection, _P, [row])
            if decision != "kept":
                _enthrone(connection, model_id)
        return self.all()[-1]


def _enthrone(connection: Connection, model_id: str) -> None:
    if model_id:
        set_pointer(connection, CHAMPION, model_id)
    else:
        pointers = schema.pointers
        connection.execute(pointers.delete().where(pointers.c.name == CHAMPION))


def _promotion(row: Any) -> Promotion:
    return Promotion(
        number=row.number,
        at=datetime.fromisoformat(row.at),
        round=row.round,
        model_id=row.model_id,
        previous=row.previous,
        decision=row.decision,
        by=row.by,
        reason=row.reason,
        body=json.loads(row.body),
    )
