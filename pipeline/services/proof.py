"""Proof that nothing in a workspace is damaged: the ledger, every file it names, and every training folder.

A folder that `pipeline gc` has dropped is proved too: it is made anew from its manifest, and must come out the same.
What may be removed at any time is not looked at: encodings, the report, what peers keep in `work/`, the lock file's
text.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.domain.dataset import counts_of, parse_manifest
from pipeline.errors import PipelineError
from pipeline.events import Emit, silent
from pipeline.services.publishing import image_paths
from pipeline.stages.export import export_yolo, tree_hash
from pipeline.store.garbage import PROOF
from pipeline.store.lease import alone_in
from pipeline.store.workspace import Damage, Workspace

__all__ = ["damages"]


def damages(workspace: Workspace, *, emit: Emit = silent) -> Iterator[Damage]:
    """Everything that is damaged, each file once. A ledger that is damaged itself proves nothing else.

    Tells `verify.started` and, for every file or folder, `verify.batch`.
    """
    emit("verify.started", total=0)
    unsound = [Damage(workspace.root / "ledger.sqlite", problem) for problem in workspace.ledger.problems()]
    yield from unsound
    if unsound:
        return
    seen: set[Path] = set()
    for damage in workspace.verify(emit=emit):
        seen.add(damage.path)
        yield damage
    yield from _of_versions(workspace)
    for damage in _of_folders(workspace, emit):
        if damage.path not in seen:
            yield damage


def _of_versions(workspace: Workspace) -> Iterator[Damage]:
    """What the ledger says of each version against its manifest, and the chain of parents up to the head."""
    ledger, blobs = workspace.ledger, workspace.blobs
    rounds = ledger.versions.by_round()
    known = {version.id for version in rounds.values()}
    samples = {sample.id: sample for sample in ledger.samples.all()}
    head = ledger.pointers.get("head")
    if head is not None and head not in known:
        yield Damage(blobs.path(head), "the head points to a dataset version that no round has made")
    for version in rounds.values():
        if version.parent is not None and version.parent not in known:
            yield Damage(blobs.path(version.id), f"its parent {version.parent} is no dataset version")
    for version in {version.id: version for version in rounds.values()}.values():
        try:
            _, entries = parse_manifest(blobs.read(version.id))
        except PipelineError:  # told already: a blob that is gone, or has other bytes than its name
            continue
        if counts_of(entries) != version.counts:
            yield Damage(blobs.path(version.id), "it holds other counts than the ledger says")
        for entry in entries:
            sample = samples.get(entry.sample_id)
            if sample is None or sample.split != entry.split:
                what = "is unknown" if sample is None else f"was in {entry.split}, and is in {sample.split}"
                yield Damage(blobs.path(version.id), f"its image {entry.sample_id} {what}")


def _of_folders(workspace: Workspace, emit: Emit) -> Iterator[Damage]:
    """The training folders against the tree hash that the ledger holds."""
    merged = (marks["merge"] for marks in workspace.ledger.rounds.marks().values() if "merge" in marks)
    dropped = workspace.ledger.versions.dropped_folders()
    for version, tree in {str(mark["version"]): str(mark["tree"]) for mark in merged}.items():
        folder = workspace.dataset_folder(version)
        if folder.is_dir():
            if tree_hash(folder) != tree:
                named = list(_differences(workspace, version, folder))
                yield from named or [Damage(folder, "its tree hash is not the one that the ledger holds")]
        elif version not in dropped:
            yield Damage(folder, "the training folder of a dataset version is gone")
        else:
            with _made_anew(workspace, version) as made:
                if made is not None and tree_hash(made) != tree:
                    yield Damage(folder, "it was dropped, and its manifest does not make it again as it was")
        emit("verify.batch", done=1)


def _differences(workspace: Workspace, version: str, folder: Path) -> Iterator[Damage]:
    """What the manifest does not make so; nothing if the manifest or an image is damaged too."""
    with _made_anew(workspace, version) as made:
        if made is None:
            return
        wanted, present = _files(made), _files(folder)
        for name in sorted(wanted | present):
            if name not in present:
                yield Damage(folder / name, "is gone from the training folder")
            elif name not in wanted:
                yield Damage(folder / name, "does not belong into the training folder")
            elif not _same(folder / name, made / name):
                yield Damage(folder / name, "is not what the dataset's manifest makes of it")


@contextmanager
def _made_anew(workspace: Workspace, version: str) -> Iterator[Path | None]:
    """The version's folder, made beside the workspace's own; None where its manifest or an image is damaged, which
    has been told by then."""
    with tempfile.TemporaryDirectory(prefix=PROOF, dir=workspace.work("")) as made, alone_in(Path(made)):
        try:
            classes, entries = parse_manifest(workspace.blobs.read(version))
            export_yolo(entries, classes, image_paths(workspace), Path(made))
        except PipelineError:
            yield None
        else:
            yield Path(made)


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def _same(one: Path, other: Path) -> bool:
    return one.samefile(other) or one.read_bytes() == other.read_bytes()
