"""`pipeline report`: one HTML file that shows what the loop reached, and how."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pipeline.cli.common import as_json, config_options, json_option, short

__all__ = ["report"]


@click.command(short_help="Write the report: one HTML file, pictures included.")
@config_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write.  [default: report.html in the workspace]",
)
@json_option
def report(
    config: Path, overrides: tuple[str, ...], workspace: Path | None, out: Path | None, json_: bool
) -> None:
    """Write the report of CONFIG's workspace: one HTML file that needs nothing else, to open or to send.

    It shows how good the model became, what was asked and why, what people did, and what the dataset holds. It can be
    made at any time, also while a round is under way.
    """
    from pipeline.cli.progress import Progress
    from pipeline.events import broadcast
    from pipeline.report import write_report
    from pipeline.wiring import open_house

    settings, opened, _ = open_house(config, overrides, workspace=workspace, create=False)
    with Progress(sys.stderr) as progress:
        written = write_report(
            settings, opened, out.absolute() if out is not None else None, emit=broadcast(progress)
        )
    size = written.stat().st_size
    told = {"report": str(written), "bytes": size, "rounds": len(opened.ledger.rounds.all())}
    click.echo(as_json(told) if json_ else f"report  {short(written)}  ({size / 1e6:.1f} MB)")
