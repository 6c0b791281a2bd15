"""`pipeline export`: a dataset version for other tools."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.common import as_json, config_options, json_option

if TYPE_CHECKING:
    from pipeline.domain.dataset import DatasetVersion
    from pipeline.events import Emit

__all__ = ["export"]


@click.command(short_help="Write a dataset version for YOLO or COCO tools.")
@config_options
@click.option(
    "--format",
    "format_",
    type=click.Choice(["yolo", "coco"]),
    default="yolo",
    show_default=True,
    help="The layout of the folder.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to make; it must not exist yet."
)
@click.option("--version", "version", help="A dataset version by (the start of) its id.  [default: the newest]")
@json_option
def export(
    config: Path,
    overrides: tuple[str, ...],
    workspace: Path | None,
    format_: str,
    out: Path,
    version: str | None,
    json_: bool,
) -> None:
    """Write a dataset version of CONFIG as a folder that YOLO or COCO tools read."""
    from pipeline.cli.progress import Progress
    from pipeline.domain.dataset import parse_manifest
    from pipeline.errors import ConfigError
    from pipeline.events import broadcast
    from pipeline.stages.export import export_coco, export_yolo
    from pipeline.store.atomic import atomic_folder
    from pipeline.wiring import open_house

    _, opened, _ = open_house(config, overrides, workspace=workspace, create=False)
    chosen = _chosen(opened.ledger.versions.all(), version).id
    if out.exists():
        raise ConfigError(f"{out} exists already; nothing is overwritten", key="--out")
    classes, entries = parse_manifest(opened.blobs.read(chosen))
    paths = {sample.id: sample.path for sample in opened.ledger.samples.all()}
    write = export_yolo if format_ == "yolo" else export_coco
    with Progress(sys.stderr) as progress:
        emit = broadcast(progress)
        emit("export.started", total=len(entries))
        atomic_folder(
            out.absolute(),
            lambda fresh: write(entries, classes, _counted(paths.__getitem__, emit), fresh, link=False),
        )
    told = {"version": chosen, "images": len(entries), "format": format_, "folder": str(out)}
    click.echo(as_json(told) if json_ else f"{len(entries)} images of version {chosen[:12]} as {format_} in {out}")


def _chosen(versions: Sequence[DatasetVersion], wanted: str | None) -> DatasetVersion:
    """The newest version, or the only one whose id starts so. Raises ConfigError."""
    from pipeline.errors import ConfigError

    if not versions:
        raise ConfigError("there is no dataset version yet: `pipeline run` makes one in every round")
    if wanted is None:
        return versions[-1]
    known = {row.id: row for row in versions}
    found = [row for row in known.values() if wanted and row.id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} dataset versions start" if found else "no dataset version starts"
    raise ConfigError(
        f"{problem} with {wanted!r} (known: {', '.join(name[:12] for name in known)})", key="--version"
    )


def _counted(path_of: Callable[[str], Path], emit: Emit) -> Callable[[str], Path]:
    """The same function, telling of every image when it is asked for first."""
    seen: set[str] = set()

    def counted(sample_id: str) -> Path:
        if sample_id not in seen:
            seen.add(sample_id)
            emit("export.batch", done=1)
        return path_of(sample_id)

    return counted
