"""A dataset version comes into being: manifest, training folder, and last the row and the pointer that make it so.

A crash at any point leaves the head where it was, at a complete version; what was made on the way is found again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version as installed
from pathlib import Path

from pipeline.config import Config
from pipeline.domain.dataset import (
    MANIFEST_FORMAT,
    DatasetEntry,
    DatasetVersion,
    counts_of,
    manifest_bytes,
    parse_manifest,
)
from pipeline.errors import LedgerError
from pipeline.events import Emit, silent
from pipeline.shelf import fingerprint
from pipeline.stages.export import export_yolo, tree_hash
from pipeline.store.atomic import atomic_folder
from pipeline.store.workspace import Workspace

__all__ = ["folder_of", "publish"]


def publish(
    workspace: Workspace, entries: Sequence[DatasetEntry], number: int, config: Config, *, emit: Emit = silent
) -> tuple[DatasetVersion, str]:
    """The version that `entries` are, made by round `number`, and the tree hash of its folder.

    Its parent is the version of the round before; one that repeats it keeps its parent. Raises DataError, naming the
    sample, for what cannot be exported, and naming the path when the disk refuses.
    """
    parent = workspace.ledger.versions.of_round(number - 1)
    classes = config.project.classes
    manifest = manifest_bytes(entries, classes)
    blob = workspace.blobs.put(manifest)
    version = DatasetVersion(blob, _parent_of(blob, parent), counts_of(entries))
    folder = _folder(workspace, version, lambda: (classes, entries), emit)
    settings = fingerprint("config", config.model_dump(mode="json", exclude={"workspace"}))
    code = f"maskloop {installed('maskloop')}, manifest {MANIFEST_FORMAT}"
    workspace.ledger.versions.add(version, number, config=settings, code=code)
    return version, tree_hash(folder)


def _parent_of(version: str, before: DatasetVersion | None) -> str | None:
    if before is None:
        return None
    return before.parent if before.id == version else before.id


def folder_of(workspace: Workspace, number: int, *, emit: Emit = silent) -> Path:
    """The training folder of the version that round `number` made, made anew from its manifest if it is gone.

    The caller holds the write lock. Raises LedgerError for a round that has made no version.
    """
    version = workspace.ledger.versions.of_round(number)
    if version is None:
        raise LedgerError(f"round {number} has made no dataset version yet")
    return _folder(workspace, version, lambda: parse_manifest(workspace.blobs.read(version.id)), emit)


def _folder(
    workspace: Workspace,
    version: DatasetVersion,
    content: Callable[[], tuple[Sequence[str], Sequence[DatasetEntry]]],
    emit: Emit,
) -> Path:
    def fill(fresh: Path) -> None:
        classes, entries = content()
        paths = {sample.id: sample.path for sample in workspace.ledger.samples.all()}
        before = workspace.dataset_folder(version.parent) if version.parent is not None else None
        blob = workspace.blobs.path(version.id)
        export_yolo(entries, classes, paths.__getitem__, fresh, before=before, manifest=blob)

    folder = workspace.dataset_folder(version.id)
    atomic_folder(folder, fill, emit=emit)
    return folder
