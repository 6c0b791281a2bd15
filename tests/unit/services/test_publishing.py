"""Manifest, folder, row and pointer: the head is always a complete version."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest

from pipeline.config import Config
from pipeline.domain.dataset import DatasetEntry, DatasetVersion
from pipeline.domain.ingested import IngestedSample
from pipeline.domain.records import Instance, Sample, State
from pipeline.errors import DataError, LedgerError
from pipeline.formats.reading import stamp_of
from pipeline.services.publishing import folder_of, image_paths, original_paths, publish
from pipeline.stages.export import tree_hash
from pipeline.store.workspace import Workspace
from pipeline.wiring import load_config
from tests.fakes.store import NOON, SIZE_HW, instance
from tests.integration.commands import TINY


class Killed(Exception):
    """Stands for a kill at a named moment."""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(TINY, ("project.classes=[cat, dog]",), workspace=tmp_path / "run")


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", SIZE_HW[::-1], (number, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def named(number: int) -> str:
    return hashlib.sha256(png(number)).hexdigest()


def found(path: Path, number: int) -> IngestedSample:
    """An image that is there, at `path`."""
    path.write_bytes(png(number))
    return IngestedSample(Sample(named(number), path, SIZE_HW, "train", "g"), path, stamp_of(path), None, None)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """Three images, and the write lock."""
    opened = Workspace.open(tmp_path / "run", now=lambda: NOON)
    with opened.write_lock():
        opened.ledger.samples.add([found(tmp_path / f"{number}.png", number) for number in (1, 2, 3)])
        yield opened
    opened.ledger.close()


def entries(*instances: Instance, count: int = 3) -> list[DatasetEntry]:
    return [DatasetEntry(named(number), SIZE_HW, "train", "g", 1, instances) for number in range(1, count + 1)]


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


def test_no_version_is_made_of_an_image_that_was_replaced(
    workspace: Workspace, config: Config, tmp_path: Path
) -> None:
    made, tree = publish(workspace, entries(instance("a")), 1, config)
    shutil.rmtree(workspace.dataset_folder(made.id))
    (tmp_path / "2.png").write_bytes(png(77))
    for make in (lambda: publish(workspace, entries(), 2, config), lambda: folder_of(workspace, 1)):
        with pytest.raises(DataError, match=r"2\.png: another image lies in its file's place; until") as caught:
            make()
        assert caught.value.sample_id == named(2)
    (tmp_path / "2.png").write_bytes(png(2))
    assert tree_hash(folder_of(workspace, 1)) == tree, "its stamp is another one, and its content is the same"
    (tmp_path / "2.png").unlink()
    with pytest.raises(DataError, match="its file is gone"):
        publish(workspace, entries(), 2, config)


def test_a_readable_copy_is_looked_at_whole(workspace: Workspace, config: Config, tmp_path: Path) -> None:
    blob, original = workspace.blobs.path(workspace.blobs.put(png(9))), tmp_path / "9.heic"
    original.write_bytes(b"what trainers do not read")
    sample = Sample("9" * 64, blob, SIZE_HW, "train", "g")
    workspace.ledger.samples.add([IngestedSample(sample, original, stamp_of(original), None, None)])
    assert image_paths(workspace)("9" * 64) == blob
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match="the readable copy of this image, is gone or damaged") as caught:
        publish(workspace, [DatasetEntry("9" * 64, SIZE_HW, "train", "g", 1, ())], 1, config)
    assert caught.value.sample_id == "9" * 64


def test_the_original_of_a_sample(workspace: Workspace, tmp_path: Path) -> None:
    blob = workspace.blobs.path(workspace.blobs.put(png(9)))
    rows = [
        IngestedSample(Sample(key * 64, path, SIZE_HW, "train", "g"), tmp_path / name, (1, 1), None, None)
        for key, path, name in (
            ("9", blob, "c.heic"),
            ("9", blob, "b.heic"),
            ("8", tmp_path / "z.png", "z.png"),
            ("8", tmp_path / "z.png", "a.png"),
        )
    ]
    workspace.ledger.samples.add(rows)
    found = original_paths(workspace)
    assert (found["9" * 64].name, found["8" * 64].name) == ("b.heic", "z.png")
    assert found[named(1)] == tmp_path / "1.png"


def test_a_flipped_bit_that_no_stamp_tells_of(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    stamp, data = path.stat(), bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert image_paths(workspace)(named(1)) == path
    with pytest.raises(DataError, match="another image lies in its file's place"):
        image_paths(workspace, by_content=True)(named(1))
    with pytest.raises(DataError, match="does not know this image"):
        image_paths(workspace)("f" * 64)


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
