"""What is counted of people's answers, on histories small enough to count by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Annotation, Before, Instance, Origin, OriginKind, State
from pipeline.report.people import (
    FALSE,
    MISSED,
    Answer,
    Judged,
    answers_of,
    calibration,
    clicks_by_count,
    confusion,
    middle,
    most_edited,
    seconds_by_bin,
    shares,
)
from tests.fakes.store import NOON, sample_id

SIZE_HW = (10, 10)
MODEL, ANNA, BERT = (
    Origin(OriginKind.MODEL, "m"),
    Origin(OriginKind.HUMAN, "anna"),
    Origin(OriginKind.HUMAN, "bert"),
)


def rows(count: int) -> Mask:
    """The first `count` rows of pixels: IoU with `rows(n)` is their ratio."""
    bitmap = np.zeros(SIZE_HW, dtype=np.bool_)
    bitmap[:count] = True
    return Mask.from_bitmap(bitmap)


def instance(name: str, state: State, mask: Mask | None = None, label: str = "cat", clicks: int = 0) -> Instance:
    origin = MODEL if state is State.PROPOSED else ANNA
    return Instance(name, label, Box(0, 0, 10, 10), mask or rows(5), origin, state, clicks=clicks)


def said(
    origin: Origin, *instances: Instance, revision: int = 1, round_: int = 1, number: int = 1, seconds: float = 2.0
) -> Annotation:
    return Annotation(sample_id(number), revision, instances, origin, round_, NOON, seconds)


def asked_of(*answers: Annotation) -> set[tuple[int, str]]:
    """The tasks that these answer."""
    return {(row.round, row.sample_id) for row in answers}


def judged(
    state: State,
    *,
    told: float | None = None,
    before: Mask | None = None,
    after: Mask | None = None,
    machine: str | None = "cat",
    label: str = "cat",
    clicks: int = 0,
    name: str = "one",
) -> Judged:
    shown = Before(MODEL, machine, before or rows(5)) if machine is not None else None
    return Judged(sample_id(1), 1, "anna", instance(name, state, after, label, clicks), shown, told)


def test_what_was_shown_is_found_by_id_where_the_answer_does_not_say() -> None:
    shown = replace(instance("one", State.PROPOSED, rows(4), "dog"), predicted_iou=0.7)
    answered = said(ANNA, instance("one", State.EDITED, rows(5)), revision=2)
    (answer,) = answers_of([said(MODEL, shown), answered], asked_of(answered))
    (row,) = answer.objects
    assert row.before == Before(MODEL, "dog", rows(4))
    assert row.predicted_iou == 0.7
    assert row.found_iou == pytest.approx(0.8)


def test_what_the_answer_itself_says_was_shown_counts_more() -> None:
    own = Before(MODEL, "bird", rows(2))
    edited = replace(instance("one", State.EDITED, rows(4)), before=own)
    answered = said(ANNA, edited, revision=2)
    (answer,) = answers_of([said(MODEL, instance("one", State.PROPOSED)), answered], asked_of(answered))
    assert answer.objects[0].before == own


def test_each_persons_newest_whole_word_counts_unless_it_was_taken_back() -> None:
    history = [
        said(ANNA, instance("one", State.ACCEPTED), revision=1),
        said(BERT, instance("one", State.REJECTED), revision=2),
        said(ANNA, instance("two", State.DRAWN), revision=3, round_=2, seconds=9.0),
        replace(said(BERT, instance("two", State.REJECTED), revision=4), partial=True),
        replace(said(ANNA, revision=1, number=2), withdrawn=True),
    ]
    history.sort(key=lambda row: (row.sample_id, row.revision))
    found = sorted(answers_of(history, asked_of(*history)), key=lambda row: row.author)
    assert [(row.author, row.round, row.seconds) for row in found] == [("anna", 2, 9.0), ("bert", 1, 2.0)]
    assert [item.instance.id for row in found for item in row.objects] == ["two", "one"]


def test_a_reviewers_word_on_an_image_that_nobody_was_asked_about_is_no_answer() -> None:
    answered = said(ANNA, instance("one", State.EDITED), revision=2)
    history = [
        said(MODEL, instance("one", State.PROPOSED)),
        answered,
        said(ANNA, instance("one", State.ACCEPTED), revision=3, round_=2, seconds=0.0),
        said(BERT, instance("one", State.ACCEPTED), revision=1, number=2, seconds=0.0),
    ]
    found = list(answers_of(history, asked_of(answered)))
    assert [(row.author, row.round, row.seconds) for row in found] == [("anna", 1, 2.0)]
    assert [item.instance.state for row in found for item in row.objects] == [State.EDITED]


def test_verdicts_are_counted_and_the_accepted_are_a_share_of_what_was_shown() -> None:
    objects = [
        judged(State.ACCEPTED),
        judged(State.EDITED),
        judged(State.REJECTED),
        judged(State.DRAWN),
        judged(State.DRAWN, machine=None),
    ]
    (share,) = shares([("all", objects), ("none", [])])
    assert share.counts == {State.ACCEPTED: 1, State.EDITED: 1, State.DRAWN: 2, State.REJECTED: 1}
    assert (share.total, share.shown, share.accepted) == (5, 4, 0.25)
    (unseen,) = shares([("all", objects[-1:])])
    assert unseen.accepted is None


def test_clicks_are_counted_for_verified_masks_and_the_last_stands_for_more() -> None:
    objects = [judged(State.ACCEPTED), judged(State.EDITED, clicks=2), judged(State.REJECTED, clicks=1)]
    assert clicks_by_count(objects) == [("0", 1), ("1", 0), ("2", 1)]
    assert clicks_by_count([judged(State.DRAWN, clicks=30)], most=3) == [("0", 0), ("1", 0), ("2", 0), ("3+", 1)]
    assert clicks_by_count(objects[-1:]) == []


def answers(seconds: Sequence[float]) -> list[Answer]:
    return [Answer(sample_id(1), 1, "anna", value, ()) for value in seconds]


@pytest.mark.parametrize("seconds", [[3.0], [0.0, 0.1], [1.0] * 99 + [1000.0], list(range(200)), [0.0, 1e6]])
def test_times_fall_into_bins_of_a_round_width_and_none_is_lost(seconds: list[float]) -> None:
    bins = seconds_by_bin(answers(seconds))
    assert sum(count for _, _, count in bins) == len(seconds)
    assert len(bins) <= 16
    assert bins[0][0] == 0
    assert all(high == after for (_, high, _), (after, _, _) in pairwise(bins))


def test_no_times_give_no_bins_and_no_middle() -> None:
    assert seconds_by_bin([]) == seconds_by_bin(answers([0.0, 0.0])) == []
    assert middle([]) is None
    assert middle([1.0, 9.0, 2.0]) == 2.0


def test_the_calibration_error_is_the_mean_gap_weighted_by_count() -> None:
    objects = [
        judged(State.ACCEPTED, told=0.95),
        judged(State.ACCEPTED, told=0.93),
        judged(State.EDITED, told=0.5, before=rows(2), after=rows(10)),
        judged(State.REJECTED, told=0.9),
        judged(State.DRAWN, machine=None),
        judged(State.ACCEPTED),
    ]
    found = calibration(objects)
    assert found is not None
    assert found.masks == 3
    few, more = found.bins
    assert few == pytest.approx((0.5, 0.2, 1))
    assert more == pytest.approx((0.94, 1.0, 2))
    assert found.error == pytest.approx((0.3 * 1 + 0.06 * 2) / 3)
    assert calibration(objects[3:]) is None


def test_a_perfect_promise_falls_into_the_last_bin() -> None:
    found = calibration([judged(State.ACCEPTED, told=1.0)])
    assert found is not None
    assert found.error == 0


def test_confusion_counts_classes_missed_and_false_objects() -> None:
    objects = [
        judged(State.ACCEPTED),
        judged(State.EDITED, machine="dog"),
        judged(State.DRAWN, machine=None, label="dog"),
        judged(State.REJECTED, machine="dog", label="dog"),
    ]
    found = confusion(objects, ["bird", "cat", "dog"])
    assert (found.people, found.machine) == (["cat", "dog", FALSE], ["cat", "dog", MISSED])
    assert found.rows == [[1, 1, 0], [0, 0, 1], [0, 1, 0]]
    assert found.total == 4
    assert confusion([], ["cat"]).total == 0


def test_the_most_edited_come_first_and_unchanged_masks_not_at_all() -> None:
    objects = [
        judged(State.EDITED, before=rows(8), after=rows(10), name="little"),
        judged(State.DRAWN, before=rows(1), after=rows(10), name="much"),
        judged(State.EDITED, machine="dog", name="label only"),
        judged(State.REJECTED, name="gone"),
        judged(State.DRAWN, machine=None, name="new"),
    ]
    found = most_edited(objects, 5)
    assert [row.instance.id for row, _ in found] == ["much", "little"]
    assert [iou for _, iou in found] == pytest.approx([0.1, 0.8])
    assert most_edited(objects, 1) == found[:1]
