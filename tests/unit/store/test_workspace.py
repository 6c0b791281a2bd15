from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.domain.dataset import DatasetEntry, manifest_bytes, version_of
from pipeline.domain.ingested import IngestedSample
from pipeline.domain.records import Sample
from pipeline.domain.rounds import ModelRef
from pipeline.errors import LedgerCorrupt
from pipeline.store.workspace import Workspace
from tests.fakes.store import NOON, instance


def test_it_is_made_once_and_opened_again(tmp_path: Path) -> None:
    first = Workspace.open(tmp_path / "run", now=lambda: NOON)
    with first.write_lock():
        first.ledger.pointers.set("a", "1")
    first.ledger.close()
    again = Workspace.open(tmp_path / "run", now=lambda: NOON)
    assert again.ledger.pointers.get("a") == "1"
    again.ledger.close()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "one"}', '{"format": 99}'])
def test_a_damaged_or_newer_marker_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "workspace.json").write_text(text)
    with pytest.raises(LedgerCorrupt, match=r"damaged|newer version"):
        Workspace.open(tmp_path, now=lambda: NOON)


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(LedgerCorrupt, match="not a maskloop workspace"):
        Workspace.open(tmp_path, now=lambda: NOON)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.fixture
def full(workspace: Workspace, tmp_path: Path) -> Workspace:
    """One of everything that `verify` looks at."""
    import hashlib

    image = tmp_path / "image.png"
    image.write_bytes(b"an image")
    digest = hashlib.sha256(b"an image").hexdigest()
    entry = DatasetEntry(digest, (20, 30), "train", digest, 1, (instance(),))
    manifest = manifest_bytes([entry], ["cat"])
    version = version_of(manifest, None)
    weights = workspace.models / "m.pt"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    folder = workspace.dataset_folder(version.id)
    folder.mkdir(parents=True)
    (folder / "manifest.jsonl").write_bytes(manifest)
    with workspace.write_lock():
        sample = Sample(digest, image, (20, 30), "train", digest)
        workspace.ledger.samples.add([IngestedSample(sample, image, (8, 0), None, None)])
        shard, sha256 = workspace.shards.write_proposals("f" * 64, {digest: []})
        workspace.ledger.products.record("propose", "f" * 64, shard, sha256, [digest])
        workspace.blobs.put(manifest)
        workspace.ledger.versions.add(version, 1)
        model = ModelRef("m", weights, hashlib.sha256(b"weights").hexdigest(), ("cat",), version.id)
        workspace.ledger.models.add(model, 1)
    return workspace


PLACES: dict[str, Callable[[Workspace], Path]] = {
    "image": lambda full: Path(next(iter(full.ledger.samples.sources()))),
    "shard": lambda full: full.shards.path(next(iter(full.ledger.products.all_shards()))),
    "blob": lambda full: full.blobs.path(full.ledger.versions.all()[0].id),
    "manifest": lambda full: full.dataset_folder(full.ledger.versions.all()[0].id) / "manifest.jsonl",
    "weights": lambda full: full.ledger.models.all()[0].weights,
}


def test_what_is_whole_is_told_as_whole(full: Workspace) -> None:
    assert list(full.verify()) == []


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_every_damage_is_found(full: Workspace, place: str, damage: str) -> None:
    path = PLACES[place](full)
    if damage == "flip":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
    else:
        path.unlink()
    assert [row.path for row in full.verify()] == [path]


def test_the_marker_says_the_format(workspace: Workspace) -> None:
    assert json.loads((workspace.root / "workspace.json").read_text()) == {"format": 1}
