"""Run a loop in a child process and kill it with SIGKILL at a named point.

A point is an event of a stage: `merge:file.renamed` is the moment when stage `merge` has renamed a file and
not yet told the ledger. The child is forked from a warm parent, so a hundred kills cost seconds each.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.events import broadcast
from pipeline.loop import Loop
from pipeline.wiring import open_house

__all__ = ["Points", "forked", "run_loop"]


class Points:
    """A listener that counts points, and kills its process at the `nth` occurrence of `at`."""

    def __init__(self, at: str | None = None, nth: int = 1) -> None:
        self.counts: Counter[str] = Counter()
        self._stage = "opening"
        self._at = at
        self._nth = nth

    def __call__(self, name: str, data: Mapping[str, object], /) -> None:
        if name == "stage.started":
            self._stage = str(data["stage"])
        point = f"{self._stage}:{name}"
        self.counts[point] += 1
        if point == self._at and self.counts[point] == self._nth:
            os.kill(os.getpid(), signal.SIGKILL)


def run_loop(config: Path, workspace: Path, points: Points) -> None:
    """What `pipeline run` does, with `points` listening."""
    emit = broadcast(points)
    settings, opened, house = open_house(config, workspace=workspace, emit=emit)
    with opened.write_lock():
        Loop(settings, opened, house, emit=emit).run()


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a forked child; 0, a positive exit code after an error, or the negative signal number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)
