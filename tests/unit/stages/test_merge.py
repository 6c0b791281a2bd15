from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Annotation, Instance, Origin, OriginKind, Sample, State
from pipeline.errors import DataError, ShapeMismatch
from pipeline.stages.merge import MergeSettings, merge, remembered

SIZE = (20, 30)
BOX = Box(2, 3, 12, 13)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HUMAN, IMPORTED, MODEL = OriginKind.HUMAN, OriginKind.IMPORTED, OriginKind.MODEL


def sample(name: str = "a") -> Sample:
    return Sample(name, Path(name), SIZE, "train", f"group of {name}")


def instance(name: str, state: State, kind: OriginKind = HUMAN, mask: Mask | None = None) -> Instance:
    return Instance(name, "disc", BOX, mask or Mask.from_box(BOX, SIZE), Origin(kind, "x"), state)


def boxed(name: str) -> Instance:
    return Instance(name, "disc", BOX, None, Origin(IMPORTED, "labels.json"), State.ACCEPTED)


def said(kind: OriginKind, revision: int, *instances: Instance, sample_id: str = "a") -> Annotation:
    return Annotation(sample_id, revision, instances, Origin(kind, "x"), 0, NOON)


def no_mask(sample_id: str, instance_id: str) -> Mask | None:
    return None


def ids(*history: Annotation, settings: MergeSettings | None = None) -> list[str] | None:
    """Ids of the instances that entered; None if the sample is not in the version."""
    entries = merge([sample()], [history], no_mask, settings or MergeSettings()).entries
    return [item.id for item in entries[0].instances] if entries else None


DRAWN = instance("drawn", State.DRAWN)
ACCEPTED = instance("accepted", State.ACCEPTED)
LABEL = instance("label", State.ACCEPTED, IMPORTED)
GUESS = instance("guess", State.PROPOSED, MODEL)
REJECTED = instance("rejected", State.REJECTED)
WITH_GUESSES = MergeSettings(states=(State.PROPOSED, State.ACCEPTED, State.EDITED, State.DRAWN))


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ((), None),
        ((said(HUMAN, 1, DRAWN),), ["drawn"]),
        ((said(HUMAN, 1, DRAWN), said(HUMAN, 2, ACCEPTED)), ["accepted"]),
        ((said(HUMAN, 1, DRAWN), said(IMPORTED, 2, LABEL)), ["drawn"]),
        ((said(HUMAN, 1, DRAWN), said(MODEL, 2, GUESS)), ["drawn"]),
        ((said(IMPORTED, 1, LABEL), said(MODEL, 2, GUESS)), ["label"]),
        ((said(HUMAN, 1, DRAWN), said(HUMAN, 2)), []),
        ((said(HUMAN, 1, DRAWN), said(IMPORTED, 2)), ["drawn"]),
        ((said(IMPORTED, 1),), []),
        ((said(HUMAN, 1, REJECTED),), []),
        ((said(HUMAN, 1, DRAWN, REJECTED, ACCEPTED),), ["accepted", "drawn"]),
        ((said(HUMAN, 1, DRAWN, GUESS),), None),
        ((said(MODEL, 1, GUESS),), None),
        ((said(MODEL, 1),), None),
    ],
)
def test_who_speaks_for_an_image(history: tuple[Annotation, ...], expected: list[str] | None) -> None:
    assert ids(*history) == expected


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ((said(MODEL, 1, GUESS),), ["guess"]),
        ((said(MODEL, 1),), None),
        ((said(HUMAN, 1, DRAWN), said(MODEL, 2, GUESS)), ["drawn"]),
        ((said(HUMAN, 1), said(MODEL, 2, GUESS)), []),
        ((said(HUMAN, 1, DRAWN, GUESS),), ["drawn", "guess"]),
    ],
)
def test_models_teach_only_where_asked_for(history: tuple[Annotation, ...], expected: list[str] | None) -> None:
    assert ids(*history, settings=WITH_GUESSES) == expected


def test_an_entry_carries_the_sample_and_the_revision_that_spoke() -> None:
    [entry] = merge([sample()], [[said(HUMAN, 3, DRAWN)]], no_mask, MergeSettings()).entries
    assert (entry.sample_id, entry.size_hw, entry.split, entry.group, entry.revision) == (
        "a",
        SIZE,
        "train",
        "group of a",
        3,
    )
    assert entry.instances == (DRAWN,)


def test_entries_are_sorted_and_strangers_left_out() -> None:
    histories = [[said(HUMAN, 1, sample_id=name)] for name in ("stranger", "a", "b")]
    entries = merge([sample("b"), sample("a")], histories, no_mask, MergeSettings()).entries
    assert [entry.sample_id for entry in entries] == ["a", "b"]


