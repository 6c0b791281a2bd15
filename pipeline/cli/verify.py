"""`pipeline verify`: proof that nothing in a workspace is damaged."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.common import ERROR, as_json, config_options, json_option, short

if TYPE_CHECKING:
    from pipeline.events import Emit
    from pipeline.store.workspace import Damage, Workspace

__all__ = ["verify"]


@click.command(short_help="Check every file of a workspace against its hash.")
@config_options
@json_option
def verify(config: Path, overrides: tuple[str, ...], workspace: Path | None, json_: bool) -> None:
    """Check every blob, shard, dataset version, model and image of CONFIG's workspace against its hash.

    Every damaged file is named; exit code 1 if there is any.
    """
    from pipeline.cli.progress import Progress
    from pipeline.events import broadcast
    from pipeline.wiring import open_house

    _, opened, _ = open_house(config, overrides, workspace=workspace, create=False)
    with Progress(sys.stderr) as progress:
        damages = list(_damages(opened, broadcast(progress)))
    if json_:
        rows = [{"path": str(row.path), "reason": row.reason} for row in damages]
        click.echo(as_json({"workspace": str(opened.root), "damaged": rows}))
    else:
        for row in damages:
            click.echo(f"{click.style('damaged', fg='red')} {short(row.path)}: {row.reason}")
        click.echo(f"{len(damages)} damaged" if damages else f"{short(opened.root)}: everything is whole")
    if damages:
        sys.exit(ERROR)


def _damages(opened: Workspace, emit: Emit) -> Iterator[Damage]:
    """What the workspace finds, then the training folders, each file once."""
    ledger = opened.ledger
    seen: set[Path] = set()
    emit("verify.started", total=0)
    for damage in opened.verify(emit=emit):
        seen.add(damage.path)
        yield damage
    marks = [ledger.rounds.marked(number, "merge") for number in range(1, len(ledger.versions.all()) + 1)]
    trees = {str(mark["version"]): str(mark["tree"]) for mark in marks if mark is not None}
    for version, tree in trees.items():
        for damage in _of_dataset(opened, version, tree):
            if damage.path not in seen:
                yield damage
        emit("verify.batch", done=1)


def _of_dataset(opened: Workspace, version: str, tree: str) -> Iterator[Damage]:
    """The files of a training folder that its manifest does not make; the folder, if none can be named."""
    from pipeline.stages.export import tree_hash
    from pipeline.store.workspace import Damage

    folder = opened.dataset_folder(version)
    if not folder.is_dir():
        yield Damage(folder, "the training folder of a dataset version is gone")
    elif tree_hash(folder) != tree:
        named = list(_differences(opened, version, folder))
        yield from named or [Damage(folder, "its tree hash is not the one that the ledger holds")]


def _differences(opened: Workspace, version: str, folder: Path) -> Iterator[Damage]:
    """Make the folder anew and compare: nothing if the manifest or an image is damaged too."""
    from pipeline.domain.dataset import parse_manifest
    from pipeline.errors import PipelineError
    from pipeline.stages.export import export_yolo
    from pipeline.store.workspace import Damage

    paths = {sample.id: sample.path for sample in opened.ledger.samples.all()}
    with tempfile.TemporaryDirectory(prefix="verify-", dir=opened.root / "work") as made:
        try:
            classes, entries = parse_manifest(opened.blobs.read(version))
            export_yolo(entries, classes, paths.__getitem__, Path(made))
        except PipelineError:  # the cause has been told: the blob or the image is damaged itself
            return
        wanted, present = _files(Path(made)), _files(folder)
        for name in sorted(wanted | present):
            if name not in present:
                yield Damage(folder / name, "is gone from the training folder")
            elif name not in wanted:
                yield Damage(folder / name, "does not belong into the training folder")
            elif not _same(folder / name, Path(made) / name):
                yield Damage(folder / name, "is not what the dataset's manifest makes of it")


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def _same(one: Path, other: Path) -> bool:
    return one.samefile(other) or one.read_bytes() == other.read_bytes()
