"""Candidates and champions, as the ledger holds them."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.report.models import Figure, models_of
from pipeline.store.workspace import Workspace
from tests.unit.report.ledgers import finish, three_promoted


def row(value: float) -> dict[str, Any]:
    def estimate(middle: float) -> dict[str, float]:
        return {"value": middle, "low": middle - 0.1, "high": middle + 0.1}

    figures = {"candidate": estimate(value), "champion": estimate(0.2), "difference": estimate(value - 0.2)}
    return {"instances": 4, "units": 3, "p": 0.01, **figures}


def test_nothing_is_known_before_a_round_is_finished(workspace: Workspace) -> None:
    found = models_of(workspace)
    assert (found.trials, found.champion, found.figure, found.start) == ([], None, Figure(None), Figure(None))


def test_without_the_gates_word_the_evaluation_speaks_and_has_no_intervals(workspace: Workspace) -> None:
    finish(workspace, 1, 0.4, promoted=False, champion="start")
    found = models_of(workspace)
    (trial,) = found.trials
    assert trial.whole.candidate == Figure(0.4)
    assert trial.whole.difference.value == pytest.approx(0.3)
    assert list(trial.classes) == ["cat"]
    assert (trial.reason, dict(trial.sizes), found.level) == ("", {}, None)
    assert (found.start, found.figure, found.held_out) == (Figure(0.1), Figure(0.1), 7)


def test_the_gates_figures_come_with_intervals_and_reasons(workspace: Workspace) -> None:
    body = {
        "by": "mask",
        "confidence_level": 0.9,
        "whole": row(0.5),
        "classes": {"cat": row(0.5)},
        "sizes": {"small": row(0.3)},
    }
    finish(workspace, 1, 0.5, promoted=True, champion="start")
    workspace.ledger.promotions.judged("m1", 1, promoted=True, reason="better beyond doubt", body=body)
    found = models_of(workspace)
    (trial,) = found.trials
    assert trial.reason == "better beyond doubt"
    assert trial.whole.candidate == Figure(0.5, 0.4, 0.6)
    assert trial.sizes["small"].champion.value == 0.2
    assert (found.level, found.champion, found.figure) == (0.9, "m1", trial.whole.candidate)
    assert found.by_hand == []


def test_the_model_in_use_keeps_its_newest_figure_whoever_chose_it(workspace: Workspace) -> None:
    finish(workspace, 1, 0.4, promoted=True, champion="start")
    workspace.ledger.promotions.judged("m1", 1, promoted=True, reason="", body={})
    finish(workspace, 2, 0.3, promoted=False, champion="m1")
    workspace.ledger.promotions.judged("m2", 2, promoted=False, reason="worse", body={})
    assert models_of(workspace).figure == Figure(0.2), "as it was measured against the newest truth"
    workspace.ledger.promotions.promote("m2", 2, by="anna", reason="looks better to me")
    found = models_of(workspace)
    assert found.figure == Figure(0.3)
    assert [(row.by, row.reason) for row in found.by_hand] == [("anna", "looks better to me")]


def test_the_starting_weights_have_their_own_figure_when_they_are_back(workspace: Workspace) -> None:
    three_promoted(workspace)
    before = models_of(workspace)
    assert (before.figure, before.chosen) == (Figure(0.5), None)
    workspace.ledger.promotions.promote(None, 3, by="anna", reason="I do not trust them")
    found = models_of(workspace)
    assert (found.champion, found.figure, found.start) == (None, Figure(0.1), Figure(0.1))
    assert found.chosen is not None
    assert (found.chosen.by, found.chosen.reason) == ("anna", "I do not trust them")
    assert found.best is not None
    assert (found.best.round, found.best.whole.candidate.value) == (2, 0.6)


def test_the_gates_newest_word_ends_a_choice_by_hand(workspace: Workspace) -> None:
    finish(workspace, 1, 0.4, promoted=False, champion="start")
    workspace.ledger.promotions.judged("m1", 1, promoted=False, reason="", body={})
    workspace.ledger.promotions.promote("m1", 1, by="anna", reason="")
    finish(workspace, 2, 0.6, promoted=True, champion="m1")
    workspace.ledger.promotions.judged("m2", 2, promoted=True, reason="", body={})
    found = models_of(workspace)
    assert (found.champion, found.chosen, found.best, found.start) == ("m2", None, None, Figure(0.1))


def test_where_no_truth_has_masks_boxes_speak(workspace: Workspace) -> None:
    finish(workspace, 1, None, promoted=False, champion="start")
    found = models_of(workspace)
    assert found.kind == "box"
    assert found.trials[0].whole.candidate == Figure(0.5)