def test_a_box_takes_the_mask_that_was_made_for_it() -> None:
    made = Mask.from_box(Box(3, 4, 10, 11), SIZE)
    history = [said(IMPORTED, 1, boxed("box"), LABEL)]
    masks = {("a", "box"): made}
    [entry] = merge([sample()], [history], lambda *key: masks.get(key), MergeSettings()).entries
    assert [item.mask for item in entry.instances] == [made, LABEL.mask]
    assert entry.instances[0].box == BOX


def test_a_mask_made_for_a_box_says_who_made_it() -> None:
    made = Mask.from_box(Box(3, 4, 10, 11), SIZE)
    history = [said(IMPORTED, 1, boxed("box"), LABEL)]
    [entry] = merge([sample()], [history], lambda *_: made, MergeSettings(), masks_by="grabcut-1").entries
    by_id = {one.id: one.origin for one in entry.instances}
    assert by_id["box"] == Origin(IMPORTED, "labels.json + grabcut-1")
    assert by_id[LABEL.id] == LABEL.origin, "the label file's own mask is its own"


@pytest.mark.parametrize("mask", [None, Mask.empty(SIZE)])
def test_a_box_without_a_mask_is_never_filled(mask: Mask | None) -> None:
    history = [said(IMPORTED, 1, boxed("box"))]
    with pytest.raises(DataError, match="instance box") as caught:
        merge([sample()], [history], lambda *_: mask, MergeSettings())
    assert caught.value.sample_id == "a"


def test_a_mask_of_another_size_is_refused() -> None:
    wrong = instance("wrong", State.DRAWN, mask=Mask.from_box(BOX, (40, 40)))
    with pytest.raises(ShapeMismatch, match="the image is"):
        merge([sample()], [[said(HUMAN, 1, wrong)]], no_mask, MergeSettings())


def test_problems_can_be_quarantined_while_the_rest_goes_on() -> None:
    problems: list[DataError] = []
    told: list[tuple[str, dict[str, object]]] = []
    histories = [
        [said(IMPORTED, 1, boxed("box"))],
        [said(HUMAN, 1, DRAWN, sample_id="b")],
        [said(HUMAN, 1, sample_id="c")],
        [said(HUMAN, 1, GUESS, sample_id="d")],
    ]
    entries = merge(
        [sample(name) for name in "abcd"],
        histories,
        no_mask,
        MergeSettings(),
        lambda name, /, **data: told.append((name, data)),
        quarantine=problems.append,
    ).entries
    assert [entry.sample_id for entry in entries] == ["b", "c"]
    assert [problem.sample_id for problem in problems] == ["a"]
    assert told == [("merge.done", {"images": 2, "negatives": 1, "held_back": 1, "quarantined": 1})]


def test_two_different_annotations_with_one_number_are_refused() -> None:
    with pytest.raises(DataError, match="both revision 1"):
        ids(said(HUMAN, 1, DRAWN), said(HUMAN, 1, ACCEPTED))
    assert ids(said(HUMAN, 1, DRAWN), said(HUMAN, 1, DRAWN)) == ["drawn"]


@pytest.mark.parametrize("states", [(State.REJECTED,), ()])
def test_settings_refuse_states_that_cannot_teach(states: tuple[State, ...]) -> None:
    with pytest.raises(ValidationError):
        MergeSettings(states=states)


def test_what_was_taken_back_does_not_speak() -> None:
    taken_back = replace(said(HUMAN, 2, DRAWN), withdrawn=True)
    assert ids(taken_back) is None
    assert ids(said(IMPORTED, 1, LABEL), taken_back) == ["label"]
    assert ids(taken_back, said(HUMAN, 3, ACCEPTED)) == ["accepted"]


def test_entries_say_what_is_left_of_each_mask_and_nothing_is_measured_twice() -> None:
    measured: list[Mask] = []

    def measure(mask: Mask) -> float:
        measured.append(mask)
        return 0.97 + 1e-9

    history = [said(HUMAN, 1, DRAWN, instance("other", State.DRAWN, mask=Mask.from_box(Box(15, 1, 25, 9), SIZE)))]
    first = merge([sample()], [history], no_mask, MergeSettings(), round_trip=remembered(measure, ())).entries
    assert first[0].round_trip == {"drawn": 0.97, "other": 0.97}
    assert len(measured) == 2
    again = remembered(measure, first)
    assert merge([sample()], [history], no_mask, MergeSettings(), round_trip=again).entries == first
    assert len(measured) == 2


