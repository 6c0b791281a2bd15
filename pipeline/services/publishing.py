"""A dataset version comes into being: manifest, training folder, and last the row and the pointer that make it so.

A crash at any point leaves the head where it was, at a complete version; what was made on the way is found again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
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
from pipeline.errors import DataError, LedgerError
from pipeline.events import Emit, silent
from pipeline.formats.reading import lost
from pipeline.shelf import fingerprint
from pipeline.stages.export import export_yolo, tree_hash
from pipeline.store.atomic import atomic_folder
from pipeline.store.workspace import Workspace

__all__ = ["code_name", "folder_of", "image_paths", "original_paths", "publish"]

_UNKNOWN = ("", (-1, -1))
"""What no file's stamp is: the file is read."""


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
    workspace.ledger.versions.add(version, number, config=settings, code=code_name())
    return version, tree_hash(folder)


def code_name() -> str:
    """The name of the code that makes versions, as the ledger keeps it."""
    return f"maskloop {installed('maskloop')}, manifest {MANIFEST_FORMAT}"


def image_paths(workspace: Workspace, *, by_content: bool = False) -> Callable[[str], Path]:
    """Where each sample's image lies, by sample id: told only of a file that is still the one that was labelled.

    A file is read if its stamp has changed since it was ingested; with `by_content` always, as the copies are that
    ingest made of what trainers do not read. The function raises DataError, naming the sample, for any other image:
    labels of a file that was replaced would teach nonsense.
    """
    samples = {sample.id: sample.path for sample in workspace.ledger.samples.all()}
    sources = {} if by_content else workspace.ledger.samples.sources()

    @cache
    def path_of(sample_id: str) -> Path:
        path = samples.get(sample_id)
        if path is None:
            raise DataError("the workspace does not know this image", sample_id=sample_id)
        if path.is_relative_to(workspace.blobs.root):
            if not workspace.blobs.is_whole(path.name):
                raise DataError(
                    f"{path}, the readable copy of this image, is gone or damaged; bring it back from a copy, "
                    "or remove it and `touch` the original: then the next round's ingest makes it again",
                    sample_id=sample_id,
                )
        elif (reason := lost(path, sample_id, sources.get(str(path), _UNKNOWN))) is not None:
            raise DataError(
                f"{path}: {reason}; until the labelled file is back, only versions of later rounds, which leave it "
                "out, can be made or exported",
                sample_id=sample_id,
            )
        return path

    return path_of


def original_paths(workspace: Workspace) -> dict[str, Path]:
    """The file that each sample came in as, by sample id: of a readable copy the original."""
    found = {sample.id: sample.path for sample in workspace.ledger.samples.all()}
    sources = {Path(path): sample_id for path, (sample_id, _) in workspace.ledger.samples.sources().items()}
    for path, sample_id in sorted(sources.items()):
        if sources.get(found[sample_id]) != sample_id:
            found[sample_id] = path
    return found


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
        before = workspace.dataset_folder(version.parent) if version.parent is not None else None
        blob = workspace.blobs.path(version.id)
        export_yolo(entries, classes, image_paths(workspace), fresh, before=before, manifest=blob)

    folder = workspace.dataset_folder(version.id)
    atomic_folder(folder, fill, emit=emit)
    return folder
