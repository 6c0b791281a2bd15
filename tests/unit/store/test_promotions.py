"""Who is champion: decided once, undone step by step, and never without a reason."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from pipeline.errors import ConfigError, LedgerError
from pipeline.store.ledger import Ledger


def judge(ledger: Ledger, model: str, round_: int, *, promoted: bool) -> None:
    ledger.promotions.judged(model, round_, promoted=promoted, reason="because", body={"figure": 0.5})


def test_a_promotion_moves_the_champion_and_says_why(ledger: Ledger) -> None:
    judge(ledger, "m1", 1, promoted=True)
    judge(ledger, "m2", 2, promoted=False)
    first, second = ledger.promotions.all()
    assert (first.number, first.model_id, first.previous, first.decision) == (1, "m1", None, "promoted")
    assert (second.previous, second.decision, second.reason, second.by) == ("m1", "kept", "because", "gate")
    assert second.body == {"figure": 0.5}
    assert second.at.tzinfo is not None
    assert ledger.promotions.champion() == ledger.pointers.get("champion") == "m1"


def test_the_gate_speaks_once_a_round(ledger: Ledger) -> None:
    judge(ledger, "m1", 1, promoted=True)
    judge(ledger, "m1", 1, promoted=False)
    assert [row.decision for row in ledger.promotions.all()] == ["promoted"]
    found = ledger.promotions.of_round(1)
    assert found is not None
    assert found.model_id == "m1"
    assert ledger.promotions.of_round(2) is None


def test_rolling_back_walks_to_the_beginning(ledger: Ledger) -> None:
    for number, model in enumerate(("m1", "m2"), start=1):
        judge(ledger, model, number, promoted=True)
    judge(ledger, "m3", 3, promoted=False)
    ledger.promotions.promote("m3", 3, by="ada", reason="it looks better")
    champions = []
    for _ in range(3):
        ledger.promotions.roll_back(3, by="ada", reason="it does not")
        champions.append(ledger.promotions.champion())
    assert champions == ["m2", "m1", None]
    with pytest.raises(ConfigError, match="no champion is known before the starting weights"):
        ledger.promotions.roll_back(3, by="ada", reason="further")
    judge(ledger, "m4", 4, promoted=True)
    ledger.promotions.roll_back(4, by="ada", reason="no")
    assert ledger.promotions.champion() is None
    assert {row.by for row in ledger.promotions.all()} == {"gate", "ada"}


def test_a_champion_of_which_nothing_is_told_stays(ledger: Ledger) -> None:
    """Of an older ledger, say."""
    ledger.pointers.set("champion", "old")
    with pytest.raises(ConfigError, match="before old"):
        ledger.promotions.roll_back(1, by="ada", reason="no")
    judge(ledger, "new", 2, promoted=True)
    ledger.promotions.roll_back(2, by="ada", reason="no")
    assert ledger.promotions.champion() == "old"


def test_the_champion_is_not_promoted_again(ledger: Ledger) -> None:
    judge(ledger, "m1", 1, promoted=True)
    with pytest.raises(ConfigError, match="already"):
        ledger.promotions.promote("m1", 1, by="ada", reason="really")


def test_what_was_decided_stays_decided(ledger: Ledger) -> None:
    judge(ledger, "m1", 1, promoted=True)
    for act in ("UPDATE promotions SET reason = 'none'", "DELETE FROM promotions"):
        with pytest.raises(LedgerError), ledger.promotions._db.write("test") as connection:
            connection.execute(text(act))