def test_what_was_rejected_stays_so_when_people_are_asked_again() -> None:
    """Who is asked again is shown what is left, so that their word does not speak of what was thrown out before."""
    other = Mask.from_box(Box(15, 1, 25, 9), SIZE)
    shown = said(MODEL, 1, GUESS, instance("wrong", State.PROPOSED, MODEL, other))
    anna = said(HUMAN, 2, instance("guess", State.ACCEPTED), instance("wrong", State.REJECTED, mask=other))
    again = replace(
        said(HUMAN, 3, instance("guess", State.EDITED)),
        origin=Origin(HUMAN, "bert"),
        round=1,
        created_at=NOON + timedelta(hours=1),
    )
    assert ids(shown, anna, again) == ["guess"]
    assert ids(shown, anna, again, settings=WITH_GUESSES) == ["guess"]
    brought_back = replace(again, instances=(*again.instances, instance("wrong", State.ACCEPTED, mask=other)))
    assert ids(shown, anna, brought_back) == ["guess", "wrong"]
    assert ids(shown, replace(anna, withdrawn=True), again) is None, "nobody has judged it: held back"


def test_who_rejects_a_machines_object_leaves_the_persons_in_its_place() -> None:
    shown = said(MODEL, 1, GUESS)
    anna = said(HUMAN, 2, DRAWN)
    rejecting = replace(said(HUMAN, 3, instance("guess", State.REJECTED)), partial=True)
    reviewer = replace(rejecting, origin=Origin(HUMAN, "rev"), created_at=NOON + timedelta(hours=1))
    assert ids(shown, anna, reviewer) == ["drawn"]
    anew = replace(reviewer, instances=(instance("guess", State.EDITED),))
    assert ids(shown, anna, anew) == ["guess"], "who says how it is speaks of whatever is in its place"


@pytest.mark.parametrize(("kind", "state"), [(IMPORTED, State.ACCEPTED), (MODEL, State.PROPOSED)])
def test_a_piece_of_what_a_person_outlined_is_no_object_of_its_own(kind: OriginKind, state: State) -> None:
    def left(box: Box, label: str = "disc", above: Instance = DRAWN) -> list[str] | None:
        below = replace(instance("below", state, kind, Mask.from_box(box, SIZE)), label=label)
        return ids(
            said(HUMAN, 1, *{above.id: above, DRAWN.id: DRAWN}.values()),
            said(kind, 2, below),
            settings=WITH_GUESSES,
        )

    assert left(Box(4, 5, 8, 9)) == ["drawn"]
    assert left(Box(4, 5, 8, 9), "hole") == ["below", "drawn"], "something else"
    assert left(Box(10, 3, 16, 13)) == ["below", "drawn"], "mostly outside"
    everywhere = replace(REJECTED, mask=Mask.from_box(Box(0, 0, 30, 20), SIZE))
    assert left(Box(14, 3, 18, 13), above=everywhere) == ["below", "drawn"], "what was rejected stands for nothing"


def test_a_redrawn_object_leaves_the_rejected_one_rejected() -> None:
    """The machine sees both of them again when people are asked again: one to one, each has its match."""
    near = Mask.from_box(Box(2, 3, 12, 11), SIZE)
    anna = said(HUMAN, 1, instance("guess", State.REJECTED), instance("drawn", State.DRAWN, mask=near))
    bert = replace(
        said(HUMAN, 2, instance("drawn", State.ACCEPTED, mask=near)), created_at=NOON + timedelta(hours=1)
    )
    later = said(MODEL, 3, GUESS, instance("other", State.PROPOSED, MODEL, near))
    assert ids(anna, replace(bert, round=1), later) == ["drawn"]


def test_a_reviewers_word_outlives_another_persons_late_answer_and_settles_the_dispute() -> None:
    def at(minute: int, author: str, *instances: Instance, partial: bool = False) -> Annotation:
        origin = Origin(HUMAN, author)
        return Annotation("a", minute, instances, origin, 1, NOON + timedelta(minutes=minute), partial=partial)

    gone = replace(ACCEPTED, state=State.REJECTED, origin=Origin(HUMAN, "reviewer"))
    answers = [at(1, "anna", ACCEPTED), at(3, "bert")]
    disputed = merge([sample()], [answers], no_mask, MergeSettings())
    assert disputed.disputed == {"a": 0.0}
    looked_over = merge([sample()], [[*answers, at(2, "reviewer", gone, partial=True)]], no_mask, MergeSettings())
    assert looked_over.disputed == {}
    assert looked_over.entries[0].instances == ()
