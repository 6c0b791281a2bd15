"""Proof that nothing in a workspace is damaged: the ledger, every file it names, and every training folder.

A folder that `pipeline gc` has dropped is proved too: it is made anew from its manifest, and must come out the same.
What may be removed at any time is not looked at: encodings, the report, what peers keep in `work/`, the lock file's
text.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.domain.dataset import counts_of, parse_manifest
from pipeline.errors import DataError, PipelineError
from pipeline.events import Emit, silent
from pipeline.services.publishing import code_name, image_paths
from pipeline.stages.export import export_yolo, tree_hash
from pipeline.store.garbage import PROOF, Garbage
from pipeline.store.lease import alone_in
from pipeline.store.workspace import Damage, Workspace

__all__ = ["Unproven", "damages", "remakable"]


@dataclass(frozen=True)
class Unproven:
    """What nothing is known to be wrong with, and what cannot be proved to be as it was."""

    path: Path
    reason: str


def damages(workspace: Workspace, *, emit: Emit = silent) -> Iterator[Damage | Unproven]:
    """Everything that is damaged or cannot be proved, each file once. A ledger that is damaged itself proves nothing
    else.

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
    for found in _of_folders(workspace, emit):
        if found.path not in seen:
            yield found


def remakable(
    workspace: Workspace, found: Sequence[Garbage], *, emit: Emit = silent
) -> tuple[list[Garbage], list[Unproven]]:
    """What of the garbage can go, and the training folders that must stay: each is made anew, and one that does not
    come out as the ledger says could never be had again.

    Tells `gc.started` and, for every folder, `gc.batch`.
    """
    trees, free, kept = _trees(workspace), [], []
    if folders := sum(item.version is not None for item in found):
        emit("gc.started", total=folders)
    for item in found:
        reason = None
        if item.version is not None:
            reason = _why_not(workspace, item.version, trees.get(item.version))
            emit("gc.batch", done=1)
        if reason is None:
            free.append(item)
        else:
            kept.append(Unproven(item.path, reason))
    return free, kept


def _why_not(workspace: Workspace, version: str, tree: str | None) -> str | None:
    """Why a version's folder cannot be made again byte by byte; None if it can."""
    if tree is None:
        return "its round has not finished `merge`: nothing says what it must be"
    with _made_anew(workspace, version) as made:
        if made is None:
            return "it cannot be made again: its manifest or one of its images is gone or damaged"
        if tree_hash(made) == tree:
            return None
    other = _other_code(workspace, version)
    return "it would not be made again as it was" + (f": it was made by other code ({other})" if other else "")


def _trees(workspace: Workspace) -> dict[str, str]:
    """Version -> the tree hash of its folder, as the ledger holds it."""
    merged = (marks["merge"] for marks in workspace.ledger.rounds.marks().values() if "merge" in marks)
    return {str(mark["version"]): str(mark["tree"]) for mark in merged}


def _other_code(workspace: Workspace, version: str) -> str | None:
    """The name of the code that made the version's folder, if that is not this code."""
    rounds = workspace.ledger.versions.by_round()
    made_by = workspace.ledger.versions.made_by()
    first = min(number for number, made in rounds.items() if made.id == version)
    code = made_by[first][1]
    return None if code == code_name() else code or "an older version, which did not write its name"


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


def _of_folders(workspace: Workspace, emit: Emit) -> Iterator[Damage | Unproven]:
    """The training folders against the tree hash that the ledger holds."""
    dropped = workspace.ledger.versions.dropped_folders()
    for version, tree in _trees(workspace).items():
        folder = workspace.dataset_folder(version)
        if folder.is_dir():
            if tree_hash(folder) != tree:
                named = list(_differences(workspace, version, folder, tree))
                yield from named or [Damage(folder, "its tree hash is not the one that the ledger holds")]
        elif version not in dropped:
            yield Damage(folder, "the training folder of a dataset version is gone")
        else:
            yield from _of_dropped(workspace, version, folder, tree)
        emit("verify.batch", done=1)


def _of_dropped(workspace: Workspace, version: str, folder: Path, tree: str) -> Iterator[Damage | Unproven]:
    with _made_anew(workspace, version) as made:
        if made is None or tree_hash(made) == tree:
            return
    other = _other_code(workspace, version)
    if other is not None:
        yield Unproven(
            folder, f"it was dropped; it was made by other code ({other}), which alone makes it so again"
        )
    else:
        yield Damage(folder, "it was dropped, and its manifest does not make it again as it was")


def _differences(workspace: Workspace, version: str, folder: Path, tree: str) -> Iterator[Damage]:
    """What the manifest does not make so; nothing if the manifest or an image is damaged too, or if this code would
    not make the folder as it was.
    """
    with _made_anew(workspace, version) as made:
        if made is None or (tree_hash(made) != tree and _other_code(workspace, version) is not None):
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
    """The version's folder, made somewhere else; None where its manifest or an image is damaged, which has been told
    by then. Raises DataError when the disk refuses.
    """
    with _room(workspace) as made:
        try:
            classes, entries = parse_manifest(workspace.blobs.read(version))
            export_yolo(entries, classes, image_paths(workspace), made)
        except PipelineError:
            yield None
            return
        except OSError as exc:
            raise DataError(f"could not be written: {exc.strerror or exc}", path=made) from exc
        yield made


@contextmanager
def _room(workspace: Workspace) -> Iterator[Path]:
    """A folder to work in: beside the workspace's own, where images can be linked; the system's if it is read-only."""
    try:
        room = tempfile.TemporaryDirectory(prefix=PROOF, dir=workspace.work(""))
    except OSError:
        room = tempfile.TemporaryDirectory(prefix=f"maskloop-{PROOF}")
    with room as name, alone_in(Path(name)):
        yield Path(name)


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def _same(one: Path, other: Path) -> bool:
    return one.samefile(other) or one.read_bytes() == other.read_bytes()
