"""`pipeline list`: which peers, measures and selectors there are; a workspace's models, versions and quarantine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.common import as_json, json_option, short
from pipeline.cli.words import many

if TYPE_CHECKING:
    from pipeline.store.workspace import Workspace

__all__ = ["list_"]

_Listed = tuple[list[dict[str, object]], list[str]]
"""The rows as JSON, and as lines for people."""
IN_THE_HOUSE = ("measures", "selectors")
OF_A_WORKSPACE = ("quarantine", "models", "versions")
DOORS = {
    "detectors": "detector",
    "segmenters": "segmenter",
    "annotators": "annotator",
    "trainers": "trainer",
    "executors": "executor",
    "reviewers": "reviewer",
}


@click.command(name="list", short_help="List peers; models, dataset versions, quarantine.")
@click.argument(
    "what", type=click.Choice([*DOORS, *IN_THE_HOUSE, *OF_A_WORKSPACE]), required=False, metavar="[WHAT]"
)
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option(
    "--workspace",
    type=click.Path(path_type=Path),
    help="Use this folder instead of the configuration's `workspace`.",
)
@json_option
def list_(what: str | None, config: Path | None, workspace: Path | None, json_: bool) -> None:
    """List every family of peers, or one of them, each peer with what it lacks here.

    WHAT is detectors, segmenters, annotators, trainers, executors, reviewers, measures or selectors. With a
    CONFIG it can be that workspace's quarantine (what was set aside, and why), models (* is the champion) or
    versions of the dataset (* is the head).
    """
    if what is not None and what in OF_A_WORKSPACE:
        if config is None:
            raise click.UsageError(f"`pipeline list {what}` needs a CONFIG")
        _workspace_rows(what, config, workspace, json_=json_)
        return
    families = [what] if what else [*DOORS, *IN_THE_HOUSE]
    rows = {family: _rows(family) for family in families}
    if json_:
        click.echo(as_json(rows))
        return
    for family, listed in rows.items():
        click.echo(click.style(family, bold=True))
        for row in listed:
            lacks = f"  ({click.style('lacks', fg='yellow')}: {row['lacks']})" if row["lacks"] else ""
            click.echo(f"  {row['kind']:<36} {row['caption']}{lacks}")


def _rows(family: str) -> list[dict[str, str]]:
    if family in DOORS:
        from pipeline.wiring import list_family

        return [
            {"kind": row.kind, "caption": row.caption, "lacks": row.lacks} for row in list_family(DOORS[family])
        ]
    from pipeline import acquisition

    names, load = (
        (acquisition.measures(), acquisition.load_measure)
        if family == "measures"
        else (acquisition.selectors(), acquisition.load_selector)
    )
    return [{"kind": name, "caption": (load(name).__doc__ or "").splitlines()[0], "lacks": ""} for name in names]


def _workspace_rows(what: str, config: Path, workspace: Path | None, *, json_: bool) -> None:
    from pipeline.wiring import open_house

    _, opened, _ = open_house(config, workspace=workspace, create=False)
    rows, lines = {"quarantine": _quarantine, "models": _models, "versions": _versions}[what](opened)
    click.echo(as_json({what: rows}) if json_ else "\n".join(lines) or "none")


def _quarantine(opened: Workspace) -> _Listed:
    found = opened.ledger.samples.quarantined()
    rows: list[dict[str, object]] = [{"path": str(row.path), "reason": row.reason} for row in found]
    return rows, [f"{short(row.path)}: {row.reason}" for row in found]


def _models(opened: Workspace) -> _Listed:
    champion = opened.ledger.pointers.get("champion")
    models = opened.ledger.models.all()
    rows: list[dict[str, object]] = [
        {
            "id": model.id,
            "weights": str(model.weights),
            "sha256": model.sha256,
            "trained_on": str(model.trained_on),
            "champion": model.id == champion,
        }
        for model in models
    ]
    return rows, [f"{'*' if model.id == champion else ' '} {model.id}  {short(model.weights)}" for model in models]


def _versions(opened: Workspace) -> _Listed:
    """One for each round; a round without news repeats the one before."""
    versions = opened.ledger.versions
    head, made_by = versions.head(), versions.made_by()
    rows: list[dict[str, object]] = []
    lines = []
    for number, version in versions.by_round().items():
        config, code = made_by[number]
        is_head = head is not None and version.id == head.id
        row = {"round": number, "id": version.id, "parent": version.parent, "counts": dict(version.counts)}
        folder = opened.dataset_folder(version.id)
        rows.append(row | {"config": config, "code": code, "head": is_head, "folder": folder.is_dir()})
        images = sum(count for name, count in version.counts.items() if name.startswith("split/"))
        objects = sum(count for name, count in version.counts.items() if name.startswith("class/"))
        told = f"{many(images, 'image')}, {many(objects, 'object')}"
        where = short(folder) if folder.is_dir() else "folder freed"
        lines.append(f"{'*' if is_head else ' '} @{number}  {version.id[:12]}  {told}  {where}")
    return rows, lines
