"""`pipeline diff`: what changed between two dataset versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.common import as_json, config_options, json_option, short
from pipeline.cli.words import many

if TYPE_CHECKING:
    from pipeline.services.difference import Change, Difference, Tally
    from pipeline.store.workspace import Workspace

__all__ = ["diff"]

_COLUMNS = ("before", "after", "added", "removed", "changed")


@click.command(short_help="Tell what changed between two dataset versions.")
@config_options
@click.argument("v1", required=False)
@click.argument("v2", required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the most changed objects before and after, as one HTML page.",
)
@click.option(
    "--pictures", type=click.IntRange(min=1), default=48, show_default=True, help="At most so many on that page."
)
@json_option
def diff(
    config: Path,
    overrides: tuple[str, ...],
    workspace: Path | None,
    v1: str | None,
    v2: str | None,
    out: Path | None,
    pictures: int,
    json_: bool,
) -> None:
    """Tell what changed from dataset version V1 to V2 of CONFIG's workspace.

    A version is the start of its id, or @3 for that of round 3. Without V2 it is the newest; without V1 too, the
    newest is compared with the one it came from. Objects are the same if they share an id, or else overlap best,
    from an IoU of 0.5 on.
    """
    from pipeline.cli.diff_page import page
    from pipeline.cli.versions import version_named
    from pipeline.domain.dataset import parse_manifest
    from pipeline.services.difference import difference
    from pipeline.store.atomic import atomic_write
    from pipeline.wiring import open_house

    _, opened, _ = open_house(config, overrides, workspace=workspace, create=False)
    newer = version_named(opened, v2, key="V2")
    older = version_named(opened, v1, key="V1") if v1 is not None else _parent(opened, newer)
    _, before = parse_manifest(opened.blobs.read(older))
    classes, after = parse_manifest(opened.blobs.read(newer))
    found = difference(before, after)
    if out is not None:
        atomic_write(out.absolute(), page(opened, (older, newer), classes, found, pictures).encode())
    if json_:
        click.echo(as_json(_report(older, newer, found, out)))
        return
    click.echo("\n".join(_lines(opened, older, newer, found)))
    if out is not None:
        click.echo(f"\nwritten to {short(out)}")


def _parent(opened: Workspace, version: str) -> str:
    """The version that another came from; raises ConfigError for the first."""
    from pipeline.errors import ConfigError

    parents = {row.id: row.parent for row in opened.ledger.versions.all() if row.parent is not None}
    if version not in parents:
        raise ConfigError(f"version {version[:12]} is the first: there is nothing to compare it with", key="V1")
    return parents[version]


def _report(older: str, newer: str, found: Difference, out: Path | None) -> dict[str, Any]:
    def moves(counted: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
        return [{"before": one, "after": other, "count": count} for (one, other), count in counted.items()]

    return {
        "before": older,
        "after": newer,
        "images": vars(found.images),
        "instances": vars(found.instances),
        "images_by_split": {name: vars(tally) for name, tally in found.images_by_split.items()},
        "instances_by_class": {name: vars(tally) for name, tally in found.instances_by_class.items()},
        "instances_by_state": {name: vars(tally) for name, tally in found.instances_by_state.items()},
        "moved": found.moved,
        "relabelled": moves(found.relabelled),
        "restated": moves(found.restated),
        "reshaped": found.reshaped,
        "mean_iou": found.mean_iou,
        "retold": found.retold,
        "changes": [_change(change) for change in found.changes],
        "page": str(out) if out is not None else None,
    }


def _change(change: Change) -> dict[str, Any]:
    one, other = change.before, change.after
    return {
        "sample": change.sample_id,
        "instance": change.either.id,
        "kind": change.kind,
        "label": [item.label if item is not None else None for item in (one, other)],
        "state": [item.state.value if item is not None else None for item in (one, other)],
        "iou": change.iou,
    }


def _lines(opened: Workspace, older: str, newer: str, found: Difference) -> Iterator[str]:
    rounds = {version.id: number for number, version in opened.ledger.versions.by_round().items()}
    yield f"{older[:12]} (@{rounds[older]}) -> {newer[:12]} (@{rounds[newer]})"
    if found.is_empty:
        yield f"the same images with the same objects{f'; {found.retold} are told of anew' if found.retold else ''}"
        return
    yield ""
    yield from _table(found)
    if found.reshaped:
        yield f"\n{many(found.reshaped, 'mask')} changed: mean IoU {found.mean_iou:.3f} with what they were"
    for what, counted in (("class", found.relabelled), ("state", found.restated)):
        told = ", ".join(f"{one} -> {other} {count}" for (one, other), count in counted.items())
        if told:
            yield f"another {what}: {told}"
    if found.moved:
        yield f"{many(found.moved, 'image')} in another split"
    if found.retold:
        yield f"{many(found.retold, 'object')} the same, but told of anew (who, scores, clicks)"


def _table(found: Difference) -> Iterator[str]:
    groups: list[tuple[str, Tally]] = [("images", found.images)]
    groups += [(f"  {name}", tally) for name, tally in found.images_by_split.items()]
    groups += [("objects", found.instances)]
    for tallies in (found.instances_by_class, found.instances_by_state):
        groups += [(f"  {name}", tally) for name, tally in tallies.items()]
    widest = max(len(name) for name, _ in groups)
    yield " " * widest + "".join(f"{name:>9}" for name in _COLUMNS)
    for name, tally in groups:
        yield f"{name:<{widest}}" + "".join(f"{getattr(tally, column):>9,}" for column in _COLUMNS)
