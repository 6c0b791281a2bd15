"""Manifests: canonical bytes, and everything that they say comes back."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from pipeline.domain.dataset import DatasetEntry, counts_of, manifest_bytes, parse_manifest, version_of
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Before, Instance, Origin, OriginKind, State
from pipeline.errors import BadFormat

SIZE = (20, 30)
MASK = Mask.from_box(Box(3, 4, 10, 6), SIZE)
PERSON = Origin(OriginKind.HUMAN, "ann")
MODEL = Origin(OriginKind.MODEL, "yolo-01", "box 1.0,2.0,3.0,4.0", 2)


def entry(name: str, *instances: Instance) -> DatasetEntry:
    return DatasetEntry(name, SIZE, "train", "group", 3, instances)


def instance(name: str = "b") -> Instance:
    return Instance(name, "cat", Box(3, 4, 10, 6), MASK, PERSON, State.DRAWN, clicks=2)


ENTRIES = [
    entry("2", replace(instance(), state=State.ACCEPTED, before=Before(MODEL, "dog", MASK)), instance("a")),
    replace(entry("1"), agreement=0.5, split="val"),
    replace(entry("3", instance()), round_trip={"b": 0.875}),
]


def test_the_bytes_do_not_change() -> None:
    """An older version's name must stay what it is."""
    digest = hashlib.sha256(manifest_bytes(ENTRIES, ["cat", "dog"])).hexdigest()
    assert digest == "ca1061e9d0dbfffe995d54fcf40611ad9fbbafffa308c369d5fe2139642e6536"


def test_order_does_not_matter_and_all_comes_back() -> None:
    data = manifest_bytes(ENTRIES, ["cat", "dog"])
    assert manifest_bytes(reversed(ENTRIES), ["cat", "dog"]) == data
    classes, back = parse_manifest(data)
    assert classes == ("cat", "dog")
    wanted = [replace(one, instances=tuple(sorted(one.instances, key=lambda item: item.id))) for one in ENTRIES]
    assert back == sorted(wanted, key=lambda one: one.sample_id)
    assert manifest_bytes(back, classes) == data


@pytest.mark.parametrize("letter", ["\u2028", "\x85", "\x0b", "\r", "\n", "\x1c", '"', "ü"])
def test_a_name_may_hold_any_character(letter: str) -> None:
    odd = replace(instance(), origin=Origin(OriginKind.IMPORTED, f"file{letter}name.json"), state=State.ACCEPTED)
    _, (back,) = parse_manifest(manifest_bytes([entry("1", odd)], ["cat"]))
    assert back.instances == (odd,)


def test_a_version_is_named_by_its_bytes_and_counted() -> None:
    data = manifest_bytes(ENTRIES, ["cat", "dog"])
    version = version_of(data, "parent")
    assert version.id == hashlib.sha256(data).hexdigest()
    assert version.counts == counts_of(ENTRIES)
    assert version.counts["split/val"] == 1
    assert version.counts["state/drawn"] == 2


@pytest.mark.parametrize("damage", [b"{}", b"[]", b"\xff\xfe", b"{", b'{"sample":1}', b"null"])
def test_a_damaged_line_is_named(damage: bytes) -> None:
    lines = manifest_bytes(ENTRIES, ["cat"]).splitlines()
    with pytest.raises(BadFormat) as caught:
        parse_manifest(b"\n".join([*lines[:2], damage, *lines[3:]]))
    assert caught.value.line == 3
    with pytest.raises(BadFormat):
        parse_manifest(damage)
