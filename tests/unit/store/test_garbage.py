"""What goes and what stays, one kind after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.domain.dataset import DatasetVersion
from pipeline.domain.rounds import ModelRef
from pipeline.store.garbage import Garbage, disk_bytes, find_garbage, free
from pipeline.store.lease import alone_in
from pipeline.store.workspace import Workspace
from tests.fakes.store import NOON, ingested


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = Workspace.open(tmp_path / "run", now=lambda: NOON)
    with opened.write_lock():
        yield opened
    opened.ledger.close()


def made(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def kinds(workspace: Workspace, *, keep: int | None = None) -> list[tuple[str, str]]:
    return [(item.kind, item.path.name) for item in find_garbage(workspace, keep=keep)]


def test_nothing_is_wrong_with_a_new_workspace(workspace: Workspace) -> None:
    assert find_garbage(workspace, keep=1) == []


def test_blobs_that_somebody_names_stay(workspace: Workspace) -> None:
    manifest, image, pointed, marked, stray = (
        workspace.blobs.put(name) for name in (b"1", b"2", b"3", b"4", b"5")
    )
    one = ingested(1)
    sample = replace(one.sample, path=workspace.blobs.path(image))
    workspace.ledger.samples.add([replace(one, sample=sample)])
    workspace.ledger.versions.add(DatasetVersion(manifest, None, {}), 1)
    workspace.ledger.pointers.set("anything", f"see {pointed}")
    workspace.ledger.rounds.mark(1, "merge", {"version": marked})
    assert kinds(workspace) == [("blob", stray)]
    free(workspace, find_garbage(workspace))
    assert not workspace.blobs.path(stray).parent.exists()
    assert all(workspace.blobs.has(name) for name in (manifest, image, pointed, marked))


def test_shards_that_were_recorded_stay(workspace: Workspace) -> None:
    for name in ("propose/a.parquet", "propose/b.parquet"):
        made(workspace.shards.path(name))
    workspace.ledger.products.record("propose", "f", "propose/a.parquet", "0" * 64, ["s"])
    assert kinds(workspace) == [("shard", "b.parquet")]


def test_models_and_what_is_exported_beside_them_stay(workspace: Workspace) -> None:
    weights = made(workspace.models / "yolo-1.pt")
    workspace.ledger.models.add(ModelRef("yolo-1", weights, "0" * 64, ("cat",)), 1)
    made(workspace.models / "yolo-1.onnx")
    made(workspace.models / "yolo-1_openvino_model" / "model.bin")
    made(workspace.models / "yolo-2.pt")
    assert kinds(workspace) == [("model", "yolo-2.pt")]


def test_trainings_of_rounds_that_have_their_model_go(workspace: Workspace) -> None:
    for name in ("round-1-abc", "round-2-def", "notes"):
        made(workspace.root / "work" / "train" / name / "plan.json")
    workspace.ledger.rounds.mark(1, "train", {"model": "yolo-1"})
    workspace.ledger.rounds.mark(2, "merge", {"version": "0" * 64})
    assert kinds(workspace) == [("training", "round-1-abc")]


def test_what_killed_processes_left_goes_whatever_it_was(workspace: Workspace) -> None:
    left = ["blobs/ab/.x.unfinished-1", "shards/propose/.x.unfinished-2", "models/.x.unfinished-3"]
    for name in left:
        made(workspace.root / name)
    made(workspace.root / "datasets" / ".x.unfinished-4" / "data.yaml")
    assert sorted(kinds(workspace)) == [("leftover", f".x.unfinished-{number}") for number in (1, 2, 3, 4)]


def test_a_proof_that_is_under_way_is_left_alone(workspace: Workspace) -> None:
    folder = workspace.root / "work" / "verify-abc"
    folder.mkdir(parents=True)
    with alone_in(folder):
        assert kinds(workspace) == []
    assert kinds(workspace) == [("leftover", "verify-abc")]


def test_training_folders_go_when_they_are_not_kept(workspace: Workspace) -> None:
    versions = [workspace.blobs.put(name) for name in (b"1", b"2", b"3")]
    for number, version in enumerate([*versions, versions[-1]], start=1):
        workspace.ledger.versions.add(DatasetVersion(version, None, {}), number)
        made(workspace.dataset_folder(version) / "manifest.jsonl")
    made(workspace.root / "datasets" / ("0" * 16) / "manifest.jsonl")
    assert kinds(workspace) == [("dataset", "0" * 16)]
    found = find_garbage(workspace, keep=2)
    assert [item.version for item in found if item.version] == [versions[0]], "the repeated version counts once"
    free(workspace, found)
    assert workspace.ledger.versions.dropped_folders() == {versions[0]}
    assert sorted(path.name for path in (workspace.root / "datasets").iterdir()) == sorted(
        version[:16] for version in versions[1:]
    )
    free(workspace, find_garbage(workspace, keep=1))
    assert workspace.ledger.versions.dropped_folders() == set(versions[:2])


def test_a_folder_that_is_half_removed_has_lost_its_name(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = workspace.blobs.put(b"1")
    workspace.ledger.versions.add(DatasetVersion(version, None, {}), 1)
    folder = made(workspace.dataset_folder("f" * 64) / "manifest.jsonl").parent

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.store.garbage.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        free(workspace, [Garbage(folder, "dataset")])
    monkeypatch.undo()
    assert not folder.exists()
    ((kind, name),) = kinds(workspace)
    assert kind == "leftover"
    assert name.startswith(f".{folder.name}.")


def test_what_has_another_name_frees_nothing(tmp_path: Path) -> None:
    one, other = made(tmp_path / "a" / "one", bytes(10_000)), tmp_path / "b" / "other"
    other.parent.mkdir()
    os.link(one, other)
    alone, folder = one.stat().st_blocks * 512, one.parent.stat().st_blocks * 512
    assert disk_bytes([one]) == 0
    assert disk_bytes([one, other]) == alone
    assert disk_bytes([one.parent, other]) == alone + folder
