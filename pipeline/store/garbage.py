"""What in a workspace nothing refers to: found, and freed.

Referred to are: blobs that are a version's manifest, a sample's image, or named anywhere in pointers, marks or
promotions; shards that the ledger has recorded; training folders of versions; models, and files beside them that
carry a model's name; trainings of rounds that are not finished. Encodings look after themselves: they have a budget.
Whoever looks or frees holds the workspace's write lock, so nothing is on its way meanwhile.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from typing import Literal

from pipeline.files import is_unfinished, unfinished_name
from pipeline.store.lease import is_held
from pipeline.store.workspace import Workspace

__all__ = ["PROOF", "Garbage", "disk_bytes", "find_garbage", "free"]

Kind = Literal["blob", "shard", "dataset", "model", "training", "leftover"]
PROOF = "verify-"
"""How the folders begin in which `pipeline verify` makes versions anew; a process that works in one holds it."""
_TRAINING = re.compile(r"round-(\d+)-.*")
_BLOCK_BYTES = 512
"""The unit of `st_blocks`, whatever the file system's own is (POSIX, sys/stat.h)."""


@dataclass(frozen=True)
class Garbage:
    """A file or folder that can go. `version` is set for the training folder of a version that stays known."""

    path: Path
    kind: Kind
    version: str | None = None


def find_garbage(workspace: Workspace, *, keep: int | None = None) -> list[Garbage]:
    """Everything that nothing refers to, sorted by path.

    With `keep`, also the training folders of all versions but the newest `keep`: their manifests stay, and the
    folders can be made again, byte by byte.
    """
    found = [
        *_blobs(workspace),
        *_shards(workspace),
        *_datasets(workspace, keep),
        *_models(workspace),
        *_trainings(workspace),
        *_leftovers(workspace),
    ]
    return sorted(found, key=lambda item: item.path)


def free(workspace: Workspace, found: Sequence[Garbage]) -> None:
    """Remove what was found. A crash on the way leaves nothing half-removed under its own name."""
    dropped = [item.version for item in found if item.version is not None]
    if dropped:
        workspace.ledger.versions.drop_folders(dropped)
    for item in found:
        if item.path.is_dir() and not item.path.is_symlink():
            doomed = item.path
            if not is_unfinished(doomed):
                doomed = doomed.rename(unfinished_name(doomed))
            shutil.rmtree(doomed)
        else:
            item.path.unlink()
        _remove_empty(item.path.parent, workspace.root)


def disk_bytes(paths: Iterable[Path]) -> int:
    """What the disk gets back if these go: a file counts once its last name is among them."""
    names: Counter[tuple[int, int]] = Counter()
    facts = {}
    for path in (one for top in paths for one in _with_all_below(top)):
        stat = path.lstat()
        key = stat.st_dev, stat.st_ino
        names[key] += 1
        facts[key] = stat
    return sum(
        stat.st_blocks * _BLOCK_BYTES
        for key, stat in facts.items()
        if S_ISDIR(stat.st_mode) or names[key] >= stat.st_nlink
    )


def _with_all_below(top: Path) -> Iterator[Path]:
    yield top
    if top.is_dir() and not top.is_symlink():
        yield from top.rglob("*")


def _blobs(workspace: Workspace) -> Iterator[Garbage]:
    blobs = workspace.blobs
    named = workspace.ledger.versions.digests()
    images = {sample.path for sample in workspace.ledger.samples.all()}
    for path in blobs.paths():
        if path.name not in named and path not in images:
            yield Garbage(path, "blob")


def _shards(workspace: Workspace) -> Iterator[Garbage]:
    recorded = {workspace.shards.path(name) for name in workspace.ledger.products.all_shards()}
    for path in (workspace.root / "shards").glob("*/*.parquet"):
        if path not in recorded:
            yield Garbage(path, "shard")


def _datasets(workspace: Workspace, keep: int | None) -> Iterator[Garbage]:
    newest_first = list(dict.fromkeys(version.id for version in reversed(workspace.ledger.versions.all())))
    older = newest_first[keep:] if keep is not None else []
    known = {workspace.dataset_folder(version): version for version in newest_first}
    for path in _inside(workspace.root / "datasets"):
        if path not in known:
            yield Garbage(path, "dataset")
        elif known[path] in older:
            yield Garbage(path, "dataset", known[path])


def _models(workspace: Workspace) -> Iterator[Garbage]:
    """A model may have been exported beside its weights, under its own name."""
    known = tuple(model.weights.stem for model in workspace.ledger.models.all())
    for path in _inside(workspace.models):
        if not path.name.startswith(known):
            yield Garbage(path, "model")


def _trainings(workspace: Workspace) -> Iterator[Garbage]:
    """What is left of trainings whose round has its model."""
    marks = workspace.ledger.rounds.marks()
    for path in _inside(workspace.root / "work" / "train"):
        named = _TRAINING.fullmatch(path.name)
        if named is not None and "train" in marks.get(int(named[1]), {}):
            yield Garbage(path, "training")


def _leftovers(workspace: Workspace) -> Iterator[Garbage]:
    """What killed processes have left half-written or half-removed."""
    for folder in ("blobs/*", "shards/*", "datasets", "models", "work/train"):
        for place in workspace.root.glob(folder):
            yield from (Garbage(path, "leftover") for path in place.glob(".*") if is_unfinished(path))
    for path in (workspace.root / "work").glob(f"{PROOF}*"):
        if not is_held(path):
            yield Garbage(path, "leftover")


def _inside(folder: Path) -> Iterator[Path]:
    """What lies in a folder, if there is one; not what is half-written."""
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if not is_unfinished(path))


def _remove_empty(folder: Path, root: Path) -> None:
    """Blobs lie in folders of their own, which are nothing without them."""
    if folder.parent == root / "blobs" and not any(folder.iterdir()):
        folder.rmdir()
