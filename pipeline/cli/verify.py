"""`pipeline verify`: proof that nothing in a workspace is damaged."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.common import ERROR, as_json, config_options, json_option, short

if TYPE_CHECKING:
    from pipeline.services.proof import Unproven
    from pipeline.store.workspace import Damage

__all__ = ["verify"]


@click.command(short_help="Check every file of a workspace against its hash.")
@config_options
@json_option
def verify(config: Path, overrides: tuple[str, ...], workspace: Path | None, json_: bool) -> None:
    """Check CONFIG's workspace: the ledger, and every file that it names against its hash.

    Those are blobs, shards, models, images, and the training folders of dataset versions down to the last label
    file. A training folder that `pipeline gc` has dropped is made anew and must come out the same. Encodings, the
    report and what peers keep in `work/` may be removed at any time, and are not looked at.

    Every damaged file is named; exit code 1 if there is any. What cannot be proved is named too, and is no damage: as
    a dropped training folder that another version of maskloop made in another way.
    """
    from pipeline.cli.progress import Progress
    from pipeline.events import broadcast
    from pipeline.services.proof import Unproven, damages
    from pipeline.wiring import open_house

    _, opened, _ = open_house(config, overrides, workspace=workspace, create=False)
    with Progress(sys.stderr) as progress:
        found = list(damages(opened, emit=broadcast(progress)))
    unproven = [row for row in found if isinstance(row, Unproven)]
    damaged = [row for row in found if not isinstance(row, Unproven)]
    if json_:
        told = {"damaged": _rows(damaged), "unproven": _rows(unproven)}
        click.echo(as_json({"workspace": str(opened.root), **told}))
    else:
        for damage in damaged:
            click.echo(f"{click.style('damaged', fg='red')} {short(damage.path)}: {damage.reason}")
        for doubt in unproven:
            click.echo(f"{click.style('unproven', fg='yellow')} {short(doubt.path)}: {doubt.reason}")
        rest = "nothing is damaged" if unproven else "everything is whole"
        click.echo(f"{len(damaged)} damaged" if damaged else f"{short(opened.root)}: {rest}")
    if damaged:
        sys.exit(ERROR)


def _rows(found: Sequence[Damage | Unproven]) -> list[dict[str, str]]:
    return [{"path": str(row.path), "reason": row.reason} for row in found]
