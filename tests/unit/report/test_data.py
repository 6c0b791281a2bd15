"""The facts about dataset versions, and about what is doubtful in the newest one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.domain.dataset import DatasetEntry, manifest_bytes, version_of
from pipeline.domain.ingested import Quarantined
from pipeline.ports import Verdict
from pipeline.report.data import LISTED, PICTURED, data_of
from pipeline.report.pictures import Album
from pipeline.store.workspace import Workspace
from tests.fakes.store import NOON, SIZE_HW, ingested, instance, sample_id


def entry(
    number: int, round_trip: Mapping[str, float] | None = None, agreement: float | None = None
) -> DatasetEntry:
    key = sample_id(number)
    things = tuple(instance(name) for name in (round_trip or {"one": 1.0}))
    return DatasetEntry(key, SIZE_HW, "train", key, 1, things, agreement, round_trip or {})


def publish(
    workspace: Workspace, *entries: DatasetEntry, round_: int = 1, config: str = "", code: str = ""
) -> None:
    workspace.ledger.samples.add([ingested(number) for number in range(40)])
    manifest = manifest_bytes(entries, ["cat"])
    workspace.blobs.put(manifest)
    workspace.ledger.versions.add(version_of(manifest, None), round_, config=config, code=code)


def test_masks_under_the_floor_are_shown_worst_first(workspace: Workspace, album: Album) -> None:
    publish(workspace, entry(1, {"a": 0.97, "b": 0.90}), entry(2, {"c": 0.5}), entry(3, {"d": 0.95}))
    found = data_of(workspace, album, 1, 0.5)
    assert (found.measured, found.lossy) == (4, 2)
    assert found.mean == pytest.approx((0.97 + 0.90 + 0.5 + 0.95) / 4)
    assert [(item.name, item.label, item.value) for item in found.worst] == [
        ("2.png", "cat", 0.5),
        ("1.png", "cat", 0.9),
    ]
    assert all(item.picture.uri for item in found.worst)


def test_of_many_only_the_worst_are_shown_and_all_are_counted(workspace: Workspace, album: Album) -> None:
    publish(workspace, *(entry(number, {"a": 0.5 + number / 100}, number / 100) for number in range(30)))
    found = data_of(workspace, album, 1, 0.1)
    assert (found.lossy, len(found.worst), len(found.quarrels)) == (30, PICTURED, PICTURED)
    assert [item.value for item in found.worst] == sorted(item.value for item in found.worst)
    assert (found.spoken, found.disputed) == (30, 10)


def test_full_agreement_is_no_quarrel(workspace: Workspace, album: Album) -> None:
    publish(workspace, entry(1, agreement=1.0), entry(2, agreement=0.25), entry(3))
    workspace.ledger.rounds.mark(1, "merge", {"agreement": {"bert": [0.6, 2], "anna": [0.7, 2]}})
    found = data_of(workspace, album, 1, 0.5)
    assert (found.spoken, found.disputed, found.agreement) == (2, 1, 0.625)
    assert [(item.name, item.value) for item in found.quarrels] == [("2.png", 0.25)]
    assert found.by_author == [("anna", 0.7, 2), ("bert", 0.6, 2)]
    assert (found.measured, found.mean) == (0, None)


def test_versions_say_what_made_them(workspace: Workspace, album: Album) -> None:
    publish(workspace, entry(1), config="c" * 64, code="maskloop 1")
    publish(workspace, entry(1), entry(2), round_=2)
    first, second = data_of(workspace, album, 2, 0.5).versions
    assert (first.round, first.config, first.code) == (1, "c" * 64, "maskloop 1")
    assert (second.round, second.config, second.code) == (2, "", "")
    assert (second.of("split"), second.of("class"), second.of("state")) == (
        {"train": 2},
        {"cat": 2},
        {"accepted": 2},
    )


def test_images_that_reviewers_hold_out_are_named_as_far_as_there_is_room(
    workspace: Workspace, album: Album
) -> None:
    workspace.ledger.samples.add([ingested(number) for number in range(LISTED + 5)])
    for number in range(LISTED + 5):
        workspace.ledger.decisions.add(Verdict(sample_id(number), "hold-out", "anna", None, NOON), 1)
    workspace.ledger.decisions.add(Verdict(sample_id(0), "accept", "anna", None, NOON), 2)
    found = data_of(workspace, album, 1, 0.5)
    assert found.kept_out == LISTED + 4
    assert found.held_out == sorted(f"{number}.png" for number in range(1, LISTED + 5))[:LISTED]


def test_what_was_set_aside_is_listed_as_far_as_there_is_room(workspace: Workspace, album: Album) -> None:
    for number in range(LISTED + 5):
        workspace.ledger.samples.quarantine(Quarantined(Path(f"/images/{number:03}.png"), "torn", (1, 1)))
    found = data_of(workspace, album, 1, 0.5)
    assert found.versions == []
    assert len(found.quarantined) == LISTED
    assert found.quarantined[0] == ("000.png", "torn")
    assert found.reasons == [("torn", LISTED + 5)]
