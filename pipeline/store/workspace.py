"""A workspace: one folder with everything that a run knows and made.

ledger.sqlite     what happened
blobs/            dataset manifests and images that had to be converted
shards/           proposals, masks and scores, as Parquet
datasets/         one folder for each dataset version, ready for training
models/           the weights of every round
encodings/        what segmenters remember of images; may be removed at any time
work/             what the peers keep; trainings on their way
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.errors import LedgerCorrupt
from pipeline.events import Emit, silent
from pipeline.files import is_unfinished
from pipeline.store.atomic import atomic_write, make_folder
from pipeline.store.blobs import BlobStore
from pipeline.store.lease import alone_in, hold
from pipeline.store.ledger import Ledger
from pipeline.store.shards import ShardStore

__all__ = ["FORMAT", "Damage", "Workspace"]

FORMAT = 1


@dataclass(frozen=True)
class Damage:
    """A file that is not what the ledger says it is."""

    path: Path
    reason: str


class Workspace:
    """The open folder. Reading needs no lock; writing happens inside `write_lock()`. `now` tells the time, in UTC."""

    def __init__(self, root: Path, ledger: Ledger, *, now: Callable[[], datetime], emit: Emit) -> None:
        self.root = root
        self.ledger = ledger
        self.blobs = BlobStore(root / "blobs", emit=emit)
        self.shards = ShardStore(root / "shards", emit=emit)
        self.models = root / "models"
        self.now = now

    @staticmethod
    def open(root: Path, *, now: Callable[[], datetime], emit: Emit = silent) -> Workspace:
        """Open the workspace at `root`, making it if there is none.

        Raises LedgerCorrupt if a newer version of maskloop made it, or if `root` is some other folder.
        """
        root = root.absolute()
        marker = root / "workspace.json"
        if not marker.is_file():
            _make(root, marker, emit)
        _check_format(marker)
        return Workspace(root, Ledger(root / "ledger.sqlite", root=root, now=now, emit=emit), now=now, emit=emit)

    @contextmanager
    def write_lock(self) -> Iterator[None]:
        """Be the one writer. Raises WorkspaceLocked with the process id of the one that is."""
        with hold(self.root, since=self.now()):
            self.ledger.join_fence()
            try:
                yield
            finally:
                self.ledger.leave_fence()

    def work(self, name: str) -> Path:
        """A folder that a peer may keep things in."""
        folder = self.root / "work" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def dataset_folder(self, version: str) -> Path:
        """Where a dataset version lies as a training folder."""
        return self.root / "datasets" / version[:16]

    def verify(self, *, emit: Emit = silent) -> Iterator[Damage]:
        """Everything that is not what its hash says: blobs, shards, versions, models and samples' files."""
        for path in self.blobs.verify():
            yield Damage(path, "its bytes have another hash than its name")
        for name, sha256 in self.ledger.products.all_shards().items():
            yield from _checked(self.shards.path(name), sha256)
            emit("verify.batch", done=1)
        dropped = self.ledger.versions.dropped_folders()
        for version in dict.fromkeys(version.id for version in self.ledger.versions.all()):
            if not self.blobs.has(version):
                yield Damage(self.blobs.path(version), "the manifest of a dataset version is gone")
            folder = self.dataset_folder(version)
            if folder.is_dir() or version not in dropped:
                yield from _checked(folder / "manifest.jsonl", version)
        for model in self.ledger.models.all():
            yield from _checked(model.weights, model.sha256)
            emit("verify.batch", done=1)
        for sample in self.ledger.samples.all():
            if not sample.path.is_relative_to(self.blobs.root):
                yield from _checked(sample.path, sample.id)
            elif not sample.path.is_file():
                yield Damage(sample.path, f"the readable copy of image {sample.id} is gone")
            emit("verify.batch", done=1)


def _make(root: Path, marker: Path, emit: Emit) -> None:
    """Turn an absent or empty folder into a workspace, unless another process has just done so."""
    foreign = f"{root} is not a maskloop workspace, and not empty: choose another folder"
    if root.exists() and not root.is_dir():
        raise LedgerCorrupt(foreign)
    make_folder(root)
    with alone_in(root):
        if marker.is_file():
            return
        if not all(map(is_unfinished, root.iterdir())):
            raise LedgerCorrupt(foreign)
        atomic_write(marker, json.dumps({"format": FORMAT}).encode() + b"\n", emit=emit)


def _checked(path: Path, sha256: str) -> Iterator[Damage]:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        yield Damage(path, f"cannot be read: {exc.strerror}")
        return
    if digest != sha256:
        yield Damage(path, "its bytes have another hash than the ledger says")


def _check_format(marker: Path) -> None:
    try:
        made = json.loads(marker.read_bytes())["format"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise LedgerCorrupt(f'{marker} is damaged; a workspace\'s says {{"format": {FORMAT}}}') from exc
    if not isinstance(made, int) or made > FORMAT:
        raise LedgerCorrupt(
            f"{marker.parent} was made by a newer version of maskloop (workspace format {made}, this one reads "
            f"{FORMAT}): upgrade with `pip install --upgrade maskloop`, or use another workspace"
        )
