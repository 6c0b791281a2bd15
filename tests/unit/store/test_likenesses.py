"""What the ledger keeps of what images look like."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.domain.ingested import Quarantined
from pipeline.domain.likeness import Likeness
from pipeline.errors import LedgerCorrupt
from pipeline.store.ledger import Ledger
from tests.fakes.store import ingested, sample_id

LOOK = Likeness((1 << 63) - 5, bytes(range(256)) * 3)
DARK = Likeness(7, bytes(768))


def test_it_is_kept_with_its_sample(ledger: Ledger) -> None:
    ledger.samples.add([replace(ingested(1), likeness=LOOK), ingested(2)])
    assert ledger.likenesses.all() == {sample_id(1): LOOK}
    assert ledger.likenesses.missing([sample_id(1), sample_id(2)]) == [sample_id(2)]


def test_it_can_come_later_and_the_first_stands(ledger: Ledger) -> None:
    ledger.samples.add([replace(ingested(1), likeness=LOOK), ingested(2)])
    ledger.likenesses.add({sample_id(1): DARK, sample_id(2): DARK})
    ledger.likenesses.add({})
    assert ledger.likenesses.all() == {sample_id(1): LOOK, sample_id(2): DARK}


@pytest.mark.parametrize(
    ("column", "value"), [("phash", "no number here!!"), ("phash", "f" * 17), ("thumbnail", b"short")]
)
def test_a_damaged_row_is_refused(ledger: Ledger, tmp_path: Path, column: str, value: object) -> None:
    ledger.samples.add([replace(ingested(1), likeness=LOOK)])
    with sqlite3.connect(tmp_path / "ledger.sqlite") as database:
        database.execute(f"UPDATE likenesses SET {column} = ?", (value,))
    database.close()
    with pytest.raises(LedgerCorrupt, match=sample_id(1)):
        ledger.likenesses.all()


def test_rows_of_a_quarantine_are_written_at_once(ledger: Ledger) -> None:
    rows = [Quarantined(Path(f"/images/{number}.png"), "torn", (number, number)) for number in range(3)]
    ledger.samples.quarantine(*rows)
    assert ledger.samples.quarantined() == rows
