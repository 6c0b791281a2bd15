"""`pipeline status`: what each round did, as a table or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.common import as_json, config_options, json_option

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.domain.rounds import Round, RunState
    from pipeline.store.workspace import Workspace

__all__ = ["figures", "show", "status", "summary", "table"]

COLUMNS = ("round", "images", "instances", "clicks", "human s", "box50", "box50-95", "mask50", "mask50-95", "")


@click.command()
@config_options
@json_option
def status(config: Path, overrides: tuple[str, ...], workspace: Path | None, json_: bool) -> None:
    """Show where the run of CONFIG stands and what each round did."""
    from pipeline.wiring import open_house

    settings, opened, _ = open_house(config, overrides, workspace=workspace, create=False)
    show(settings, opened, config, json_=json_)


def show(settings: Config, opened: Workspace, config: Path, *, json_: bool, idle: bool = False) -> None:
    """Print the state of a workspace; `idle` says that the call before it found nothing to do."""
    report = summary(settings, opened)
    if json_:
        click.echo(as_json(report))
        return
    if idle:
        click.echo(f"nothing to do: all {settings.rounds} rounds are finished; no model was called")
    click.echo(table(opened))
    click.echo(_places(opened))


def summary(settings: Config, opened: Workspace) -> dict[str, Any]:
    """The JSON of `pipeline status`."""
    rounds = opened.ledger.rounds.all()
    return {
        "state": _state(settings, opened).value,
        "project": settings.project.name,
        "workspace": str(opened.root),
        "start": (opened.ledger.rounds.marked(1, "evaluate") or {}).get("standing"),
        "rounds": [
            {
                "round": row.round,
                "labelled": row.labelled,
                "instances": row.instances,
                "clicks": row.clicks,
                "human_seconds": round(row.human_seconds, 1),
                "promoted": row.promoted,
                "metrics": figures(row.metrics),
            }
            for row in rounds
        ],
        "quarantined": len(opened.ledger.samples.quarantined()),
    }


def figures(metrics: Any) -> dict[str, float | None]:
    """The four headline figures of a `Metrics`."""
    return {name: getattr(metrics, name) for name in ("box_map50", "box_map50_95", "mask_map50", "mask_map50_95")}


def _state(settings: Config, opened: Workspace) -> RunState:
    from pipeline.domain.rounds import RunState

    finished = len(opened.ledger.rounds.all())
    if finished >= settings.rounds:
        return RunState.DONE
    if opened.ledger.tasks.unanswered(finished + 1):
        return RunState.WAITING
    return RunState.RUNNING if opened.ledger.samples.count() else RunState.NEW


def table(opened: Workspace) -> str:
    """One line a round; counts are totals up to that round, metrics those of its model on the held-out split."""
    rounds = opened.ledger.rounds.all()
    if not rounds:
        return "no round is finished yet"
    rows = [COLUMNS, *(_row(row) for row in rounds)]
    standing = (opened.ledger.rounds.marked(1, "evaluate") or {}).get("standing")
    if standing:
        start = ("start", "", "", "", "", *(_score(value) for value in standing.values()), "")
        rows.insert(1, start)
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _row(row: Round) -> tuple[str, ...]:
    return (
        str(row.round),
        str(row.labelled),
        str(row.instances),
        str(row.clicks),
        f"{row.human_seconds:.0f}",
        *(_score(value) for value in figures(row.metrics).values()),
        "promoted" if row.promoted else "kept the old one",
    )


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _places(opened: Workspace) -> str:
    """Where everything lies."""
    places = [("workspace", opened.root), ("ledger", opened.root / "ledger.sqlite")]
    versions, champion = opened.ledger.versions.all(), opened.ledger.pointers.get("champion")
    if versions:
        places.append(("dataset", opened.dataset_folder(versions[-1].id)))
    if champion:
        places.append(("model", opened.ledger.models.get(champion).weights))
    quarantined = len(opened.ledger.samples.quarantined())
    lines = [f"{name:<10} {_short(path)}" for name, path in places]
    if quarantined:
        lines.append(f"{'quarantine':<10} {quarantined} files: `pipeline list quarantine CONFIG` shows why")
    return "\n".join(lines)


def _short(path: Path) -> str:
    """A path relative to where the person stands, if it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
