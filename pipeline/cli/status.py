"""`pipeline status`: what each round did, as a table or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.common import as_json, config_options, json_option, short

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.domain.rounds import Round, RunState
    from pipeline.store.workspace import Workspace

__all__ = ["show", "status", "summary", "table"]

COLUMNS = (
    ("", "round"),
    ("images", "labelled"),
    ("instances", "touched"),
    ("", "clicks"),
    ("{people}", "seconds"),
    ("box", "mAP50"),
    ("box", "mAP50-95"),
    ("mask", "mAP50"),
    ("mask", "mAP50-95"),
)
"""The two lines above each column of figures."""


@click.command(short_help="Show where a run stands, and what each round did.")
@config_options
@json_option
def status(config: Path, overrides: tuple[str, ...], workspace: Path | None, json_: bool) -> None:
    """Show where the run of CONFIG stands, and what each round did.

    Counts are totals up to that round; metrics are those of its model on the held-out split.
    """
    from pipeline.wiring import is_workspace, load_config, open_house

    if is_workspace(settings := load_config(config, overrides, workspace=workspace)):
        _, opened, _ = open_house(config, overrides, workspace=workspace, create=False)
        show(settings, opened, config, json_=json_)
    elif json_:
        click.echo(as_json(_report(settings, "new", None, [], 0)))
    else:
        click.echo(f"not started yet: `pipeline run {config}` makes the workspace {short(settings.workspace)}")


def show(settings: Config, opened: Workspace, config: Path, *, json_: bool, idle: bool = False) -> None:
    """Print the state of a workspace; `idle` says that the call before it found nothing to do."""
    if json_:
        click.echo(as_json(summary(settings, opened)))
        return
    if idle:
        click.echo(f"nothing to do: all {settings.rounds} rounds are finished; no model was called\n")
    click.echo(table(settings, opened))
    click.echo(f"\n{_places(opened, config)}")


def summary(settings: Config, opened: Workspace) -> dict[str, Any]:
    """The JSON of `pipeline status`."""
    rounds = [
        {
            "round": row.round,
            "labelled": row.labelled,
            "instances": row.instances,
            "clicks": row.clicks,
            "human_seconds": round(row.human_seconds, 1),
            "promoted": row.promoted,
            "metrics": row.metrics.headline(),
        }
        for row in opened.ledger.rounds.all()
    ]
    quarantined = len(opened.ledger.samples.quarantined())
    return _report(settings, _state(settings, opened).value, _start(opened), rounds, quarantined)


def _report(
    settings: Config, state: str, start: dict[str, Any] | None, rounds: list[dict[str, Any]], quarantined: int
) -> dict[str, Any]:
    return {
        "state": state,
        "project": settings.project.name,
        "workspace": str(settings.workspace),
        "start": start,
        "rounds": rounds,
        "quarantined": quarantined,
    }


def _start(opened: Workspace) -> dict[str, Any] | None:
    """The figures of the starting weights, once they have been judged."""
    return (opened.ledger.rounds.marked(1, "evaluate") or {}).get("standing")


def _state(settings: Config, opened: Workspace) -> RunState:
    from pipeline.domain.rounds import RunState

    finished = len(opened.ledger.rounds.all())
    if finished >= settings.rounds:
        return RunState.DONE
    if opened.ledger.tasks.unanswered(finished + 1):
        return RunState.WAITING
    return RunState.RUNNING if opened.ledger.samples.count() else RunState.NEW


def table(settings: Config, opened: Workspace) -> str:
    """One line a round; counts are totals up to that round, metrics those of its model on the held-out split."""
    rounds = opened.ledger.rounds.all()
    if not rounds:
        return "no round is finished yet"
    people = "simulated" if settings.annotator.kind == "simulated" else "human"
    top, names = ([pair[line].format(people=people) for pair in COLUMNS] for line in (0, 1))
    start = _start(opened)
    untouched = [["start", "", "", "", "", *(_score(value) for value in start.values())]] if start else []
    rows = [top, names, *untouched, *(_row(row) for row in rounds)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    verdicts = [
        "",
        "",
        *("" for _ in untouched),
        *("promoted" if row.promoted else "not promoted" for row in rounds),
    ]
    lines = [
        "  ".join([*(cell.rjust(width) for cell, width in zip(row, widths, strict=True)), verdict]).rstrip()
        for row, verdict in zip(rows, verdicts, strict=True)
    ]
    return "\n".join([*lines[:2], "-" * max(map(len, lines)), *lines[2:]])


def _row(row: Round) -> list[str]:
    counts = (row.round, row.labelled, row.instances, row.clicks, round(row.human_seconds))
    return [*(str(count) for count in counts), *(_score(value) for value in row.metrics.headline().values())]


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _places(opened: Workspace, config: Path) -> str:
    """Where everything lies."""
    from pipeline.report import REPORT

    places = [("workspace", opened.root), ("ledger", opened.root / "ledger.sqlite")]
    versions, champion = opened.ledger.versions.all(), opened.ledger.pointers.get("champion")
    if versions:
        places.append(("dataset", opened.dataset_folder(versions[-1].id)))
    if champion:
        places.append(("model", opened.ledger.models.get(champion).weights))
    elif versions:
        places.append(("models", opened.models))
    if (report := opened.root / REPORT).is_file():
        places.append(("report", report))
    quarantined = len(opened.ledger.samples.quarantined())
    lines = [f"{name:<10}  {short(path)}" for name, path in places]
    number = len(opened.ledger.rounds.all()) + 1
    if missing := len(opened.ledger.tasks.unanswered(number)):
        lines.append(f"{'waiting':<10}  for people: {missing} tasks of round {number} are unanswered")
    if quarantined:
        lines.append(f"{'set aside':<10}  {quarantined} files: `pipeline list quarantine {config}` shows why")
    return "\n".join(lines)
