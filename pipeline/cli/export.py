"""`pipeline export`: a dataset version for other tools."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from pipeline.cli.common import as_json, config_options, json_option, short
from pipeline.cli.words import many
from pipeline.formats.losses import FLOOR, LOSSES

if TYPE_CHECKING:
    from pipeline.domain.dataset import DatasetEntry
    from pipeline.errors import ConfigError
    from pipeline.events import Emit
    from pipeline.formats.coco import Segmentation
    from pipeline.formats.round_trip import Lossy
    from pipeline.store.workspace import Workspace

__all__ = ["export", "writer"]

_LISTED = 10
"""Of the masks under the floor, in the command's own words; the sheet and --json have them all."""
_HELP = "\n\n".join(
    (
        "Write a dataset version of CONFIG as a folder that other tools read. What each format cannot hold:",
        *(f"{name}: {loss}." for name, loss in LOSSES.items()),
        "Images are called by the start of their ids; names.csv tells what they were called when they came in.",
        "With the format yolo every mask is written, read back as Ultralytics does, and compared.",
        "Masks under --floor are listed, and shown before and after in OUT-round-trip.html beside the folder.",
    )
)


@click.command(short_help="Write a dataset version in another format.", help=_HELP)
@config_options
@click.option(
    "--format",
    "format_",
    type=click.Choice([*LOSSES]),
    default="yolo",
    show_default=True,
    help="The layout of the folder.",
)
@click.option(
    "--segmentation",
    type=click.Choice(["rle", "polygons"]),
    default="rle",
    show_default=True,
    help="How COCO files hold masks.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to make; it must not exist yet."
)
@click.option("--version", "version", help="A dataset version by (the start of) its id.  [default: the newest]")
@click.option(
    "--floor",
    type=click.FloatRange(0, 1),
    default=FLOOR,
    show_default=True,
    help="List masks whose IoU after the round trip is under it.",
)
@json_option
def export(
    config: Path,
    overrides: tuple[str, ...],
    workspace: Path | None,
    format_: str,
    segmentation: str,
    out: Path,
    version: str | None,
    floor: float,
    json_: bool,
) -> None:
    """Write a dataset version of CONFIG as a folder that other tools read."""
    from pipeline.cli.versions import version_named
    from pipeline.services.publishing import original_paths
    from pipeline.wiring import open_house

    _, opened, _ = open_house(config, overrides, workspace=workspace, create=False)
    chosen = version_named(opened, version, key="--version")
    _check_free(out)
    sheet = out.with_name(f"{out.name}-round-trip.html")
    if format_ == "yolo":
        _check_free(sheet)
    entries = _write(opened, chosen, writer(format_, cast("Segmentation", segmentation)), format_, out.absolute())
    lossy = _lossy(opened, chosen, entries, floor, sheet) if format_ == "yolo" else []
    told = {"version": chosen, "images": len(entries), "format": format_, "folder": str(out)}
    if json_:
        rows = [{"sample": one.sample_id, "instance": one.instance.id, "iou": round(one.iou, 6)} for one in lossy]
        sheets = {"sheet": str(sheet)} if lossy else {}
        click.echo(as_json(told | {"loss": LOSSES[format_], "floor": floor, "under_floor": rows} | sheets))
        return
    click.echo(f"{many(len(entries), 'image')} of version {chosen[:12]} as {format_} in {out}")
    _tell(lossy, floor, sheet, original_paths(opened))


def _write(
    opened: Workspace, version: str, write: Callable[..., None], format_: str, folder: Path
) -> Sequence[DatasetEntry]:
    """Make the folder; the version's entries."""
    from pipeline.cli.progress import Progress
    from pipeline.domain.dataset import parse_manifest
    from pipeline.events import broadcast
    from pipeline.services.publishing import image_paths, original_paths
    from pipeline.stages.export import export_names
    from pipeline.store.atomic import atomic_folder

    classes, entries = parse_manifest(opened.blobs.read(version))
    with Progress(sys.stderr) as progress:
        emit = broadcast(progress)
        emit("export.started", total=len(entries))
        originals, names_only = original_paths(opened), format_ == "table"
        image_path = originals.__getitem__ if names_only else image_paths(opened, by_content=True)
        made: list[Path] = []

        def fill(fresh: Path) -> None:
            made.append(fresh)
            write(entries, classes, _counted(image_path, emit), fresh)
            if not names_only:
                export_names(entries, lambda sample_id: originals[sample_id].name, fresh)

        atomic_folder(folder, fill)
    if not made:  # another process has been faster
        raise _taken(folder)
    return entries


def _check_free(place: Path) -> None:
    if place.exists():
        raise _taken(place)


def _taken(place: Path) -> ConfigError:
    from pipeline.errors import ConfigError

    return ConfigError(f"{place} exists already; nothing is overwritten", key="--out")


def _lossy(
    opened: Workspace, version: str, entries: Sequence[DatasetEntry], floor: float, sheet: Path
) -> list[Lossy]:
    """The masks under the floor; if there are any, the sheet that shows them is made."""
    from pipeline.cli.round_trip_page import page
    from pipeline.formats.round_trip import under_floor
    from pipeline.store.atomic import atomic_write

    lossy = under_floor(entries, floor)
    if lossy:
        atomic_write(sheet.absolute(), page(opened, version, lossy, floor).encode())
    return lossy


def writer(format_: str, segmentation: Segmentation) -> Callable[..., None]:
    """The export of a format, called with entries, classes, a sample's path and the folder to fill."""
    from pipeline.stages import export as stage

    match format_:
        case "yolo":
            return partial(stage.export_yolo, link=False)
        case "coco":
            return partial(stage.export_coco, link=False, segmentation=segmentation)
        case "label_studio":
            from pipeline.wiring import label_studio_files

            return partial(stage.export_label_studio, link=False, write_tasks=label_studio_files().write_tasks)
        case "masks":
            return partial(stage.export_masks, link=False)
    return stage.export_table


def _tell(lossy: list[Lossy], floor: float, sheet: Path, originals: Mapping[str, Path]) -> None:
    if not lossy:
        return
    click.echo(
        f"{many(len(lossy), 'mask')} under an IoU of {floor:g} after the round trip, shown in {short(sheet)}"
    )
    for one in lossy[:_LISTED]:
        click.echo(f"  {one.iou:.3f}  {one.instance.label}  {originals[one.sample_id].name}  {one.instance.id}")
    if len(lossy) > _LISTED:
        click.echo(f"  and {len(lossy) - _LISTED} more")


def _counted(path_of: Callable[[str], Path], emit: Emit) -> Callable[[str], Path]:
    """The same function, telling of every image when it is asked for first."""
    seen: set[str] = set()

    def counted(sample_id: str) -> Path:
        if sample_id not in seen:
            seen.add(sample_id)
            emit("export.batch", done=1)
        return path_of(sample_id)

    return counted
