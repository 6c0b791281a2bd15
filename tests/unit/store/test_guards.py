"""What the ledger refuses, what it never forgets, and what a second telling must not change."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from pipeline.domain.ingested import Quarantined
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import MaskPrediction
from pipeline.errors import LedgerCorrupt, LedgerError
from pipeline.store import schema
from pipeline.store.database import Database, set_pointer
from pipeline.store.ledger import Ledger
from pipeline.store.shards import ShardStore
from pipeline.store.workspace import Workspace
from tests.fakes.store import NOON, annotation, ingested, instance, sample, sample_id


def test_an_annotation_of_an_unknown_sample_is_refused_and_is_no_damage(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="refused a write") as raised:
        ledger.annotations.append(annotation(1, instance()))
    assert not isinstance(raised.value, LedgerCorrupt)
    assert list(ledger.annotations.history()) == []


def test_an_answer_that_cannot_be_kept_moves_no_cursor_and_closes_no_task(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1)])
    ledger.tasks.record(1, {sample_id(1): "task-1"})
    with pytest.raises(LedgerError):
        ledger.annotations.append(annotation(2, instance()), task_id="task-1", cursor=("collect/x", "5"))
    assert ledger.pointers.get("collect/x") is None
    assert ledger.tasks.unanswered(1) == [sample_id(1)]


def test_a_task_that_is_recorded_again_stays_answered(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1), ingested(2)])
    ledger.tasks.record(1, {sample_id(1): "task-1"})
    ledger.annotations.append(annotation(1, instance()), task_id="task-1")
    ledger.tasks.record(1, {sample_id(1): "task-1", sample_id(2): "task-2"})
    assert ledger.tasks.unanswered(1) == [sample_id(2)]


def test_a_sample_that_was_set_aside_stays_so_when_its_file_is_quarantined(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1)])
    path, stamp = sample(1).path, (7, 8)
    ledger.samples.quarantine(Quarantined(path, "its labels are torn", stamp))
    ledger.samples.set_aside(sample_id(1), "it is gone")
    assert ledger.samples.quarantined() == [Quarantined(path, "it is gone", stamp)]
    ledger.samples.quarantine(Quarantined(path, "its labels are torn", stamp))
    assert ledger.samples.set_aside_ids() == {sample_id(1)}


def test_one_call_may_bring_a_sample_by_two_paths(ledger: Ledger) -> None:
    first, second = ingested(1, labels=(instance(),)), ingested(1, folder=Path("/copies"))
    ledger.samples.add([first, second, first])
    assert ledger.samples.all() == [first.sample]
    assert set(ledger.samples.sources()) == {"/images/1.png", "/copies/1.png"}
    assert len(list(ledger.annotations.history())) == 1


def test_a_path_whose_file_has_changed_leads_to_the_new_sample(ledger: Ledger) -> None:
    old, new = ingested(1), ingested(2)
    moved = type(new)(new.sample, old.source, (9, 9), None, None)
    ledger.samples.add([old])
    ledger.samples.add([moved])
    assert ledger.samples.sources() == {str(old.source): (sample_id(2), (9, 9))}
    assert ledger.samples.count() == 2


@pytest.mark.parametrize("name", ["a b", "what?x=1", "50%20", "#1", "ä:ö@c"])
def test_any_folder_name_can_hold_a_ledger(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    ledger = Ledger(folder / "ledger.sqlite", root=folder, now=lambda: NOON)
    ledger.join_fence()
    ledger.pointers.set("a", "1")
    ledger.close()
    assert (folder / "ledger.sqlite").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("table", schema.metadata.sorted_tables, ids=lambda table: table.name)
def test_every_table_can_be_made_by_postgresql(table: Table) -> None:
    statement = CreateTable(table).compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    assert f"CREATE TABLE {table.name}" in str(statement)


def test_a_full_disk_is_told_with_the_room_that_is_left(tmp_path: Path) -> None:
    database = Database(tmp_path / "ledger.sqlite", root=tmp_path)
    database.join_fence()

    def fill() -> None:
        with database.write("much") as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1")  # SQLite takes what it has already
            set_pointer(connection, "a", "x" * 1_000_000)

    def ask() -> None:
        with database.read() as connection:
            connection.exec_driver_sql("SELECT * FROM nowhere")

    with pytest.raises(LedgerError, match=r"disk is full; [\d,.]+ MB are free on its disk: make room"):
        fill()
    with pytest.raises(LedgerError, match=r"no such table: nowhere$"):
        ask()
    database.close()


def test_no_changed_byte_of_a_shard_goes_unnoticed(tmp_path: Path) -> None:
    """Parquet alone reads many a changed byte as another value."""
    shards = ShardStore(tmp_path)
    rows = {sample_id(number): [MaskPrediction(Mask.empty((9, 9)), 0.5, 0.25), None] for number in range(3)}
    name, _ = shards.write_predictions("f" * 64, rows)
    assert dict(shards.read_predictions([name], set(rows))) == rows
    path = shards.path(name)
    whole = path.read_bytes()
    for place in range(0, len(whole), 53):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(LedgerCorrupt, match=path.name):
            list(shards.read_predictions([name], set(rows)))
    path.unlink()
    with pytest.raises(LedgerCorrupt, match=f"{path.name} cannot be read"):
        list(shards.read_predictions([name], set(rows)))


def test_every_write_holds_the_database_from_its_look_at_the_fence_on(tmp_path: Path) -> None:
    """Also a later write, which changes nothing before its own statements."""
    database = Database(tmp_path / "ledger.sqlite", root=tmp_path)
    database.join_fence()
    with database.write("first"):
        pass
    with (
        database.write("later"),
        closing(sqlite3.connect(tmp_path / "ledger.sqlite", timeout=0)) as other,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("BEGIN IMMEDIATE")
    database.close()


def test_who_opens_a_workspace_that_is_being_made_waits_for_it(tmp_path: Path) -> None:
    root = tmp_path / "run"
    opened: list[Path] = []
    second = threading.Thread(target=lambda: opened.append(Workspace.open(root, now=lambda: NOON).root))

    def in_the_middle(name: str, /, **_: object) -> None:
        if name == "file.created":
            second.start()
            second.join(timeout=0.5)
            assert opened == []

    opened.append(Workspace.open(root, now=lambda: NOON, emit=in_the_middle).root)
    second.join(timeout=30)
    assert opened == [root, root]
