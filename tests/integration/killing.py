"""Run a loop in child processes, kill it with SIGKILL at named points, resume it, and have the outcome checked.

A point is an event of a stage: `merge:file.renamed` is the moment when stage `merge` has renamed a file and
not yet told the ledger. The children are forked from a server that has imported everything and run nothing,
so hundreds of kills are affordable and no thread of the test process can be lost in a fork.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import cv2
import faster_coco_eval  # noqa: F401  # like all that a run imports on its way: once, in the server
import pandas as pd  # noqa: F401
import pyarrow.dataset
import pyarrow.parquet  # noqa: F401
import sqlalchemy.dialects.sqlite  # noqa: F401
from PIL import Image as Pillow

import connectors.annotators.simulated
import connectors.detectors.ground_truth
import connectors.executors.serial
import connectors.segmenters.grabcut
import connectors.trainers.dry_run  # noqa: F401
from pipeline.events import broadcast
from pipeline.loop import Loop
from pipeline.wiring import open_house
from tests.integration import checker

__all__ = ["Case", "Outcome", "Points", "forked", "read_log", "run_loop", "survive"]

Pillow.init()

REPOSITORY = Path(__file__).parents[2]
OPENING = "opening"
"""The stage of everything before the first one: the workspace and its ledger come into being."""


class Points:
    """A listener that writes every point to a file, and kills its process at the `nth` occurrence of `at`."""

    def __init__(self, log: Path, at: str | None = None, nth: int = 1) -> None:
        # Written line by line and never flushed later: a line is on record before the process can die.
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._counts: Counter[str] = Counter()
        self._stage = OPENING
        self._at = at
        self._nth = nth

    def __call__(self, name: str, data: Mapping[str, object], /) -> None:
        if name in ("stage.started", "round.started"):
            self._stage = str(data.get("stage", OPENING))
        point = f"{self._stage}:{name}"
        self._counts[point] += 1
        os.write(self._log, json.dumps([point, dict(data)], default=str).encode() + b"\n")
        if point == self._at and self._counts[point] == self._nth:
            os.kill(os.getpid(), signal.SIGKILL)


def read_log(log: Path) -> list[tuple[str, dict[str, Any]]]:
    """(point, data) of every event, of all processes that wrote to the log, in order."""
    return [(point, data) for point, data in map(json.loads, log.read_text().splitlines())]


def run_loop(config: Path, workspace: Path, *listeners: Points) -> None:
    """What `pipeline run` does, with `listeners` listening."""
    emit = broadcast(*listeners)
    settings, opened, house = open_house(config, workspace=workspace, emit=emit)
    with opened.write_lock():
        Loop(settings, opened, house, emit=emit).run()


def kill_at_act(number: int) -> None:
    """From now on, die right before the `number`th act that changes the file system, whoever commits it."""
    acts = {"os.rename", "os.mkdir", "os.link", "os.remove", "os.truncate", "os.chmod"}
    seen = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in acts or (event == "open" and isinstance(args[2], int) and args[2] & (os.O_CREAT | os.O_RDWR)):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a forked child; 0, 1 after an error, or the negative signal number."""
    with warnings.catch_warnings():
        # Python 3.12 warns of threads in the parent; the server that the tests fork from has none that matter.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001  # told here, because the child ends without unwinding
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


@dataclass(frozen=True)
class Case:
    """Kill a run at each of `kills` in turn (point, occurrence; an act's number instead of a point), then let
    one go through. With a `reference` the outcome is compared to it, and nothing is left on the disk.
    """

    config: Path
    root: Path
    kills: tuple[tuple[str | int, int], ...]
    reference: checker.Facts | None = None

    @property
    def name(self) -> str:
        return ", then ".join(
            f"{point} #{nth}" if isinstance(point, str) else f"act {point}" for point, nth in self.kills
        )

    @property
    def log(self) -> Path:
        return self.root.with_suffix(".log")


@dataclass(frozen=True)
class Outcome:
    """How each process ended, and what an outsider finds wrong."""

    case: Case
    codes: tuple[int, ...]
    complaints: tuple[str, ...]


def survive(cases: Iterable[Case]) -> Iterator[Outcome]:
    """Go through the cases, as many at once as there are processors; outcomes come as they are ready."""
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__])
    remaining = iter(cases)
    running: dict[Any, Any] = {}
    while True:
        while len(running) < (os.cpu_count() or 1) and (case := next(remaining, None)) is not None:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_go_through, args=(case, theirs))
            process.start()
            theirs.close()
            running[ours] = process
        if not running:
            return
        ready: list[Any] = list(wait(list(running)))
        for ended in ready:
            yield ended.recv()
            running.pop(ended).join()


def _go_through(case: Case, answer: Any) -> None:
    cv2.setNumThreads(0)
    codes: list[int] = []
    complaints: list[str] = []
    said: set[tuple[Any, ...]] = set()
    for point, nth in case.kills:
        codes.append(forked(lambda point=point, nth=nth: _die(case, point, nth)))  # type: ignore[misc]
        if case.root.is_dir():
            complaints += [f"after the kill: {text}" for text in checker.damage(case.root)]
            now_said = checker.human_rows(case.root)
            complaints += [f"a human annotation was lost or changed: {row}" for row in said - now_said]
            said |= now_said
    codes.append(forked(lambda: run_loop(case.config, case.root, Points(case.log))))
    if codes[-1] == 0:
        facts = checker.take(case.root)
        complaints += [
            f"a human annotation was lost or changed: {row}" for row in said - checker.human_rows(case.root)
        ]
        complaints += checker.damage(case.root) + checker.leftovers(case.root)
        complaints += checker.differences(case.reference, facts) if case.reference is not None else []
    else:
        complaints.append(f"the resumed run ended with {codes[-1]}")
    answer.send(Outcome(case, tuple(codes), tuple(complaints)))
    if not complaints and case.reference is not None:
        shutil.rmtree(case.root)


def _die(case: Case, point: str | int, nth: int) -> None:
    if isinstance(point, int):
        kill_at_act(point)
        run_loop(case.config, case.root, Points(case.log))
    else:
        run_loop(case.config, case.root, Points(case.log, point, nth))


def middles(counts: Mapping[str, int], names: Sequence[str]) -> list[tuple[str, int]]:
    """The middle occurrence of every point with one of these names that occurs at least three times."""
    return [
        (point, count // 2 + 1)
        for point, count in counts.items()
        if count >= 3 and point.partition(":")[2].endswith(tuple(names))
    ]
