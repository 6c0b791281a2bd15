"""`pipeline gc`: free what nothing in a workspace refers to."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.common import as_json, config_options, json_option, short
from pipeline.cli.words import many

if TYPE_CHECKING:
    from pipeline.services.proof import Unproven
    from pipeline.store.garbage import Garbage

__all__ = ["gc"]

_WORDS = {
    "blob": "blob",
    "shard": "shard",
    "dataset": "training folder",
    "model": "model file",
    "training": "finished training",
    "leftover": "left-over",
}
"""How a person calls each kind."""


@click.command(short_help="Free what nothing in a workspace refers to.")
@config_options
@click.option("--dry-run", is_flag=True, help="Tell what would go, and remove nothing.")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="Free the training folders of all but the newest N dataset versions too.",
)
@json_option
def gc(
    config: Path,
    overrides: tuple[str, ...],
    workspace: Path | None,
    dry_run: bool,
    keep: int | None,
    json_: bool,
) -> None:
    """Free what nothing in CONFIG's workspace refers to, and only that.

    That is: blobs, shards, training folders and model files that the ledger does not know, what killed processes
    left half-written, and the work folders of trainings whose model is kept. Annotations, dataset versions and
    models always stay.

    With --keep the training folders of older versions go as well. Their manifests stay, so that `pipeline export`
    and `pipeline diff` work as before, and a folder that is needed again is made again, byte by byte. That is tried
    first: a folder that would not come out as it was stays, and is named.
    """
    from pipeline.cli.progress import Progress
    from pipeline.events import broadcast
    from pipeline.services.proof import remakable
    from pipeline.store.garbage import disk_bytes, find_garbage, free
    from pipeline.wiring import open_house

    _, opened, _ = open_house(config, overrides, workspace=workspace, create=False)
    with opened.write_lock():
        with Progress(sys.stderr) as progress:
            found, kept = remakable(opened, find_garbage(opened, keep=keep), emit=broadcast(progress))
        size = disk_bytes(item.path for item in found)
        told = (
            as_json(_report(opened.root, found, kept, size, dry_run=dry_run))
            if json_
            else "\n".join(_lines(found, kept, size, dry_run=dry_run))
        )
        if not dry_run:
            free(opened, found)
    click.echo(told)


def _report(
    root: Path, found: Sequence[Garbage], kept: Sequence[Unproven], size: int, *, dry_run: bool
) -> dict[str, Any]:
    from pipeline.store.garbage import disk_bytes

    rows = [{"path": str(item.path), "kind": item.kind, "bytes": disk_bytes([item.path])} for item in found]
    stay = [{"path": str(item.path), "reason": item.reason} for item in kept]
    return {"workspace": str(root), "dry_run": dry_run, "bytes": size, "freed": rows, "kept": stay}


def _lines(found: Sequence[Garbage], kept: Sequence[Unproven], size: int, *, dry_run: bool) -> list[str]:
    """Before anything is removed: what is gone has no size."""
    from pipeline.store.garbage import disk_bytes

    stay = [f"{click.style('kept', fg='yellow')} {short(item.path)}: {item.reason}" for item in kept]
    if not found:
        return [*stay, "nothing to free" if kept else "nothing to free: everything is referred to"]
    lines = [
        f"{_WORDS[item.kind]:<17}  {_told(disk_bytes([item.path])):>10}  {short(item.path)}" for item in found
    ]
    verb = "would be freed" if dry_run else "freed"
    return [*stay, *lines, f"{many(len(found), 'thing')}, {_told(size)} {verb}"]


def _told(size: int) -> str:
    """Bytes as people read them, in powers of 1000."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
