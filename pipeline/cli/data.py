"""`pipeline export` and `pipeline verify`: the dataset for other tools, and proof that nothing is damaged."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pipeline.cli.common import ERROR, as_json, config_options, json_option

__all__ = ["export", "verify"]


@click.command()
@config_options
@click.option("--format", "format_", type=click.Choice(["yolo", "coco"]), default="yolo", show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to make; it must not exist yet."
)
@click.option("--version", "version", help="A dataset version by (the start of) its id; the newest if left out.")
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
    from pipeline.domain.dataset import parse_manifest
    from pipeline.errors import ConfigError
    from pipeline.stages.export import export_coco, export_yolo
    from pipeline.store.atomic import atomic_folder
    from pipeline.wiring import open_house

    _, opened, _ = open_house(config, overrides, workspace=workspace, create=False)
    versions = opened.ledger.versions.all()
    chosen = [row for row in versions if row.id.startswith(version or "")][-1:]
    if not chosen:
        known = ", ".join(row.id[:12] for row in versions) or "none"
        raise ConfigError(f"no dataset version {version or ''!r} (known: {known})", key="--version")
    if out.exists():
        raise ConfigError(f"{out} exists already; nothing is overwritten", key="--out")
    classes, entries = parse_manifest(opened.blobs.read(chosen[0].id))
    paths = {sample.id: sample.path for sample in opened.ledger.samples.all()}
    write = export_yolo if format_ == "yolo" else export_coco
    atomic_folder(out.absolute(), lambda fresh: write(entries, classes, paths.__getitem__, fresh))
    told = {"version": chosen[0].id, "images": len(entries), "format": format_, "folder": str(out)}
    click.echo(
        as_json(told) if json_ else f"{len(entries)} images of version {chosen[0].id[:12]} as {format_} in {out}"
    )


@click.command()
@config_options
@json_option
def verify(config: Path, overrides: tuple[str, ...], workspace: Path | None, json_: bool) -> None:
    """Check every blob, shard, manifest, training folder, model and image of CONFIG against its hash."""
    from pipeline.wiring import open_house

    _, opened, _ = open_house(config, overrides, workspace=workspace, create=False)
    damages = list(opened.verify())
    if json_:
        click.echo(as_json({"damaged": [{"path": str(row.path), "reason": row.reason} for row in damages]}))
    else:
        for row in damages:
            click.echo(f"{click.style('damaged', fg='red')} {row.path}: {row.reason}")
        click.echo(f"{len(damages)} damaged" if damages else f"{opened.root}: everything is whole")
    if damages:
        sys.exit(ERROR)
