"""Grouping: what joins what, what is torn between splits, and by which images that is told."""

from __future__ import annotations

import numpy as np

from pipeline.domain.grouping import Anchor, Arrival, Place, Torn, place
from pipeline.domain.likeness import Likeness
from pipeline.domain.records import Split

THUMBNAIL = np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes()


def frame(step: int) -> Likeness:
    """Of one slow pan: frames one or two steps apart are alike (4 and 8 bits), farther ones are not."""
    return Likeness((1 << 4 * step) - 1, THUMBNAIL)


def val(_group: str) -> Split:
    return "val"


def test_a_new_image_joins_what_it_looks_like() -> None:
    pool = [Anchor("known", "train", "group", frame(0))]
    places = place([Arrival("far", likeness=frame(9)), Arrival("near", likeness=frame(1))], pool, val)
    assert places == {"near": Place("train", "group"), "far": Place("val", "far")}


def test_it_joins_through_another_new_image_too() -> None:
    pool = [Anchor("known", "train", "group", frame(0))]
    places = place([Arrival("a", likeness=frame(4)), Arrival("b", likeness=frame(2))], pool, val)
    assert set(places.values()) == {Place("train", "group")}


def test_what_is_tied_to_two_splits_is_torn_with_all_between() -> None:
    left, right = Anchor("left", "train", "l", frame(0)), Anchor("right", "test", "r", frame(10))
    steps = {"a": 2, "b": 4, "c": 6, "d": 8}
    places = place([Arrival(name, likeness=frame(step)) for name, step in steps.items()], [left, right], val)
    assert set(places.values()) == {Torn((right, left), ("a", "b", "c", "d"))}


def test_an_image_of_the_same_key_that_looks_like_nothing_is_not_torn() -> None:
    pool = [Anchor("left", "train", "l", frame(0)), Anchor("right", "test", "r", frame(10))]
    new = [
        Arrival("a", "clip", likeness=frame(1)),
        Arrival("b", "clip", likeness=frame(9)),
        Arrival("c", "clip", likeness=None),
    ]
    places = place(new, pool, val)
    assert isinstance(places["a"], Torn)
    assert isinstance(places["b"], Torn)
    assert places["c"] == Place("val", "clip")


def test_a_known_group_decides_the_split_of_its_new_members() -> None:
    """Whatever the fractions are by now."""
    places = place([Arrival("new", "clip")], [Anchor("old", "test", "clip")], val)
    assert places == {"new": Place("test", "clip")}


def test_a_group_that_lies_in_two_splits_takes_no_new_member() -> None:
    pool = [Anchor("one", "train", "clip"), Anchor("two", "val", "clip")]
    places = place([Arrival("a", "clip"), Arrival("b", "clip")], pool, val)
    assert set(places.values()) == {Torn((pool[0], pool[1]), ("a", "b"))}


def test_keys_that_look_alike_share_a_split_and_keep_their_names() -> None:
    new = [Arrival("a", "k2", likeness=frame(0)), Arrival("b", "k1", likeness=frame(1)), Arrival("c", "k2")]
    places = place(new, [], lambda group: "train" if group == "k1" else "val")
    assert places == {"a": Place("train", "k2"), "b": Place("train", "k1"), "c": Place("train", "k2")}


def test_a_split_that_is_given_stands_and_draws_others() -> None:
    new = [Arrival("a", given="test", likeness=frame(0)), Arrival("b", likeness=frame(1))]
    assert place(new, [], val) == {"a": Place("test", "a"), "b": Place("test", "a")}


def test_without_likenesses_nothing_is_alike() -> None:
    places = place([Arrival("a"), Arrival("b")], [Anchor("old", "train", "old")], val)
    assert places == {"a": Place("val", "a"), "b": Place("val", "b")}
