"""Whatever arrives, in whatever order and portions: nothing moves, and what looks alike is never divided."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache, partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.grouping import Anchor, Arrival, Place, Torn, place
from pipeline.domain.likeness import Likeness, alike
from pipeline.domain.splits import assign_split

SPLITS = ("train", "val", "test")
ASSIGN = partial(assign_split, "", train=0.6, val=0.25)


@cache
def likeness(scene: int, step: int) -> Likeness:
    """A frame of a scene: each `step` flips three bits more, so frames up to three steps apart are alike."""
    rng = np.random.default_rng(scene)
    thumbnail = rng.integers(0, 256, 768, dtype=np.uint8).tobytes()
    flips = sum(1 << int(bit) for bit in rng.permutation(63)[: 3 * step])
    return Likeness(int(rng.integers(0, 1 << 63)) ^ flips, thumbnail)


def arrival(number: int, scene: int, step: int, key: str = "", given: str | None = None) -> Arrival:
    name = hashlib.sha256(f"{number}".encode()).hexdigest()
    return Arrival(name, key, given if given in SPLITS else None, likeness(scene, step))  # type: ignore[arg-type]


@st.composite
def arrivals(draw: st.DrawFn, keys: Sequence[str] = ("",), given: Sequence[str] = ("",)) -> list[Arrival]:
    row = st.tuples(st.integers(0, 4), st.integers(0, 12), st.sampled_from(keys), st.sampled_from(given))
    rows = draw(st.lists(row, max_size=14))
    return [arrival(number, *fields) for number, fields in enumerate(rows)]


MIXED = arrivals(keys=("", "", "a", "b"), given=("", "", "", "train", "val"))


def taken(rows: Sequence[Arrival], places: dict[str, Place | Torn]) -> list[Anchor]:
    """What the pool holds afterwards."""
    found = ((one, places[one.id]) for one in rows)
    return [Anchor(one.id, at.split, at.group, one.likeness) for one, at in found if isinstance(at, Place)]


def pairs(pool: Sequence[Anchor]) -> list[tuple[Anchor, Anchor]]:
    return [
        (one, other)
        for number, one in enumerate(pool)
        for other in pool[:number]
        if one.likeness and other.likeness and alike(one.likeness, other.likeness)
    ]


@given(MIXED, st.data())
def test_the_order_of_what_arrives_together_does_not_matter(rows: list[Arrival], data: st.DataObject) -> None:
    assert place(data.draw(st.permutations(rows)), [], ASSIGN) == place(rows, [], ASSIGN)


@given(arrivals(), st.integers(0, 14))
def test_what_looks_alike_is_never_divided(rows: list[Arrival], cut: int) -> None:
    """In two portions, no image being told its split: every pair that is alike lies in one split."""
    pool = taken(rows[:cut], place(rows[:cut], [], ASSIGN))
    later = place(rows[cut:], pool, ASSIGN)
    pool += taken(rows[cut:], later)
    assert all(one.split == other.split for one, other in pairs(pool))
    torn = {key: at for key, at in later.items() if isinstance(at, Torn)}
    for at in torn.values():
        assert len({anchor.split for anchor in at.between}) == len(at.between) > 1
        assert {key for key in torn if torn[key].together == at.together} == set(at.together)


@given(MIXED)
def test_given_splits_stand_and_no_other_image_is_like_two(rows: list[Arrival]) -> None:
    places = place(rows, [], ASSIGN)
    said = {one.id for one in rows if one.given is not None}
    assert all(isinstance(at := places[one.id], Place) and at.split == one.given for one in rows if one.given)
    for one, other in pairs(taken(rows, places)):
        assert one.split == other.split or {one.id, other.id} <= said
    for new in rows:
        at = places[new.id]
        assert isinstance(at, Torn) or (at.group and at.group == (new.key or at.group))


@given(MIXED, st.data())
def test_a_crash_between_two_writes_changes_no_split(rows: list[Arrival], data: st.DataObject) -> None:
    """What is torn is written first; any part of the rest may have been written when the run ends, and goes on."""
    places = place(rows, [], ASSIGN)
    rest = [one for one in rows if isinstance(places[one.id], Place)]
    written = [one for one in rest if data.draw(st.booleans())]
    again = place([one for one in rest if one not in written], taken(written, places), ASSIGN)
    assert {key: at.split if isinstance(at, Place) else at for key, at in again.items()} == {
        one.id: at.split for one in rest if one not in written and isinstance(at := places[one.id], Place)
    }


@given(arrivals(), st.data())
def test_a_crash_changes_no_group_of_what_looks_alike(rows: list[Arrival], data: st.DataObject) -> None:
    places = place(rows, [], ASSIGN)
    written = [one for one in rows if data.draw(st.booleans())]
    again = place([one for one in rows if one not in written], taken(written, places), ASSIGN)
    assert all(at == places[key] for key, at in again.items())


def test_single_images_are_divided_by_their_own_id() -> None:
    rows = [arrival(number, number, 0) for number in range(200)]
    places = place(rows, [], ASSIGN)
    assert all(places[one.id] == Place(ASSIGN(one.id), one.id) for one in rows)


@pytest.mark.parametrize("more", [1, 10, 100, 10_000])
def test_nothing_moves_when_images_are_added(more: int) -> None:
    """What is new and like what is there joins it; what was there is not even among the answers."""
    first = [arrival(number, number // 3, number % 3) for number in range(900)]
    added = [arrival(900 + number, number // 2, 3 if number < 600 else 0) for number in range(more)]
    pool = taken(first, place(first, [], ASSIGN))
    after = place(added, pool, ASSIGN)
    assert after.keys() == {one.id for one in added}, "the pool's images are looked at, and not placed again"
    by_scene = {number // 3: one.split for number, one in enumerate(pool)}
    for number, one in enumerate(added):
        at = after[one.id]
        assert isinstance(at, Place)
        assert at.split == by_scene.get(number // 2, at.split)
    assert len({at.split for at in after.values() if isinstance(at, Place)}) > (more > 1)
