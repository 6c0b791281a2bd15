"""Manifest, folder, row and pointer: the head is always a complete version."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest

from pipeline.config import Config
from pipeline.domain.dataset import DatasetEntry, DatasetVersion
from pipeline.domain.records import Instance, State
from pipeline.errors import LedgerError
from pipeline.services.publishing import folder_of, publish
from pipeline.stages.export import tree_hash
from pipeline.store.workspace import Workspace
from pipeline.wiring import load_config
from tests.fakes.store import NOON, SIZE_HW, ingested, instance, sample_id
from tests.integration.commands import TINY


class Killed(Exception):
    """Stands for a kill at a named moment."""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(TINY, ("project.classes=[cat, dog]",), workspace=tmp_path / "run")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """Three images, and the write lock."""
    for number in (1, 2, 3):
        PIL.Image.new("RGB", SIZE_HW[::-1]).save(tmp_path / f"{number}.png")
    opened = Workspace.open(tmp_path / "run", now=lambda: NOON)
    with opened.write_lock():
        opened.ledger.samples.add([ingested(number, folder=tmp_path) for number in (1, 2, 3)])
        yield opened
    opened.ledger.close()


def entries(*instances: Instance, count: int = 3) -> list[DatasetEntry]:
    return [DatasetEntry(sample_id(number), SIZE_HW, "train", "g", 1, instances) for number in range(1, count + 1)]


def test_each_version_descends_from_the_one_before(workspace: Workspace, config: Config) -> None:
    one, tree = publish(workspace, entries(instance("a")), 1, config)
    two, _ = publish(workspace, entries(instance("a"), instance("b")), 2, config)
    same, _ = publish(workspace, entries(instance("a"), instance("b")), 3, config)
    assert (one.parent, two.parent, same.parent) == (None, one.id, one.id)
    assert same.id == two.id
    head = workspace.ledger.versions.head()
    assert head == two == same
    assert tree == tree_hash(workspace.dataset_folder(one.id))


def test_what_has_not_changed_is_there_once(workspace: Workspace, config: Config) -> None:
    before = entries(instance("a"))
    one, _ = publish(workspace, before, 1, config)
    two, _ = publish(
        workspace, [replace(before[0], instances=(instance("a", State.EDITED),)), *before[1:]], 2, config
    )
    folders = [workspace.dataset_folder(version.id) for version in (one, two)]
    for kind in ("images", "labels"):
        first, second = (sorted((folder / kind / "train").iterdir()) for folder in folders)
        assert [a.samefile(b) for a, b in zip(first, second, strict=True)] == [True] * 3
    assert (folders[1] / "manifest.jsonl").samefile(workspace.blobs.path(two.id))


def test_the_configuration_counts_and_its_place_does_not(workspace: Workspace, config: Config) -> None:
    moved = config.model_copy(update={"workspace": Path("/elsewhere")})
    other = config.model_copy(update={"seed": config.seed + 1})
    ids = {
        publish(workspace, entries(), number, made)[0].id for number, made in enumerate((config, moved, other), 1)
    }
    digests = [digest for digest, _ in workspace.ledger.versions.made_by().values()]
    assert len(ids) == 1, "the same data is the same version, whoever made it"
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    "moment", ["file.synced", "file.renamed", "folder.created", "folder.filled", "folder.renamed", "ledger.ready"]
)
def test_a_kill_at_any_moment_leaves_the_head_complete(moment: str, workspace: Workspace, config: Config) -> None:
    one, _ = publish(workspace, entries(count=2), 1, config)

    def emit(event: str, /, **_: object) -> None:
        if event == moment:
            raise Killed

    root = workspace.root
    workspace.ledger.close()
    watched = Workspace.open(root, now=lambda: NOON, emit=emit)
    watched.ledger.join_fence()
    with pytest.raises(Killed):
        publish(watched, entries(), 2, config, emit=emit)
    watched.ledger.close()
    head = workspace.ledger.versions.head()
    assert head is not None
    assert head.id == one.id
    assert workspace.blobs.has(head.id)
    assert workspace.dataset_folder(head.id).is_dir()
    workspace.ledger.join_fence()
    again, tree = publish(workspace, entries(), 2, config)
    shutil.rmtree(workspace.dataset_folder(again.id))
    assert tree_hash(folder_of(workspace, 2)) == tree


def test_a_folder_that_is_gone_is_made_again(workspace: Workspace, config: Config) -> None:
    version, tree = publish(workspace, entries(instance("a")), 1, config)
    shutil.rmtree(workspace.dataset_folder(version.id))
    assert tree_hash(folder_of(workspace, 1)) == tree
    with pytest.raises(LedgerError, match="round 2 has made no dataset version"):
        folder_of(workspace, 2)


def test_a_ledger_without_the_pointer_has_a_head_all_the_same(workspace: Workspace) -> None:
    """As an older version of maskloop left it."""
    versions = workspace.ledger.versions
    assert versions.head() is None
    one, two = (DatasetVersion(letter * 64, None, {}) for letter in "ab")
    versions.add(one, 1)
    versions.add(two, 2)
    with sqlite3.connect(workspace.root / "ledger.sqlite") as connection:
        connection.execute("DELETE FROM pointers WHERE name = 'head'")
    connection.close()
    assert versions.head() == two
