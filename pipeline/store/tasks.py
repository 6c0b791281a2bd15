"""The ledger's tasks: what people were asked, and whether they have answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, select

from pipeline.store import schema
from pipeline.store.database import Database, insert_all, put, set_pointer

__all__ = ["Tasks", "answer_task", "round_of_task"]

_T, _N = schema.tasks, schema.intents


class Tasks:
    """Rows of `tasks` and `intents`: the intent to make a task is recorded before the task is made."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def intend(self, round_: int, ids: Sequence[str]) -> None:
        """Record that tasks for these samples are about to be made."""
        with self._db.write("tasks.intend") as connection:
            for sample_id in ids:
                put(connection, _N, {"key": _key(round_, sample_id)}, {"what": "task", "state": "open"})

    def record(self, round_: int, made: Mapping[str, str]) -> None:
        """Record the tasks that were made (sample id -> task id), and close their intents.

        A task that is known already stays as it is: it may have been answered.
        """
        with self._db.write("tasks.record") as connection:
            known = set(connection.execute(select(_T.c.sample_id).where(_T.c.round == round_)).scalars())
            fresh = [
                {"round": round_, "sample_id": sample_id, "task_id": task_id, "state": "asked"}
                for sample_id, task_id in made.items()
                if sample_id not in known
            ]
            insert_all(connection, _T, fresh)
            for sample_id in made:
                put(connection, _N, {"key": _key(round_, sample_id)}, {"what": "task", "state": "closed"})

    def refuse(self, task_id: str, *, cursor: tuple[str, str]) -> None:
        """An answer that cannot be used closes its task, and moves the cursor past it."""
        with self._db.write("tasks.refuse") as connection:
            answer_task(connection, task_id, "refused")
            set_pointer(connection, *cursor)

    def busy_ids(self) -> set[str]:
        """The samples that people are being asked about, in any round, or have passed by."""
        query = select(_T.c.sample_id).where(_T.c.state.in_(["asked", "skipped"])).distinct()
        with self._db.read() as connection:
            return set(connection.execute(query).scalars())

    def any(self) -> bool:
        """Whether anybody was ever asked anything."""
        with self._db.read() as connection:
            return connection.execute(select(_T.c.task_id).limit(1)).first() is not None

    def of(self, round_: int) -> Mapping[str, str]:
        """Sample id -> task id of every task of a round."""
        query = select(_T.c.sample_id, _T.c.task_id).where(_T.c.round == round_).order_by(_T.c.sample_id)
        with self._db.read() as connection:
            return {row.sample_id: row.task_id for row in connection.execute(query)}

    def unanswered(self, round_: int) -> list[str]:
        """The samples of a round's tasks that nobody has answered yet, sorted."""
        query = select(_T.c.sample_id).where(_T.c.round == round_, _T.c.state == "asked").order_by(_T.c.sample_id)
        with self._db.read() as connection:
            return list(connection.execute(query).scalars())

    def pending_intents(self) -> list[str]:
        """The keys of intents that were never closed, sorted: after a finished run there are none."""
        with self._db.read() as connection:
            return list(
                connection.execute(select(_N.c.key).where(_N.c.state == "open").order_by(_N.c.key)).scalars()
            )


def answer_task(connection: Connection, task_id: str, state: str) -> None:
    """Close a task within an open transaction."""
    connection.execute(_T.update().where(_T.c.task_id == task_id).values(state=state))


def round_of_task(connection: Connection, task_id: str) -> int | None:
    """The round in which a task was asked, within an open transaction; None for a task that is not known."""
    query = select(_T.c.round).where(_T.c.task_id == task_id).limit(1)
    round_: int | None = connection.execute(query).scalar_one_or_none()
    return round_


def _key(round_: int, sample_id: str) -> str:
    return f"round-{round_}/{sample_id}"
