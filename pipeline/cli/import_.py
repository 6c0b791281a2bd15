"""`pipeline import`: labels of other tools into a workspace."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.common import ERROR, as_json, config_options, json_option
from pipeline.cli.words import many
from pipeline.formats.losses import LOSSES

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.events import Emit
    from pipeline.formats.coco import Crowd
    from pipeline.services.belonging import Belonging
    from pipeline.services.importing import Imported, Renaming
    from pipeline.store.workspace import Workspace
    from pipeline.wiring import House

__all__ = ["import_"]

_LISTED = 20
"""Of what could not be used; --json has it all."""


@click.command(name="import", short_help="Read labels of another tool into the workspace.")
@config_options
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--format", "format_", type=click.Choice([*LOSSES]), required=True, help="What PATH is.")
@click.option(
    "--images",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder of images; those that are new join the pool first, in the splits and groups that PATH says.",
)
@click.option("--rename", multiple=True, metavar="OLD=NEW", help="What a label is called here; may be repeated.")
@click.option("--ignore", multiple=True, metavar="NAME", help="Leave out objects of this label; may be repeated.")
@click.option(
    "--crowd",
    type=click.Choice(["refuse", "objects"]),
    help="Of a COCO file, what to do with crowd regions (iscrowd): leave their image out [default], or take each as "
    "an object, as CVAT means its masks.",
)
@click.option(
    "--accept-proposals",
    is_flag=True,
    help="Somebody has looked PATH over: take what a model proposed there as the file's word, as all else in it.",
)
@json_option
def import_(
    config: Path,
    overrides: tuple[str, ...],
    workspace: Path | None,
    path: Path,
    format_: str,
    images: Path | None,
    rename: tuple[str, ...],
    ignore: tuple[str, ...],
    crowd: Crowd | None,
    accept_proposals: bool,
    json_: bool,
) -> None:
    """Read the labels in PATH, a file or folder as `pipeline export` writes it, for images of CONFIG's workspace.

    An image is known by its content, or else by its name, if exactly one has it; what is ambiguous or unknown is
    told, and never guessed. The labels become a new revision of each image: people's word still beats them, and they
    enter the next dataset version. An image with a label that cannot be read keeps what it had. Importing the same
    file again changes nothing. What a model proposed stays a proposal: predictions in a Label Studio file are left
    out, and so are images of which manifest.jsonl, or the file itself, says that some of their masks are proposals;
    they come in with `--accept-proposals`.
    """
    from pipeline.cli.progress import Progress
    from pipeline.events import broadcast
    from pipeline.wiring import open_house

    if crowd is not None and format_ != "coco":
        raise click.UsageError(f"--crowd is about COCO files, and not about --format {format_}")
    renaming = _renaming(rename, ignore)
    with Progress(sys.stderr) as progress:
        emit = broadcast(progress)
        settings, opened, house = open_house(config, overrides, workspace=workspace, emit=emit)
        with opened.write_lock():
            found = _imported(
                settings, opened, house, path, format_, images, renaming, crowd or "refuse", accept_proposals, emit
            )
    if found.images and len(opened.ledger.rounds.all()) >= settings.rounds:
        late = f"all {settings.rounds} rounds are finished: the next version has these labels, once `rounds` is raised"
        found = replace(found, notes=(*found.notes, late))
    if json_:
        click.echo(as_json({"path": str(path), "format": format_, **vars(found)}))
    else:
        click.echo("\n".join(_lines(found)))
    if found.problems and not found.images and not found.unchanged:
        sys.exit(ERROR)


def _imported(
    settings: Config,
    opened: Workspace,
    house: House,
    path: Path,
    format_: str,
    images: Path | None,
    renaming: Renaming,
    crowd: Crowd,
    proposals: bool,
    emit: Emit,
) -> Imported:
    from pipeline.formats.beside import read_beside
    from pipeline.services.belonging import Belonging
    from pipeline.services.importing import find_labels, import_labels
    from pipeline.wiring import label_studio_files

    classes, ledger = settings.project.classes, opened.ledger
    below = images.absolute() if images is not None else None
    beside = read_beside(path)
    read_tasks = label_studio_files().read_tasks
    found = list(
        find_labels(format_, path.absolute(), below, classes, read_tasks, crowd=crowd, proposals=proposals)
    )
    belonging = Belonging(found, beside.places, ledger.samples.all())
    before = ledger.samples.count()
    _take_in(settings, opened, house, below, belonging, emit)
    return import_labels(
        found,
        ledger,
        classes,
        source=path.absolute().name,
        renaming=renaming,
        at=opened.now(),
        proposed=() if proposals else beside.proposed,
        belonging=belonging,
        joined=ledger.samples.count() - before,
        emit=emit,
    )


def _take_in(
    settings: Config, opened: Workspace, house: House, images: Path | None, belonging: Belonging, emit: Emit
) -> None:
    """Images of a folder, each in the split and group that the labels say."""
    from pipeline.loop import Loop
    from pipeline.stages.ingest import SourceSettings

    if images is not None:
        sources = (SourceSettings(kind="images", path=images),)
        settings = settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"sources": sources})})
    loop = Loop(settings, opened, house, emit=emit)
    loop.check_classes()
    if images is not None:
        loop.take_in(belonging.of_new)


def _renaming(rename: Sequence[str], ignore: Sequence[str]) -> Renaming:
    from pipeline.errors import ConfigError
    from pipeline.services.importing import Renaming

    pairs = [pair.partition("=") for pair in rename]
    for pair in pairs:
        if not all(pair):
            raise ConfigError(f"{''.join(pair)!r} is not OLD=NEW", key="--rename")
    names = {old: new for old, _, new in pairs}
    if len(names) < len(pairs):
        raise ConfigError("a label is renamed twice", key="--rename")
    return Renaming(names, frozenset(ignore))


def _lines(found: Imported) -> list[str]:
    if found.images:
        lines = [f"{many(found.instances, 'object')} in {many(found.images, 'image')} imported"]
        lines += [f"{many(found.unchanged, 'image')} had these labels already"] if found.unchanged else []
    elif found.unchanged:
        lines = [f"nothing new: {many(found.unchanged, 'image')} had these labels already"]
    else:
        lines = ["nothing was imported"]
    lines = [f"{many(found.joined, 'new image')} in the pool", *lines] if found.joined else lines
    lines += [f"  {click.style('note', fg='yellow')}  {note}" for note in found.notes]
    lines += [f"  {click.style('not used', fg='red')}  {problem}" for problem in found.problems[:_LISTED]]
    left = len(found.problems) - _LISTED
    return [*lines, f"  and {left} more"] if left > 0 else lines
