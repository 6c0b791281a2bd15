"""What follows from a reviewer's verdicts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.domain.records import Instance, Origin, OriginKind, State
from pipeline.ports import ReviewRow, Verdict
from pipeline.stages.review import Outcome, review
from tests.fakes.people import CLASSES, NOW, proposed, sample

S = sample("a")
ONE, TWO = proposed("m1", (0, 0, 9, 9)), proposed("m2", (20, 20, 40, 40), "star")
DRAWN = Instance("h1", "star", TWO.box, TWO.mask, Origin(OriginKind.HUMAN, "ann"), State.DRAWN, clicks=4)
TOMB = replace(ONE, origin=Origin(OriginKind.HUMAN, "ann"), state=State.REJECTED)
MACHINE = ReviewRow(S, (ONE, TWO), ())
SPOKEN = ReviewRow(S, (ONE, TWO), (DRAWN, TOMB))


def after(row: ReviewRow, *said: tuple[str, str | None]) -> Outcome:
    verdicts = [Verdict(S.id, decision, "rev", about) for decision, about in said]
    return review(verdicts, {S.id: row}.get, CLASSES, round=3, now=NOW)


def states(outcome: Outcome) -> dict[str, tuple[str, str]]:
    (reviewed,) = outcome.reviewed
    assert reviewed.annotation is not None
    return {item.id: (item.state.value, item.label) for item in reviewed.annotation.instances}


def test_one_object_is_accepted_and_nothing_else_is_said() -> None:
    outcome = after(MACHINE, ("accept", "m1"))
    (reviewed,) = outcome.reviewed
    assert states(outcome) == {"m1": ("accepted", "ring")}
    assert reviewed.annotation is not None
    assert reviewed.annotation.partial
    assert reviewed.annotation.origin == Origin(OriginKind.HUMAN, "rev")
    (item,) = reviewed.annotation.instances
    assert item.before is not None
    assert (item.before.origin, item.before.mask, item.origin.name) == (ONE.origin, ONE.mask, "rev")


@pytest.mark.parametrize(
    ("decision", "label", "state"),
    [("relabel:star", "star", "edited"), ("relabel:ring", "ring", "accepted"), ("reject", "ring", "rejected")],
)
def test_one_object_is_judged(decision: str, label: str, state: str) -> None:
    assert states(after(MACHINE, (decision, "m1"))) == {"m1": (state, label)}


def test_a_word_on_an_image_is_one_on_each_object_that_models_see() -> None:
    assert states(after(MACHINE, ("accept", None))) == {"m1": ("accepted", "ring"), "m2": ("accepted", "star")}


def test_where_a_person_has_spoken_a_word_on_the_image_is_about_what_they_left() -> None:
    assert states(after(SPOKEN, ("reject", None))) == {"h1": ("rejected", "star")}


def test_what_a_person_has_made_and_a_reviewer_accepts_keeps_its_maker_its_state_and_its_clicks() -> None:
    (reviewed,) = after(SPOKEN, ("accept", None)).reviewed
    assert reviewed.annotation is not None
    assert reviewed.annotation.instances == (DRAWN,)


def test_what_was_thrown_out_can_be_taken_back_by_name() -> None:
    assert states(after(SPOKEN, ("accept", "m1"))) == {"m1": ("accepted", "ring")}


def test_the_word_on_an_object_beats_the_word_on_its_image() -> None:
    found = states(after(MACHINE, ("reject", "m2"), ("accept", None)))
    assert found == {"m1": ("accepted", "ring"), "m2": ("rejected", "star")}


def test_an_image_whose_objects_are_all_rejected_is_not_said_to_be_empty() -> None:
    (reviewed,) = after(MACHINE, ("reject", None)).reviewed
    assert reviewed.annotation is not None
    assert reviewed.annotation.partial
    assert not reviewed.annotation.present


def test_an_image_without_objects_is_accepted_without_a_word() -> None:
    (reviewed,) = after(ReviewRow(S, (), ()), ("accept", None)).reviewed
    assert reviewed.annotation is None


def test_fix_and_hold_out_judge_nothing() -> None:
    (reviewed,) = after(MACHINE, ("fix", "m1"), ("hold-out", None)).reviewed
    assert (reviewed.annotation, reviewed.again, reviewed.held_out) == (None, True, True)


@pytest.mark.parametrize(("word", "state"), [("accept", State.EDITED), ("relabel:star", State.EDITED)])
def test_ones_own_word_said_again_is_the_same_word(word: str, state: State) -> None:
    own = replace(TWO, origin=Origin(OriginKind.HUMAN, "rev"), state=state)
    (reviewed,) = after(ReviewRow(S, (TWO,), (own,)), (word, "m2")).reviewed
    assert reviewed.annotation is not None
    assert reviewed.annotation.instances == (own,)


def test_reviewing_costs_no_clicks() -> None:
    (reviewed,) = after(SPOKEN, ("relabel:ring", "h1")).reviewed
    assert reviewed.annotation is not None
    assert reviewed.annotation.clicks == 0


def test_from_what_is_known_nothing_follows_but_it_counts_beside_the_rest() -> None:
    said = {("reject", None), ("accept", "m1")}
    verdicts = [Verdict(S.id, decision, "rev", about) for decision, about in said]
    row = {S.id: MACHINE}.get
    outcome = review(
        verdicts, row, CLASSES, round=3, now=NOW, is_known=lambda verdict: verdict.decision == "reject"
    )
    assert states(outcome) == {"m1": ("accepted", "ring")}, "the image was rejected before"
    outcome = review(
        verdicts, row, CLASSES, round=3, now=NOW, is_known=lambda verdict: verdict.decision == "accept"
    )
    assert states(outcome) == {"m2": ("rejected", "star")}, "m1 was accepted, and stays so"


def test_what_was_changed_after_what_is_shown_cannot_be_judged() -> None:
    row = replace(MACHINE, changed=frozenset({"m1"}))
    outcome = after(row, ("accept", "m1"), ("reject", None), ("relabel:ring", "m2"), ("fix", None))
    assert {(verdict.decision, verdict.instance_id) for verdict, _ in outcome.ignored} == {
        ("accept", "m1"),
        ("reject", None),
    }
    assert all("open the review anew" in why for _, why in outcome.ignored)
    assert states(outcome) == {"m2": ("edited", "ring")}


@pytest.mark.parametrize(
    ("decision", "about", "why"),
    [
        ("accept", "m9", "no such object"),
        ("relabel:cat", "m1", "no class"),
        ("hold-out", "m1", "whole image"),
        ("perhaps", "m1", "no verdict"),
    ],
)
def test_what_speaks_of_nothing_is_ignored_and_told(decision: str, about: str, why: str) -> None:
    outcome = after(MACHINE, (decision, about))
    assert not outcome.reviewed
    assert why in outcome.ignored[0][1]


def test_an_image_that_was_not_shown_is_ignored_and_told() -> None:
    outcome = review([Verdict("x", "accept", "rev")], lambda _: None, CLASSES, round=1, now=NOW)
    assert outcome.ignored == ((Verdict("x", "accept", "rev"), "no such image was shown"),)


def test_two_reviewers_are_heard_apart() -> None:
    verdicts = [Verdict(S.id, "accept", "ben", "m1"), Verdict(S.id, "reject", "cay", "m1")]
    outcome = review(verdicts, {S.id: MACHINE}.get, CLASSES, round=1, now=NOW)
    assert [reviewed.author for reviewed in outcome.reviewed] == ["ben", "cay"]


def test_nobody_is_asked_about_held_out_images() -> None:
    held_out = replace(MACHINE, sample=replace(S, split="val"))
    outcome = after(held_out, ("fix", None), ("accept", "m1"))
    assert [(verdict.decision, why.partition(":")[0]) for verdict, why in outcome.ignored] == [
        ("fix", "nobody is asked about held-out images")
    ]
    assert states(outcome) == {"m1": ("accepted", "ring")}


def test_an_image_that_is_accepted_as_the_machine_sees_it_is_labelled_as_a_whole() -> None:
    (whole,), (again,) = (after(row, ("accept", None)).reviewed for row in (MACHINE, SPOKEN))
    assert whole.annotation is not None
    assert again.annotation is not None
    assert (whole.annotation.partial, again.annotation.partial) == (False, True), "a person's word is looked over"
