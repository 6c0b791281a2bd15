"""The fence: whoever lost the lease writes nothing more, whatever it believes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline.errors import LedgerError
from pipeline.store.database import Database
from pipeline.store.workspace import Workspace


def now() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


def opened(root: Path) -> Workspace:
    return Workspace.open(root, now=now)


def fence(root: Path) -> int:
    with closing(sqlite3.connect(root / "ledger.sqlite")) as connection:
        row = connection.execute("SELECT value FROM pointers WHERE name = 'fence'").fetchone()
    return 0 if row is None else int(row[0])


def test_without_the_lock_nothing_is_written(tmp_path: Path) -> None:
    workspace = opened(tmp_path / "w")
    with pytest.raises(LedgerError, match="does not hold the workspace's write lock"):
        workspace.ledger.pointers.set("a", "1")
    with workspace.write_lock():
        workspace.ledger.pointers.set("a", "1")
    with pytest.raises(LedgerError, match="does not hold"):
        workspace.ledger.pointers.set("a", "2")
    assert workspace.ledger.pointers.get("a") == "1"


@pytest.mark.parametrize("wrote_before", [True, False])
def test_a_holder_that_was_passed_over_is_refused(tmp_path: Path, wrote_before: bool) -> None:
    """As when the lock file was deleted under a process that still runs."""
    old, new = opened(tmp_path / "w"), opened(tmp_path / "w")
    with old.write_lock():
        if wrote_before:
            old.ledger.pointers.set("a", "old")
        (tmp_path / "w" / "lock").unlink()
        with new.write_lock():
            new.ledger.pointers.set("a", "new")
            with pytest.raises(LedgerError, match="another process has taken over"):
                old.ledger.pointers.set("a", "old again")
            new.ledger.pointers.set("b", "new")
    assert new.ledger.pointers.get("a") == "new"
    assert new.ledger.pointers.get("b") == "new"


def test_a_holder_that_writes_nothing_leaves_no_trace(tmp_path: Path) -> None:
    workspace = opened(tmp_path / "w")
    with workspace.write_lock():
        pass
    assert fence(tmp_path / "w") == 0
    for expected in (1, 2):
        with workspace.write_lock():
            workspace.ledger.pointers.set("a", "1")
            workspace.ledger.pointers.set("b", "1")
        assert fence(tmp_path / "w") == expected


def test_a_failed_first_write_does_not_raise_the_fence(tmp_path: Path) -> None:
    database = Database(tmp_path / "ledger.sqlite", root=tmp_path)
    database.join_fence()
    with pytest.raises(ZeroDivisionError), database.write("broken"):
        _ = 1 / 0
    assert fence(tmp_path) == 0
    with database.write("whole"):
        pass
    assert fence(tmp_path) == 1


def test_the_fence_cannot_move_between_the_look_at_it_and_the_write(tmp_path: Path) -> None:
    database = Database(tmp_path / "ledger.sqlite", root=tmp_path)
    database.join_fence()
    with (
        database.write("slow"),
        closing(sqlite3.connect(tmp_path / "ledger.sqlite", timeout=0)) as other,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("BEGIN IMMEDIATE")


def test_a_transaction_sees_one_state(tmp_path: Path) -> None:
    """Two looks within one `read` agree, though another process writes between them."""
    database, other = (Database(tmp_path / "ledger.sqlite", root=tmp_path) for _ in range(2))
    other.join_fence()
    with database.read() as connection:
        before = connection.execute(text("SELECT count(*) FROM pointers")).scalar_one()
        with other.write("meanwhile"):
            pass
        assert connection.execute(text("SELECT count(*) FROM pointers")).scalar_one() == before


def test_tables_are_made_all_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill among them must not leave tables whose triggers would never be made."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.store.database.set_pointer", die)
    with pytest.raises(KeyboardInterrupt):
        Database(tmp_path / "ledger.sqlite", root=tmp_path)
    monkeypatch.undo()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    Database(tmp_path / "ledger.sqlite", root=tmp_path)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        triggers = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'").fetchone()
    assert triggers == (12,)
