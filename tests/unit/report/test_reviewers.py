"""The tally of reviewers' verdicts."""

from __future__ import annotations

from pipeline.ports import Verdict
from pipeline.report.reviewers import WORDS, Reviewer, reviewers_of
from pipeline.store.decisions import Decided
from tests.fakes.store import NOON, sample_id


def decided(*words: tuple[str, str, int]) -> list[Decided]:
    """(author, decision, image) each."""
    return [
        Decided(index, Verdict(sample_id(image), decision, author, None, NOON), 1)
        for index, (author, decision, image) in enumerate(words, start=1)
    ]


def test_each_reviewers_verdicts_are_counted_and_new_classes_are_one_kind() -> None:
    found = reviewers_of(
        decided(
            ("bert", "hold-out", 1),
            ("anna", "accept", 1),
            ("anna", "relabel:cat", 1),
            ("anna", "relabel:dog", 2),
            ("bert", "accept", 1),
        )
    )
    nothing = dict.fromkeys(WORDS, 0)
    assert found == [
        Reviewer("anna", nothing | {"accept": 1, "relabel": 2}, 2),
        Reviewer("bert", nothing | {"accept": 1, "hold-out": 1}, 1),
    ]


def test_without_decisions_there_are_no_reviewers() -> None:
    assert reviewers_of([]) == []
