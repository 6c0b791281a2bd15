"""One database connection for the ledger's topics: transactions, the fence, and paths that survive a move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, inspect, select
from sqlalchemy.exc import DatabaseError, OperationalError

from pipeline.errors import LedgerCorrupt, LedgerError
from pipeline.events import Emit, silent
from pipeline.store import schema

__all__ = ["FENCE", "Database", "chunks", "get_pointer", "put", "set_pointer"]

FENCE = "fence"
BUSY_TIMEOUT_S = 30.0
CHUNK = 500
"""Ids in one SQL list: below every database's limit."""


class Database:
    """`url` is a path (SQLite in WAL mode, `synchronous=FULL`) or any SQLAlchemy URL.

    `token` is the fencing token of the lease that is held, None without one: only its holder writes.
    """

    def __init__(self, url: str | Path, *, root: Path, emit: Emit = silent) -> None:
        text = f"sqlite:///{url}" if isinstance(url, Path) else url
        sqlite = text.startswith("sqlite")
        self._engine = create_engine(text, connect_args={"timeout": BUSY_TIMEOUT_S} if sqlite else {})
        if sqlite:
            event.listen(self._engine, "connect", _prepare_sqlite)
        self._root = root.absolute()
        self._emit = emit
        self.token: int | None = None
        self._create()

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._named(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, what: str) -> Iterator[Connection]:
        """One transaction. Raises LedgerError without the lease, or when another process has taken it since."""
        if self.token is None:
            raise LedgerError(f"{what}: this process does not hold the workspace's write lock")
        with self._named(), self._engine.connect() as connection, connection.begin():
            self._emit("ledger.begin", what=what)
            fence = get_pointer(connection, FENCE)
            if fence != str(self.token):
                raise LedgerError(
                    f"{what}: another process has taken over this workspace; nothing was written by this one"
                )
            yield connection
            self._emit("ledger.ready", what=what)
        self._emit("ledger.commit", what=what)

    def take_fence(self) -> int:
        """Raise the fence and hold its token: every earlier holder's writes are refused from now on."""
        with self._named(), self._engine.begin() as connection:
            self.token = int(get_pointer(connection, FENCE) or 0) + 1
            set_pointer(connection, FENCE, str(self.token))
        return self.token

    def kept(self, path: Path) -> str:
        """A path as it is stored: relative to the workspace if it lies there."""
        absolute = path.absolute()
        return (
            absolute.relative_to(self._root).as_posix() if absolute.is_relative_to(self._root) else str(absolute)
        )

    def found(self, text: str) -> Path:
        """The inverse of `kept`."""
        return self._root / text

    def _create(self) -> None:
        with self._named(), self._engine.begin() as connection:
            names = inspect(connection).get_table_names()
            version = get_pointer(connection, "schema") if "pointers" in names else None
            if version is not None and int(version) > schema.SCHEMA_VERSION:
                raise LedgerCorrupt(
                    f"{self._root} was made by a newer version of maskloop (ledger schema {version}, "
                    f"this one reads {schema.SCHEMA_VERSION}): upgrade with `pip install --upgrade maskloop`"
                )
            if version is None:
                schema.metadata.create_all(connection)
                set_pointer(connection, "schema", str(schema.SCHEMA_VERSION))

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as exc:
            raise LedgerError(f"the ledger in {self._root} could not be used: {exc.orig}") from exc
        except DatabaseError as exc:
            raise LedgerCorrupt(f"the ledger in {self._root} is damaged: {exc.orig}") from exc


def get_pointer(connection: Connection, name: str) -> str | None:
    row = connection.execute(select(schema.pointers.c.value).where(schema.pointers.c.name == name)).first()
    return None if row is None else str(row[0])


def set_pointer(connection: Connection, name: str, value: str) -> None:
    put(connection, schema.pointers, {"name": name}, {"value": value})


def put(connection: Connection, table: Any, key: dict[str, Any], values: dict[str, Any]) -> None:
    """Insert the row with this key, or change its values: the portable upsert of a single writer."""
    where = [table.c[column] == value for column, value in key.items()]
    if connection.execute(select(*(table.c[column] for column in key)).where(*where)).first() is None:
        connection.execute(table.insert().values(**key, **values))
    elif values:
        connection.execute(table.update().where(*where).values(**values))


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Parts of a list of ids, each short enough for one SQL statement."""
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))
