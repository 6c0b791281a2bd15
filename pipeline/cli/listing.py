"""`pipeline list`: which peers, measures and selectors there are; a workspace's models and quarantine."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.common import as_json, json_option, short

__all__ = ["list_"]

IN_THE_HOUSE = ("measures", "selectors")
OF_A_WORKSPACE = ("quarantine", "models")
DOORS = {
    "detectors": "detector",
    "segmenters": "segmenter",
    "annotators": "annotator",
    "trainers": "trainer",
    "executors": "executor",
    "reviewers": "reviewer",
}


@click.command(name="list", short_help="List peers, measures, selectors; models, quarantine.")
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
    CONFIG it can be that workspace's quarantine (what was set aside, and why) or models (* is the champion).
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

    rows: list[dict[str, object]]
    _, opened, _ = open_house(config, workspace=workspace, create=False)
    if what == "quarantine":
        rows = [{"path": str(row.path), "reason": row.reason} for row in opened.ledger.samples.quarantined()]
        lines = [f"{short(str(row['path']))}: {row['reason']}" for row in rows]
    else:
        champion = opened.ledger.pointers.get("champion")
        models = opened.ledger.models.all()
        rows = [
            {
                "id": model.id,
                "weights": str(model.weights),
                "sha256": model.sha256,
                "trained_on": str(model.trained_on),
                "champion": model.id == champion,
            }
            for model in models
        ]
        lines = [f"{'*' if model.id == champion else ' '} {model.id}  {short(model.weights)}" for model in models]
    click.echo(as_json({what: rows}) if json_ else "\n".join(lines) or "none")
