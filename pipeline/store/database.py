"""One database connection for the ledger's topics: transactions, the fence, and paths that survive a move."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Table, bindparam, create_engine, event, inspect, make_url, select
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from pipeline.errors import LedgerCorrupt, LedgerError
from pipeline.events import Emit, silent
from pipeline.store import schema

__all__ = ["FENCE", "Database", "chunks", "get_pointer", "insert_all", "put", "row_digest", "set_pointer"]

FENCE = "fence"
BUSY_TIMEOUT_S = 30.0
CHUNK = 500
"""Ids in one SQL list: below every database's limit."""
_WRITES = "maskloop_writes"
_DISK = ("disk I/O error", "disk is full")
"""How SQLite words a refusal of the disk; of a full one too, where the log beside the database cannot grow."""


class Database:
    """`url` is a path (SQLite in WAL mode, `synchronous=FULL`) or any SQLAlchemy URL.

    Only the holder of the lease writes (`join_fence`). The fence is a number in the ledger; the first write of
    every holder raises it, which refuses whoever held the lease before, alive or not. A holder that finds
    nothing to do leaves no trace.
    """

    def __init__(self, url: str | Path, *, root: Path, emit: Emit = silent) -> None:
        target = URL.create("sqlite", database=str(url)) if isinstance(url, Path) else make_url(url)
        sqlite = target.get_backend_name() == "sqlite"
        self._engine = create_engine(target, connect_args={"timeout": BUSY_TIMEOUT_S} if sqlite else {})
        if sqlite:
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        self._writer = self._engine.execution_options(**{_WRITES: True})
        self._root = root.absolute()
        self._emit = emit
        self._fence: int | None = None
        self._raised = False
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
        if self._fence is None:
            raise LedgerError(f"{what}: this process does not hold the workspace's write lock")
        with self._named(), self._writer.begin() as connection:
            self._emit("ledger.begin", what=what)
            if _fence(connection) != self._fence:
                raise LedgerError(
                    f"{what}: another process has taken over this workspace; nothing was written by this one"
                )
            if not self._raised:
                set_pointer(connection, FENCE, str(self._fence + 1))
            yield connection
            self._emit("ledger.ready", what=what)
        if not self._raised:
            self._fence, self._raised = self._fence + 1, True
        self._emit("ledger.commit", what=what)

    def join_fence(self) -> None:
        """Become the writer, whose first write shuts every earlier one out."""
        with self.read() as connection:
            self._fence, self._raised = _fence(connection), False

    def leave_fence(self) -> None:
        """Write no more."""
        self._fence = None

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
        with self.read() as connection:
            known = self._is_current(connection)
        if not known:
            with self._named(), self._writer.begin() as connection:
                # Another process may have been faster.
                if not self._is_current(connection):
                    # So far a newer version has only added tables, and columns that may be empty.
                    _add_columns(connection)
                    schema.metadata.create_all(connection)
                    _add_digests(connection)
                    set_pointer(connection, "schema", str(schema.SCHEMA_VERSION))

    def _is_current(self, connection: Connection) -> bool:
        """Whether all tables of this version are there. Raises LedgerCorrupt for tables of a newer version."""
        if not inspect(connection).has_table(schema.pointers.name):
            return False
        version = get_pointer(connection, "schema") or ""
        if not version.isdecimal():
            raise LedgerCorrupt(f"the ledger in {self._root} does not say which schema it has: {version!r}")
        if int(version) > schema.SCHEMA_VERSION:
            raise LedgerCorrupt(
                f"{self._root} was made by a newer version of maskloop (ledger schema {version}, "
                f"this one reads {schema.SCHEMA_VERSION}): upgrade with `pip install --upgrade maskloop`"
            )
        return int(version) == schema.SCHEMA_VERSION

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as exc:
            raise LedgerError(f"the ledger in {self._root} refused a write: {exc.orig}") from exc
        except OperationalError as exc:
            raise LedgerError(
                f"the ledger in {self._root} could not be used: {exc.orig}{self._room(exc)}"
            ) from exc
        except DatabaseError as exc:
            raise LedgerCorrupt(f"the ledger in {self._root} is damaged: {exc.orig}") from exc

    def _room(self, exc: OperationalError) -> str:
        """What SQLite does not say when the disk refuses it something: whether there is any room left."""
        if self._engine.dialect.name != "sqlite" or not any(word in str(exc.orig) for word in _DISK):
            return ""
        free = shutil.disk_usage(self._root).free
        return (
            f"; {free / 1e6:,.1f} MB are free on its disk: make room if that is little (`pipeline gc` frees what "
            "nothing refers to), and start again; what was recorded before is unharmed"
        )


def _add_columns(connection: Connection) -> None:
    """Give the tables of an older ledger the columns that they lack."""
    tables = inspect(connection)
    for table in schema.metadata.sorted_tables:
        if tables.has_table(table.name):
            known = {column["name"] for column in tables.get_columns(table.name)}
            for column in (column for column in table.columns if column.name not in known):
                kind = column.type.compile(connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}")


def _add_digests(connection: Connection) -> None:
    """Give the rows of an older ledger their digests: what happens to them from now on is found out."""
    for table, columns in schema.DIGESTED.items():
        keys = list(table.primary_key)
        bare = select(*columns, *keys).where(table.c.digest.is_(None))
        found = [
            {"new": row_digest(*row[: len(columns)])}
            | {f"old_{key.name}": value for key, value in zip(keys, row[len(columns) :], strict=True)}
            for row in connection.execute(bare)
        ]
        if found:
            same = [key == bindparam(f"old_{key.name}") for key in keys]
            connection.execute(table.update().where(*same).values(digest=bindparam("new")), found)


def _with_digest(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as it is stored, with its digest if the table has them."""
    columns = schema.DIGESTED.get(table)
    return {**row, "digest": row_digest(*(row[column.name] for column in columns))} if columns else dict(row)


def row_digest(*values: object) -> str:
    """The SHA-256 of a row's values, text or bytes, each with its length."""
    digest = hashlib.sha256()
    for value in values:
        # In a damaged row there may be anything.
        data = value if isinstance(value, bytes) else str(value).encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def get_pointer(connection: Connection, name: str) -> str | None:
    """What a name points to, or None."""
    row = connection.execute(select(schema.pointers.c.value).where(schema.pointers.c.name == name)).first()
    return None if row is None else str(row[0])


def _fence(connection: Connection) -> int:
    """The token of the newest lease, locked where several transactions could write at once."""
    value = schema.pointers.c.value
    row = connection.execute(select(value).where(schema.pointers.c.name == FENCE).with_for_update()).first()
    return 0 if row is None else int(row[0])


def set_pointer(connection: Connection, name: str, value: str) -> None:
    """Let a name point to `value`, within an open transaction."""
    put(connection, schema.pointers, {"name": name}, {"value": value})


def put(connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]) -> None:
    """Insert the row with this key, or change its values: the portable upsert of a single writer."""
    where = [table.c[column] == value for column, value in key.items()]
    row = _with_digest(table, {**key, **values})
    if connection.execute(select(*(table.c[column] for column in key)).where(*where)).first() is None:
        connection.execute(table.insert().values(**row))
    elif changes := {name: value for name, value in row.items() if name not in key}:
        connection.execute(table.update().where(*where).values(**changes))


def insert_all(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert many new rows in one go; none is fine."""
    if rows:
        connection.execute(table.insert(), [_with_digest(table, row) for row in rows])


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transactions begin at the first INSERT: too late for the fence that is read before it.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Parts of a list of ids, each short enough for one SQL statement."""
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))
