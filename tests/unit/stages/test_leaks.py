"""Leaks: what training would see of what is held out."""

from __future__ import annotations

import numpy as np

from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.likeness import Likeness
from pipeline.domain.records import Split
from pipeline.stages.leaks import Leak, leaks

SPLITS: dict[str, Split] = {}


def entry(name: str, split: Split, group: str = "") -> DatasetEntry:
    return DatasetEntry(name, (8, 8), split, group or name, 1, ())


def look(scene: int, flipped: int = 0) -> Likeness:
    rng = np.random.default_rng(scene)
    thumbnail = rng.integers(0, 256, 768, dtype=np.uint8).tobytes()
    return Likeness(int(rng.integers(0, 1 << 63)) ^ ((1 << flipped) - 1), thumbnail)


def test_different_images_do_not_leak() -> None:
    entries = [entry("a", "train"), entry("b", "val"), entry("c", "test")]
    assert leaks(entries, SPLITS, {name: look(number) for number, name in enumerate("abc")}) == []


def test_near_duplicates_within_a_split_do_not_leak() -> None:
    entries = [entry("a", "train"), entry("b", "train"), entry("c", "val"), entry("d", "val")]
    assert leaks(entries, SPLITS, {"a": look(1), "b": look(1, 2), "c": look(2), "d": look(2)}) == []


def test_a_near_duplicate_of_what_is_held_out_leaks_once() -> None:
    entries = [entry("a", "train"), entry("b", "val"), entry("c", "test"), entry("d", "train")]
    (found,) = leaks(entries, SPLITS, {"a": look(1, 3), "b": look(1), "c": look(1), "d": look(2)})
    assert (found.train, found.kind, found.distance) == ("a", "near-duplicate", 3)
    assert found.held_out in {"b", "c"}
    assert found.correlation is not None
    assert found.correlation > 0.999


def test_the_same_group_leaks_whatever_it_looks_like() -> None:
    entries = [entry("a", "train", "clip"), entry("c", "val", "clip"), entry("b", "val", "clip")]
    assert leaks(entries, SPLITS, {}) == [Leak("a", "b", "group")]


def test_a_sample_that_the_pool_holds_out_leaks_as_itself_and_comes_first() -> None:
    entries = [entry("a", "train"), entry("b", "val"), entry("z", "train")]
    found = leaks(entries, {"a": "train", "b": "val", "z": "test"}, {"a": look(1), "b": look(1)})
    assert found[0] == Leak("z", "z", "itself")
    assert [(leak.train, leak.held_out) for leak in found[1:]] == [("a", "b")]


def test_every_leaking_train_image_is_named() -> None:
    entries = [entry(f"t{number:03d}", "train") for number in range(300)] + [entry("v", "val")]
    likenesses = {one.sample_id: look(1, number % 9) for number, one in enumerate(entries)}
    assert {leak.train for leak in leaks(entries, SPLITS, likenesses)} == {one.sample_id for one in entries[:-1]}
