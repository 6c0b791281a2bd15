"""`pipeline segment --warm`: encodings computed before anybody waits for them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from pipeline.cli.common import ERROR, as_json, fail
from pipeline.cli.progress import Progress
from pipeline.cli.words import many
from pipeline.domain.records import Sample
from pipeline.errors import ConfigError
from pipeline.events import broadcast
from pipeline.loop import Loop
from pipeline.segmenting.warming import Estimate, Warmed, estimate, warm
from pipeline.store.workspace import Workspace
from pipeline.wiring import open_house

__all__ = ["warm_up"]

_FAILED_LINES = 5


def warm_up(config: Path, overrides: Sequence[str], workspace: Path | None, *, queue: bool, json_: bool) -> None:
    """Of every image of the project, or of those of the current round that people have not answered yet.

    Raises ConfigError where no encodings are kept, LedgerError with `queue` before there is a selection.
    """
    with Progress(sys.stderr) as progress:
        emit = broadcast(progress)
        settings, opened, house = open_house(config, overrides, workspace=workspace, emit=emit, create=False)
        samples = _queue(opened, Loop(settings, opened, house).current_round) if queue else _all(opened)
        if not settings.encodings.budget_gb:
            raise ConfigError("nothing is kept with 0: give it room", path=config, key="encodings.budget_gb")
        stored = house.stored_segmenter
        if stored is None:
            reason = "encoding an image costs next to nothing with this segmenter"
            click.echo(as_json({"made": 0, "reason": reason}) if json_ else f"nothing to do: {reason}")
            return
        ahead = estimate(samples, stored, house.read_image)
        click.echo(_told(ahead), err=True)
        done = warm(samples, stored, house.read_image, house.executor, emit)
    if json_:
        click.echo(
            as_json({"made": done.made, "found": done.found, "failed": dict(done.failed), "estimate": ahead})
        )
    else:
        click.echo(f"{many(done.made, 'encoding')} made, {done.found:,} found")
    _complain(done)


def _all(opened: Workspace) -> list[Sample]:
    aside = opened.ledger.samples.set_aside_ids()
    return [sample for sample in opened.ledger.samples.all() if sample.id not in aside]


def _queue(opened: Workspace, number: int) -> list[Sample]:
    """The current round's images without an answer, most wanted first: later ones may push earlier ones out of a
    small budget, so the most wanted are computed last."""
    ranked = opened.ledger.rounds.selection(number).ranked
    asked = opened.ledger.tasks.of(number)
    missing = set(opened.ledger.tasks.unanswered(number))
    waiting = [key for key in ranked if key not in asked or key in missing]
    found = opened.ledger.samples.some(waiting)
    return [found[key] for key in reversed(waiting)]


def _told(ahead: Estimate) -> str:
    size = f"{many(ahead.images, 'image')} of {_size(ahead.bytes_each)}: {_size(ahead.bytes_all)}"
    if ahead.fits:
        return f"{size} of {_size(ahead.budget_bytes)} that encodings may take"
    return (
        f"{size}, more than the {_size(ahead.budget_bytes)} that encodings may take: the first will go again; "
        "raise encodings.budget_gb, or warm only the --queue"
    )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _complain(done: Warmed) -> None:
    if not done.failed:
        return
    for name, reason in done.failed[:_FAILED_LINES]:
        click.echo(f"  {name[:12]}: {reason}", err=True)
    fail(f"{many(len(done.failed), 'image')} could not be encoded; the same command tries them again", ERROR)
