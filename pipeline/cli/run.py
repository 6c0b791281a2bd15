"""`pipeline run`, and each stage by its own name."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.common import WAITING, config_options, json_option

if TYPE_CHECKING:
    from pipeline.domain.rounds import RunState
    from pipeline.store.workspace import Workspace

__all__ = ["STAGE_COMMANDS", "run"]

CAPTIONS = {
    "ingest": "Take images and seed labels in, and divide them for good.",
    "propose": "Let the detector propose objects in every image that nobody has labelled.",
    "segment": "Let the segmenter turn proposed boxes into masks.",
    "score": "Measure how doubtful each image is.",
    "select": "Choose the images worth asking about, within the budget.",
    "submit": "Hand the chosen images to the annotator.",
    "collect": "Fetch what people have said since.",
    "merge": "Make the next immutable version of the dataset.",
    "train": "Train the segmentation model on it.",
    "evaluate": "Judge the model on the held-out split, and promote it if it is better.",
}


@click.command()
@config_options
@click.option("--watch", is_flag=True, help="Wait for people instead of ending with exit code 3.")
@click.option("--every", "every_s", default=30.0, show_default=True, help="With --watch: seconds between looks.")
@json_option
def run(
    config: Path, overrides: tuple[str, ...], workspace: Path | None, watch: bool, every_s: float, json_: bool
) -> None:
    """Go on with the loop of CONFIG: start it, resume it, or find that nothing is left to do."""
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
    from pipeline.cli.progress import Progress
    from pipeline.cli.status import show
    from pipeline.domain.rounds import RunState
    from pipeline.events import broadcast
    from pipeline.loop import Loop
    from pipeline.wiring import open_house

    with Progress(sys.stderr) as progress:
        emit = broadcast(progress)
        settings, opened, house = open_house(config, overrides, workspace=workspace, emit=emit)
        while True:
            with opened.write_lock():
                loop = Loop(settings, opened, house, emit=emit)
                state = loop.run() if stage is None else _state(loop.run_one(stage))
            if state is not RunState.WAITING or watch_s is None:
                break
            time.sleep(watch_s)
    if stage is None or json_:
        show(settings, opened, config, json_=json_, idle=not progress.worked)
    if state is RunState.WAITING:
        _say_waiting(opened, config, house.annotator.name)
        sys.exit(WAITING)


def _state(finished: bool) -> RunState:
    from pipeline.domain.rounds import RunState

    return RunState.RUNNING if finished else RunState.WAITING


def _say_waiting(opened: Workspace, config: Path, annotator: str) -> None:
    number = len(opened.ledger.rounds.all()) + 1
    missing = len(opened.ledger.tasks.unanswered(number))
    click.echo(
        f"waiting for people: {missing} of round {number}'s tasks are unanswered ({annotator}).\n"
        f"Answer them, then run `pipeline run {config}` again; or let `pipeline run {config} --watch` wait.",
        err=True,
    )


def _stage_command(stage: str) -> click.Command:
    @click.command(name=stage, help=f"{CAPTIONS[stage]}\n\nOne stage of the current round of CONFIG.")
    @config_options
    @json_option
    def command(config: Path, overrides: tuple[str, ...], workspace: Path | None, json_: bool) -> None:
        _run(config, overrides, workspace, stage=stage, watch_s=None, json_=json_)

    return command


STAGE_COMMANDS = tuple(_stage_command(stage) for stage in CAPTIONS)
