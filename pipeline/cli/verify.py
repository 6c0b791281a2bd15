"""`pipeline verify`: proof that nothing in a workspace is damaged."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pipeline.cli.common import ERROR, as_json, config_options, json_option, short

__all__ = ["verify"]


@click.command(short_help="Check every file of a workspace against its hash.")
@config_options
@json_option
def verify(config: Path, overrides: tuple[str, ...], workspace: Path | None, json_: bool) -> None:
    """Check CONFIG's workspace: the ledger, and every file that it names against its hash.

    Those are blobs, shards, models, images, and the training folders of dataset versions down to the last label
    file. A training folder that `pipeline gc` has dropped is made anew and must come out the same. Encodings, the
    report and what peers keep in `work/` may be removed at any time, and are not looked at.

    Every damaged file is named; exit code 1 if there is any.
    """
    from pipeline.cli.progress import Progress
    from pipeline.events import broadcast
    from pipeline.services.proof import damages
    from pipeline.wiring import open_house

    _, opened, _ = open_house(config, overrides, workspace=workspace, create=False)
    with Progress(sys.stderr) as progress:
        found = list(damages(opened, emit=broadcast(progress)))
    if json_:
        rows = [{"path": str(row.path), "reason": row.reason} for row in found]
        click.echo(as_json({"workspace": str(opened.root), "damaged": rows}))
    else:
        for row in found:
            click.echo(f"{click.style('damaged', fg='red')} {short(row.path)}: {row.reason}")
        click.echo(f"{len(found)} damaged" if found else f"{short(opened.root)}: everything is whole")
    if found:
        sys.exit(ERROR)
