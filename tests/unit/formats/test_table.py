"""The Parquet table: rows, filters, and what is read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.records import State
from pipeline.errors import BadFormat, DataError
from pipeline.formats.labels import Found
from pipeline.formats.table import COLUMNS, find_table, open_table, write_table
from tests.fakes.store import SIZE_HW, instance, sample_id

ONE = instance("one")
TWO = replace(instance("two", State.EDITED, clicks=3), label="dog", mask=None)
ENTRIES = [
    DatasetEntry(sample_id(1), SIZE_HW, "train", "g", 1, (TWO, ONE), round_trip={"one": 0.5}),
    DatasetEntry(sample_id(2), SIZE_HW, "val", "h", 2, ()),
]


def name_of(key: str) -> str:
    return f"{key[:8]}.png"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_table(ENTRIES, tmp_path / "t.parquet", name_of)
    return tmp_path / "t.parquet"


def test_columns_and_conditions_are_all_that_is_read(table: Path) -> None:
    found = open_table(table, ["instance", "clicks"], [("label", "==", "dog"), ("clicks", ">", 2)])
    assert found.to_pylist() == [{"instance": "two", "clicks": 3}]
    assert open_table(table, ["sample"], [("round_trip", "<", 0.95)]).num_rows == 1
    assert open_table(table).num_rows == 3
    assert open_table(table).column_names == list(COLUMNS)


def test_equal_entries_give_equal_bytes(table: Path, tmp_path: Path) -> None:
    write_table(ENTRIES[::-1], tmp_path / "again.parquet", name_of)
    assert (tmp_path / "again.parquet").read_bytes() == table.read_bytes()


def test_labels_come_back(table: Path) -> None:
    found = {one.image.name: one for one in find_table(table, Path("/images")) if isinstance(one, Found)}
    full, empty = (found[f"{sample_id(number)}.png"] for number in (1, 2))
    assert (full.split, empty.split) == ("train", "val")
    assert full.labels is not None
    assert empty.labels is not None
    labels = full.labels.read(SIZE_HW, "key")
    assert labels.complete
    assert [(item.label, item.mask, item.box) for item in labels.instances] == [
        ("cat", ONE.mask, ONE.box),
        ("dog", None, TWO.box),
    ]
    assert empty.labels.read(SIZE_HW, "key").instances == ()
    assert not full.labels.read((9, 9), "key").complete, "another size"


@pytest.mark.parametrize("columns", [["nothing"], ["sample", "Label"]])
def test_a_column_that_there_is_not_is_named(columns: list[str], table: Path) -> None:
    with pytest.raises(DataError, match=columns[-1]):
        open_table(table, columns)
    with pytest.raises(DataError, match="known: sample"):
        open_table(table, where=[("nothing", "==", 1)])


def test_what_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("no table")
    with pytest.raises(BadFormat, match="not a Parquet table"):
        open_table(tmp_path / "x")
    with pytest.raises(BadFormat, match="not a Parquet table"):
        open_table(tmp_path / "gone")
