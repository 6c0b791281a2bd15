"""Splits by hash: fractions, and that no other sample matters."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import PurePath

import pytest

from pipeline.domain.splits import FirstByHash, assign_split, group_key, unit_hash

IDS = [f"sample-{number}" for number in range(20_000)]


def test_fractions_are_kept() -> None:
    counts = Counter(assign_split("salt", name, train=0.7, val=0.2) for name in IDS)
    assert counts["train"] == pytest.approx(14_000, abs=250)
    assert counts["val"] == pytest.approx(4_000, abs=250)
    assert counts["test"] == pytest.approx(2_000, abs=250)


def test_fractions_that_sum_to_one_leave_no_test_split() -> None:
    assert {assign_split("", name, train=0.9, val=0.1) for name in IDS} == {"train", "val"}
    assert {assign_split("", name, train=0.0, val=1.0) for name in IDS} == {"val"}


def test_the_hash_is_fixed_for_ever() -> None:
    """Changing it would move samples between splits in every workspace there is."""
    assert unit_hash("", "a") == 0.4507088038839855
    assert unit_hash("salt", "a") == 0.5888847850926817


def test_the_first_by_hash_do_not_depend_on_the_order() -> None:
    shuffled = random.Random(1).sample(IDS[:500], 500)
    kept = []
    for order in (IDS[:500], shuffled):
        first: FirstByHash[str] = FirstByHash(7, "salt")
        released = [back for name in order if (back := first.offer(name, name)) is not None]
        assert len(released) == 493
        kept.append(list(first.kept()))
    assert kept[0] == kept[1] == sorted(IDS[:500], key=lambda name: unit_hash("salt", name))[:7]


def test_none_wanted_lets_all_pass() -> None:
    first: FirstByHash[str] = FirstByHash(0, "")
    assert first.offer("a", "value") == "value"
    assert list(first.kept()) == []


@pytest.mark.parametrize(
    ("by", "path", "expected"),
    [
        ("image", "a/b.jpg", ""),
        ("folder", "a/b/c.jpg", "root/a/b"),
        ("folder", "c.jpg", "root/."),
        ("video", "day/clip_000123.jpg", "root/day/clip"),
        ("video", "clip-7.png", "root/./clip"),
        ("video", "clip12 frame0007.png", "root/./clip12 frame"),
        ("video", "day/000123.jpg", "root/day/"),
        ("video", "portrait.jpg", ""),
    ],
)
def test_the_group_that_a_path_says(by: str, path: str, expected: str) -> None:
    assert group_key("root", PurePath(path), by) == expected


def test_the_group_that_a_pattern_finds() -> None:
    path = PurePath("ward-3/patient_07/scan_001.png")
    assert group_key("root", path, "pattern", r"patient_\d+") == "patient_07"
    assert group_key("root", path, "pattern", r"ward-(\d)/patient_(\d+)") == "3/07"
    assert group_key("root", path, "pattern", r"horse_\d+") == ""
