"""Events as something to watch: a bar with its rate in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TextIO

import click

__all__ = ["Progress"]

BAR_WIDTH = 24
LINE_EVERY_S = 10.0
"""Away from a terminal, how often a long stage says how far it is."""


class Progress:
    """A listener that writes to `stream`; `worked` tells whether any stage had something to do."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._terminal = stream.isatty()
        self._stage = ""
        self._done = self._total = 0
        self._started = self._spoke = clock()
        self._quarantined = 0
        self.worked = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wipe()

    def __call__(self, name: str, data: Mapping[str, object], /) -> None:
        room, _, what = name.partition(".")
        if name == "round.started":
            self.worked = True
            self._line(click.style(f"round {data['round']} of {data['of']}", bold=True))
        elif name == "stage.started":
            self.worked = True
            self._begin(str(data["stage"]), 0)
        elif name == "stage.finished":
            self._end(str(data["stage"]), data.get("facts"))
        elif name == "train.epoch":
            self._epoch(data)
        elif what == "started" and data.get("total") is not None:
            self._begin(room, _number(data["total"]))
        elif what == "batch":
            self._advance(_number(data.get("done", data.get("images", 0))))
        elif name == "quarantined":
            self._line(f"  {click.style('quarantined', fg='yellow')} {data['path']}: {data['reason']}")

    def _begin(self, stage: str, total: int) -> None:
        if stage == self._stage and not total:
            return
        self._stage, self._total, self._done = stage, total, 0
        self._started = self._spoke = self._clock()
        self._draw()

    def _advance(self, done: int) -> None:
        self._done += done
        if self._terminal:
            self._draw()
        elif self._clock() - self._spoke > LINE_EVERY_S:
            self._spoke = self._clock()
            self._line(f"  {self._stage:<9} {self._counts()}")

    def _epoch(self, data: Mapping[str, object]) -> None:
        self._stage, self._total, self._done = "train", _number(data["of"]), _number(data["epoch"]) - 1
        self._advance(1)

    def _end(self, stage: str, facts: object) -> None:
        seconds = self._clock() - self._started
        told = _told(stage, facts if isinstance(facts, Mapping) else {})
        self._wipe()
        self._line(f"  {stage:<9} {told:<58} {click.style(f'{seconds:6.1f} s', dim=True)}")
        self._stage = ""

    def _counts(self) -> str:
        rate = self._done / max(self._clock() - self._started, 1e-9)
        total = f"/{self._total}" if self._total else ""
        unit = "epochs" if self._stage == "train" else "images"
        return f"{self._done}{total} {unit}, {rate:.1f}/s"

    def _draw(self) -> None:
        if not self._terminal:
            return
        filled = round(BAR_WIDTH * self._done / self._total) if self._total else 0
        bar = "█" * min(filled, BAR_WIDTH) + "·" * (BAR_WIDTH - min(filled, BAR_WIDTH))
        self._stream.write(f"\r\x1b[2K  {self._stage:<9} {bar} {self._counts()}")
        self._stream.flush()

    def _wipe(self) -> None:
        if self._terminal:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()

    def _line(self, text: str) -> None:
        self._wipe()
        click.echo(text, file=self._stream)
        self._draw() if self._stage and self._terminal else None


def _number(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) else 0


def _told(stage: str, facts: Mapping[str, Any]) -> str:
    """What a finished stage has to say, in a few words."""
    match stage:
        case "ingest":
            bad = facts.get("quarantined", 0)
            return f"{facts.get('samples', 0)} images" + (f", {bad} quarantined" if bad else "")
        case "propose":
            return (
                f"{facts.get('pool', 0)} unlabelled images, by {facts.get('champion') or 'the starting weights'}"
            )
        case "select":
            return f"{facts.get('selected', 0)} of {facts.get('candidates', 0)} images to ask about"
        case "submit":
            return f"{facts.get('tasks', 0)} tasks for {facts.get('annotator', 'people')}"
        case "collect":
            return f"{facts.get('answers', 0)} answers"
        case "merge":
            return f"version {str(facts.get('version', ''))[:12]}, {facts.get('images', 0)} images"
        case "train":
            return f"model {facts.get('model', '')}"
        case "evaluate":
            return f"{'promoted' if facts.get('promoted') else 'kept'} against {facts.get('champion', '')}"
    return ""
