"""`pipeline review`: look over what models and people said, and take the verdicts back."""

from __future__ import annotations

import getpass
import socket
import webbrowser
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from pipeline.cli.common import as_json, config_options, json_option, short
from pipeline.cli.processes import until_told

if TYPE_CHECKING:
    from pipeline.ports import Reviewer
    from pipeline.services.deciding import Decision
    from pipeline.services.reviewing import Desk

__all__ = ["review"]


@click.command(short_help="Look over masks and labels; take the verdicts back.")
@config_options
@click.option("--round", "round_", type=click.IntRange(1), help="The images that people were asked about in it.")
@click.option("--version", help="The images of a dataset version, by (the start of) its id.")
@click.option("--pull", is_flag=True, help="Take back what was decided in the review that was opened last.")
@click.option("--discard", is_flag=True, help="Throw away verdicts of the last review that were not taken back.")
@click.option("--remote", is_flag=True, help="Open no browser here; say how to reach the App from elsewhere.")
@click.option("--port", type=click.IntRange(1, 65535), help="The App's.  [default: reviewer.port]")
@json_option
def review(
    config: Path,
    overrides: tuple[str, ...],
    workspace: Path | None,
    round_: int | None,
    version: str | None,
    pull: bool,
    discard: bool,
    remote: bool,
    port: int | None,
    json_: bool,
) -> None:
    """Look over what models and people said of CONFIG's images, with the reviewer that the configuration names.

    Without --round or --version every image is shown, as it stands now. Verdicts are tags in the FiftyOne App, or words
    in a table: accept, fix, reject, relabel:NAME and, for a whole image, hold-out. They count from --pull on: `fix`
    goes into the next round's queue, `hold-out` keeps an image out of training. Without a verdict nothing changes. The
    next review begins without verdicts, and refuses to while some were not taken back.
    """
    from pipeline.events import silent
    from pipeline.services.reviewing import Desk
    from pipeline.shelf import Shelf
    from pipeline.wiring import load_config, open_house

    if round_ is not None and version is not None:
        raise click.UsageError("--round and --version are two ways of choosing: give one of them")
    told = list(overrides)
    if port is not None:
        kind = load_config(config, overrides, workspace=workspace).reviewer.kind
        told += [f"reviewer.kind={kind}", f"reviewer.port={port}"]
    settings, opened, house = open_house(config, told, workspace=workspace, create=False)
    shelf = Shelf(opened, lambda: house.executor, house.read_image, batch=settings.propose.batch, emit=silent)
    desk = Desk(settings, opened, shelf, house.reviewer)
    if pull:
        decisions = desk.pull(round_=round_, version=version)
        click.echo(as_json({"decisions": [_row(row) for row in decisions]}) if json_ else _table(decisions))
        return
    with until_told():
        open_ = partial(desk.open, round_=round_, version=version, discard=discard)
        _show(desk, open_, remote=remote, json_=json_)


def _show(desk: Desk, open_: Callable[[], tuple[Reviewer, int]], *, remote: bool, json_: bool) -> None:
    """Show it; an App is shown until Ctrl-C."""
    from pipeline.services.reviewing import Shows

    if not json_:
        click.echo("gathering what is known of each image …", err=True)
    reviewer, count = open_()
    back = "the same command with --pull takes the verdicts back"
    if not isinstance(reviewer, Shows):
        told = {"images": count, "folder": str(desk.folder)}
        click.echo(as_json(told) if json_ else f"{count} images to look over in {short(desk.folder)}; {back}")
        return

    def ready(url: str) -> None:
        tunnel = _tunnel(url)
        if json_:
            click.echo(as_json({"images": count, "url": url, "tunnel": tunnel}))
        elif remote:
            click.echo(f"{count} images. On your own machine:\n\n  {tunnel}\n\nand then open {url}")
            click.echo(f"Ctrl-C ends the App; {back}.")
        else:
            click.echo(f"{count} images at {url}\nCtrl-C ends the App; {back}.")
            webbrowser.open(url)

    if not json_:
        click.echo("the App is starting …", err=True)
    try:
        reviewer.show(ready)
    except KeyboardInterrupt:
        click.echo(f"\nended; {back}", err=True)


def _tunnel(url: str) -> str:
    """The command that brings the App's port to another machine."""
    port = urlsplit(url).port
    return f"ssh -N -L {port}:127.0.0.1:{port} {getpass.getuser()}@{socket.gethostname()}"


def _row(row: Decision) -> dict[str, object]:
    said = row.verdict
    return {
        "sample": said.sample_id,
        "instance": said.instance_id,
        "decision": said.decision,
        "author": said.author,
        "state": row.state,
        "why": row.why,
    }


def _table(decisions: Sequence[Decision]) -> str:
    """One line a decision, and how many of them are new."""
    if not decisions:
        return "nothing was decided"
    rows = [("image", "object", "decision", "by", "")]
    for row in decisions:
        said = row.verdict
        about = said.instance_id[:12] if said.instance_id is not None else "(all)"
        state = f"{row.state}: {row.why}" if row.why else row.state
        rows.append((said.sample_id[:12], about, said.decision, said.author, state))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    counts = Counter(row.state for row in decisions)
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join([*lines, "", ", ".join(f"{count} {state}" for state, count in counts.items())])
