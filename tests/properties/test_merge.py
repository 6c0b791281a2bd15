"""Whatever order the words arrive in, the version is the same, and it keeps the house's promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.dataset import manifest_bytes
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import (
    HUMAN_VERIFIED,
    Annotation,
    Before,
    Instance,
    Origin,
    OriginKind,
    Sample,
    State,
)
from pipeline.stages.merge import MergeSettings, merge, opinion_of

SIZE = (8, 9)
PLACES = [Box(0, 0, 4, 4), Box(1, 0, 4, 4), Box(5, 4, 9, 8), Box(4, 4, 9, 8), Box(2, 2, 7, 6)]
NOON = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = ("a", "b")
SAMPLES = [Sample(name, Path(name), SIZE, "train", name) for name in NAMES]
PEOPLE = ("anna", "bert", "cleo")
MODEL = Origin(OriginKind.MODEL, "yolo")


def made(key: str, place: int, origin: Origin, state: State, label: str = "disc") -> Instance:
    seen = Before(MODEL, "disc", Mask.from_box(PLACES[0], SIZE)) if key.startswith("m") else None
    before = seen if origin.kind is OriginKind.HUMAN else None
    return Instance(key, label, PLACES[place], Mask.from_box(PLACES[place], SIZE), origin, state, before=before)


@st.composite
def words(draw: st.DrawFn, name: str, minute: int) -> Annotation:
    """One annotation by anybody: objects are the machine's (m0 … m2), or the speaker's own."""
    kind = draw(st.sampled_from([OriginKind.HUMAN, OriginKind.HUMAN, OriginKind.IMPORTED, OriginKind.MODEL]))
    author = draw(st.sampled_from(PEOPLE)) if kind is OriginKind.HUMAN else "x"
    origin = Origin(kind, author)
    states = [State.PROPOSED] if kind is OriginKind.MODEL else [state for state in State if state != "proposed"]
    keys = [f"m{number}" for number in range(3)] + [f"{author}{minute}", f"{author}{minute}'"]
    said = tuple(
        made(key, draw(st.integers(0, 4)), origin, draw(st.sampled_from(states)), draw(st.sampled_from("ds")))
        for key in draw(st.lists(st.sampled_from(keys), max_size=4, unique=True))
    )
    return Annotation(
        name,
        0,
        said,
        origin,
        draw(st.integers(1, 2)),
        NOON + timedelta(minutes=minute),
        withdrawn=kind is OriginKind.HUMAN and draw(st.integers(0, 5)) == 0,
        partial=kind is OriginKind.HUMAN and draw(st.booleans()),
    )


@st.composite
def ledgers(draw: st.DrawFn) -> list[Annotation]:
    """What a ledger may hold, in the order of arrival, which is not the order of time."""
    rows = [draw(words(name, minute)) for name in NAMES for minute in range(draw(st.integers(0, 5)))]
    return numbered(rows)


def numbered(rows: Sequence[Annotation]) -> list[Annotation]:
    """Revisions are numbered as they arrive."""
    seen: Counter[str] = Counter()
    arrived = []
    for row in rows:
        seen[row.sample_id] += 1
        arrived.append(replace(row, revision=seen[row.sample_id]))
    return arrived


SETTINGS = st.builds(
    lambda states, method: MergeSettings(states=tuple(sorted(states)), consensus=method),
    st.sets(st.sampled_from([state for state in State if state is not State.REJECTED]), min_size=1),
    st.sampled_from(["majority", "staple"]),
)


def version(
    annotations: Sequence[Annotation], settings: MergeSettings, samples: Sequence[Sample] = SAMPLES
) -> bytes:
    merged = merge(samples, [annotations], lambda *_: None, settings)
    return manifest_bytes(merged.entries, ["d", "s"])


@given(ledgers(), SETTINGS, st.data())
def test_order_of_arrival_changes_nothing(
    ledger: list[Annotation], settings: MergeSettings, data: st.DataObject
) -> None:
    expected = version(ledger, settings)
    arrived = numbered(data.draw(st.permutations(ledger)))
    cut = data.draw(st.integers(0, len(ledger)))
    assert version(arrived, settings, SAMPLES[::-1]) == expected
    split = merge(SAMPLES, [arrived[cut:], arrived[:cut]], lambda *_: None, settings)
    assert manifest_bytes(split.entries, ["d", "s"]) == expected


@given(ledgers(), SETTINGS)
def test_only_states_that_may_teach_enter_and_unlabelled_is_not_negative(
    ledger: list[Annotation], settings: MergeSettings
) -> None:
    entries = {entry.sample_id: entry for entry in merge(SAMPLES, [ledger], lambda *_: None, settings).entries}
    for name in NAMES:
        standing = [said for said in ledger if said.sample_id == name and not said.withdrawn]
        said_whole = [said for said in standing if said.origin.kind is not OriginKind.MODEL and not said.partial]
        entry = entries.get(name)
        if entry is None:
            continue
        assert {instance.state for instance in entry.instances} <= set(settings.states)
        assert entry.instances or said_whole, "only a word on the whole image makes it a negative"
        if State.PROPOSED not in settings.states:
            assert any(said.origin.kind is not OriginKind.MODEL for said in standing)


@given(ledgers(), SETTINGS)
def test_a_prediction_never_becomes_a_persons_word(ledger: list[Annotation], settings: MergeSettings) -> None:
    """Every verified instance of a version was verified, under its id, by a person or a label file."""
    for entry in merge(SAMPLES, [ledger], lambda *_: None, settings).entries:
        verified = {
            instance.id
            for said in ledger
            if said.sample_id == entry.sample_id and not said.withdrawn
            for instance in said.instances
            if instance.origin.kind is not OriginKind.MODEL and instance.state in HUMAN_VERIFIED
        }
        for instance in entry.instances:
            if instance.state in HUMAN_VERIFIED:
                assert instance.origin.kind is not OriginKind.MODEL
                assert instance.id in verified
            else:
                assert instance.state is State.PROPOSED
                assert instance.origin.kind is OriginKind.MODEL


@given(ledgers())
def test_what_one_person_rejected_does_not_come_back_from_a_machine(ledger: list[Annotation]) -> None:
    """With a single person, whatever they said last of an object stands against every model and label file."""
    alone = [replace(said, withdrawn=False) for said in ledger if said.origin.name in ("anna", "x")]
    for name in NAMES:
        history = [said for said in alone if said.sample_id == name]
        people = [said for said in history if said.origin.kind is OriginKind.HUMAN]
        opinion = opinion_of(history, MergeSettings())
        if not people or opinion is None:
            continue
        last = max(people, key=lambda said: said.created_at)
        by_id = {instance.id: instance for instance in opinion.instances}
        for instance in last.instances:
            assert by_id[instance.id] == instance


@given(st.lists(st.integers(0, 4), min_size=1, max_size=3), st.integers(0, 2))
def test_a_word_on_one_object_leaves_the_machines_others(places: list[int], judged: int) -> None:
    """The objects that the person did not speak of stay proposals: present where those may teach, else held back."""
    apart = [0, 2, 4][: len(places)]
    machine = [made(f"m{number}", place, MODEL, State.PROPOSED) for number, place in enumerate(apart)]
    shown = Annotation("a", 1, tuple(machine), MODEL, 1, NOON)
    anna = Origin(OriginKind.HUMAN, "anna")
    one = machine[judged % len(machine)]
    word = Annotation("a", 2, (replace(one, origin=anna, state=State.ACCEPTED),), anna, 1, NOON, partial=True)
    every = MergeSettings(states=(State.PROPOSED, State.ACCEPTED))
    merged = merge(SAMPLES[:1], [[shown, word]], lambda *_: None, every).entries
    assert {item.id: item.state for item in merged[0].instances} == {
        item.id: State.ACCEPTED if item.id == one.id else State.PROPOSED for item in machine
    }
    careful = merge(SAMPLES[:1], [[shown, word]], lambda *_: None, MergeSettings()).entries
    assert len(careful) == (1 if len(machine) == 1 else 0)
