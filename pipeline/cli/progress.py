"""Events as something to watch: one moving line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TextIO

import click

from pipeline.cli.bar import NAME_WIDTH, Bar, duration
from pipeline.cli.common import short
from pipeline.cli.words import many, noted, told

__all__ = ["Progress"]

DRAW_EVERY_S = 0.1
LINE_EVERY_S = 10.0
"""Away from a terminal, how often a long stage says how far it is."""
QUARANTINE_LINES = 5
"""Of each stage; `pipeline list quarantine` shows them all."""


class Progress:
    """A listener that writes to `stream`; `worked` tells whether any stage had something to do."""

    def __init__(
        self,
        stream: TextIO,
        *,
        clock: Callable[[], float] = time.monotonic,
        columns: Callable[[], int] = lambda: shutil.get_terminal_size().columns,
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._columns = columns
        self._live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._ink, self._paper = (
            ("█", "·") if "utf" in (getattr(stream, "encoding", None) or "").lower() else ("#", ".")
        )
        self._bar: Bar | None = None
        self._stage_started = self._spoke = clock()
        self._tally: Counter[str] = Counter()
        self._said: set[str] = set()
        self.worked = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wipe()
        if self._live and self.worked and kind is None:
            self._line("")

    def __call__(self, name: str, data: Mapping[str, object], /) -> None:
        match name:
            case "round.started":
                self.worked = True
                self._once(click.style(f"round {data['round']} of {data['of']}", bold=True))
            case "stage.started":
                self._open(str(data["stage"]))
            case "stage.finished":
                facts = data.get("facts")
                self._close(str(data["stage"]), facts if isinstance(facts, Mapping) else {})
            case "train.epoch":
                self._epoch(_number(data["epoch"]), _number(data["of"]))
            case "collect.waiting":
                self._wait(_number(data["missing"]), str(data["annotator"]))
            case "quarantined":
                self._quarantine(str(data["path"]), str(data["reason"]))
            case "collect.unusable":
                self._line(f"  {click.style('not taken', fg='yellow')}  {data['what']}: {data['reason']}")
            case "ingest.alike" | "ingest.settings_changed" | "leaks.warned":
                self._line(f"  {click.style('note', fg='yellow')}  {noted(name, data)}")
            case _:
                self._count(name, data)

    # --- what a stage does --------------------------------------------------------------------------------

    def _open(self, stage: str) -> None:
        self.worked = True
        self._tally.clear()
        self._stage_started = self._spoke = self._clock()
        self._bar = Bar(stage, self._stage_started)
        self._draw(now=True)

    def _count(self, name: str, data: Mapping[str, object]) -> None:
        """Whatever says how much there is to do, or how much of it is done."""
        room, _, what = name.partition(".")
        if what == "started" and "total" in data:
            self._bar = Bar(room, self._clock(), _number(data["total"]))
            self._draw(now=True)
        elif self._bar is not None and what == "batch":
            self._tally[f"{room}.done"] += _number(data["done"])
            self._bar.advance(_number(data["done"]))
            self._draw()
        elif self._bar is not None and what in ("answered", "sample", "image"):
            self._tally.update({key: _number(data.get(key)) for key in ("proposals", "masks")})
            self._bar.part += _number(data.get("images", 1))
            self._draw()

    def _epoch(self, epoch: int, of: int) -> None:
        if self._bar is None or self._bar.total != of:
            # A resumed training begins where the interrupted one was.
            self._bar = Bar("train", self._stage_started, of, before=epoch - 1)
        self._bar.done = epoch
        self._draw()

    def _close(self, stage: str, facts: Mapping[str, Any]) -> None:
        self._bar = None
        self._line(f"  {stage:<{NAME_WIDTH}}  {self._took():>9}  {told(stage, facts, self._tally)}".rstrip())
        hidden = self._tally["quarantined"] - QUARANTINE_LINES
        if hidden > 0:
            self._line(
                f"  {'':<{NAME_WIDTH}}  {'':>9}  … and {hidden} more: `pipeline list quarantine` shows them"
            )

    def _wait(self, missing: int, annotator: str) -> None:
        """People are at work; a watching run comes by here at every look."""
        answers, self._bar = self._tally["collect.done"], None
        if answers:
            self._line(
                f"  {'collect':<{NAME_WIDTH}}  {self._took():>9}  {many(answers, 'answer')}, {missing} to come"
            )
        if self._live:
            self._rewrite(f"  {'collect':<{NAME_WIDTH}}  waiting for {many(missing, 'answer')} ({annotator})")

    def _quarantine(self, path: str, reason: str) -> None:
        self._tally["quarantined"] += 1
        if self._tally["quarantined"] <= QUARANTINE_LINES:
            self._line(f"  {click.style('set aside', fg='yellow')}  {short(path)}: {reason}")

    def _took(self) -> str:
        return duration(self._clock() - self._stage_started)

    # --- how it is shown ----------------------------------------------------------------------------------

    def _draw(self, *, now: bool = False) -> None:
        """Show the bar, not oftener than an eye can follow; away from a terminal, a line now and then."""
        if self._bar is None:
            return
        time_s = self._clock()
        if self._live and (now or time_s - self._spoke >= DRAW_EVERY_S):
            self._spoke = time_s
            width = self._columns() - 1
            self._rewrite(self._bar.text(time_s, width=width, ink=self._ink, paper=self._paper))
        elif not self._live and time_s - self._spoke >= LINE_EVERY_S:
            self._spoke = time_s
            click.echo(f"  {self._bar.name:<{NAME_WIDTH}}  {self._bar.counts(time_s)}", file=self._stream)

    def _rewrite(self, text: str) -> None:
        self._stream.write(f"\r\x1b[2K{text[: max(self._columns() - 1, 0)]}")
        self._stream.flush()

    def _wipe(self) -> None:
        if self._live:
            self._rewrite("")

    def _line(self, text: str) -> None:
        """A line that stays; the bar moves on below it."""
        self._wipe()
        click.echo(text, file=self._stream)
        if self._live:
            self._draw(now=True)

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._line(text)


def _number(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) else 0
