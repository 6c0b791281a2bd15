"""`pipeline run`, and each stage by its own name."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.common import WAITING, config_options, json_option, short

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.domain.rounds import RunState
    from pipeline.loop import Loop
    from pipeline.store.workspace import Workspace
    from pipeline.wiring import House

__all__ = ["CAPTIONS", "run", "run_stage", "stage_command"]

CAPTIONS = {
    "ingest": "Take in images and seed labels, and split them for good.",
    "propose": "Find objects in every image that nobody has labelled.",
    "segment": "Turn the proposed boxes into masks.",
    "score": "Measure how doubtful each image is.",
    "select": "Choose the images worth asking about, within the budget.",
    "submit": "Hand the chosen images to the annotator.",
    "collect": "Fetch what people have answered since.",
    "merge": "Make the next immutable version of the dataset.",
    "train": "Train the segmentation model on that version.",
    "evaluate": "Judge the model on held-out images; promote a better one.",
}


@click.command(short_help="Start the loop, or go on with it.")
@config_options
@click.option("--watch", is_flag=True, help="Wait for people instead of ending with exit code 3.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="With --watch: time between two looks.",
)
@json_option
def run(
    config: Path, overrides: tuple[str, ...], workspace: Path | None, watch: bool, every_s: float, json_: bool
) -> None:
    """Start the loop of CONFIG, or go on with it.

    Whatever is finished is kept: after a crash, a kill or Ctrl-C the same command resumes, and for a finished
    run it does nothing. Ends with exit code 3 where people must answer first.
    """
    _run(config, overrides, workspace, stage=None, watch_s=every_s if watch else None, json_=json_)


def _run(
    config: Path,
    overrides: tuple[str, ...],
    workspace: Path | None,
    *,
    stage: str | None,
    watch_s: float | None,
    json_: bool,
) -> None:
    """The whole loop, or the one `stage` of its current round; may end the process with exit code 3."""
    from pipeline.cli.progress import Progress
    from pipeline.cli.status import show
    from pipeline.domain.rounds import RunState
    from pipeline.events import broadcast
    from pipeline.loop import Loop
    from pipeline.wiring import open_house

    with Progress(sys.stderr) as progress:
        emit = broadcast(progress)
        settings, opened, house = open_house(config, overrides, workspace=workspace, emit=emit)
        told = 0
        while True:
            with opened.write_lock():
                loop = Loop(settings, opened, house, emit=emit)
                number = loop.current_round
                state = _advance(loop, house, stage)
            if state is not RunState.WAITING or watch_s is None:
                break
            if loop.current_round != told:
                told = loop.current_round
                _say_waiting(told, opened, config, settings.annotator.kind, watching=True)
            time.sleep(watch_s)
    if stage is None or json_:
        show(settings, opened, config, json_=json_, idle=not progress.worked)
    elif state is not RunState.WAITING:
        _say_next(stage, number, settings, config, idle=not progress.worked)
    if state is RunState.WAITING:
        # Not `number`: the call may have finished that round and now wait in the next one.
        _say_waiting(loop.current_round, opened, config, settings.annotator.kind)
        sys.exit(WAITING)


def _advance(loop: Loop, house: House, stage: str | None) -> RunState:
    """The whole loop, or one stage of the current round."""
    from pipeline.domain.rounds import RunState

    if stage is not None:
        return RunState.RUNNING if loop.run_one(stage) else RunState.WAITING
    if loop.current_round == 1:
        # Later rounds start from the models that they made themselves.
        house.check()
    return loop.run()


def _say_next(stage: str, number: int, settings: Config, config: Path, *, idle: bool) -> None:
    if idle:
        click.echo(f"nothing to do: round {number} has finished {stage!r} already")
    following = [*CAPTIONS][[*CAPTIONS].index(stage) + 1 :]
    if following:
        click.echo(f"next: pipeline {following[0]} {config}")
    elif number < settings.rounds:
        click.echo(f"round {number} of {settings.rounds} is finished; next: pipeline ingest {config}")
    else:
        click.echo(f"all {settings.rounds} rounds are finished: pipeline status {config}")


def _say_waiting(number: int, opened: Workspace, config: Path, annotator: str, *, watching: bool = False) -> None:
    asked, missing = len(opened.ledger.tasks.of(number)), len(opened.ledger.tasks.unanswered(number))
    lines = [f"waiting for people: {missing} of round {number}'s {asked} tasks are unanswered ({annotator})"]
    guide = opened.root / "work" / f"annotators-{annotator}" / "README.txt"
    if guide.is_file():
        first = guide.read_text(encoding="utf-8").partition("\n")[0]
        lines.append(f"  how to answer:   {first if first.startswith(('http://', 'https://')) else short(guide)}")
    if not watching:
        lines += [f"  then go on:      pipeline run {config}", f"  or keep waiting: pipeline run {config} --watch"]
    click.echo("\n".join(lines), err=True)


def run_stage(
    stage: str, config: Path, overrides: tuple[str, ...], workspace: Path | None, *, json_: bool
) -> None:
    """One stage of the current round."""
    _run(config, overrides, workspace, stage=stage, watch_s=None, json_=json_)


def stage_command(stage: str) -> click.Command:
    """The command of that name."""

    @click.command(
        name=stage, short_help=CAPTIONS[stage], help=f"{CAPTIONS[stage]}\n\nOne stage of CONFIG's current round."
    )
    @config_options
    @json_option
    def command(config: Path, overrides: tuple[str, ...], workspace: Path | None, json_: bool) -> None:
        run_stage(stage, config, overrides, workspace, json_=json_)

    return command
