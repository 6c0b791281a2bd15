"""Progress in a terminal and away from one, with a clock that the test turns."""

from __future__ import annotations

import io
import re

import pytest

from pipeline.cli.progress import QUARANTINE_LINES, Progress

WIPED = "\r\x1b[2K"


class Terminal(io.StringIO):
    """A stream that says it is a terminal; `screen` is what a person sees on it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> str:
        shown = re.sub(r"\x1b\[\d+m", "", self.getvalue())
        return "\n".join(line.rpartition(WIPED)[2] for line in shown.split("\n"))


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def test_a_stage_in_a_terminal(clock: Clock) -> None:
    terminal = Terminal()
    with Progress(terminal, clock=clock, columns=lambda: 100) as progress:
        progress("round.started", {"round": 1, "of": 3})
        progress("stage.started", {"stage": "segment", "round": 1})
        progress("segment.started", {"total": 4, "known": 0})
        clock.now_s = 1.0
        progress("segment.answered", {"images": 1, "proposals": 3, "masks": 2})
        assert (
            terminal.screen == "round 1 of 3\n  segment   ██████··················  1/4 images  1.0/s  3.0 s left"
        )
        clock.now_s = 2.0
        progress("segment.batch", {"done": 4})
        assert terminal.screen.endswith("████████████████████████  4/4 images  2.0/s")
        progress("stage.finished", {"stage": "segment", "round": 1, "facts": {"boxes": None}})
    assert terminal.screen == "round 1 of 3\n  segment       2.0 s  2 masks for 3 boxes\n\n"


def test_the_bar_is_redrawn_no_oftener_than_an_eye_can_follow(clock: Clock) -> None:
    terminal = Terminal()
    progress = Progress(terminal, clock=clock, columns=lambda: 100)
    progress("stage.started", {"stage": "ingest"})
    for number in range(10_000):
        clock.now_s = number / 1000
        progress("ingest.sample", {"sample": "a", "path": "a.png"})
    assert 90 <= terminal.getvalue().count(WIPED) <= 102


def test_a_bar_is_as_narrow_as_its_terminal(clock: Clock) -> None:
    terminal = Terminal()
    progress = Progress(terminal, clock=clock, columns=lambda: 20)
    progress("propose.started", {"total": 10})
    assert len(terminal.screen) == 19


def test_a_terminal_without_unicode_gets_plain_signs(clock: Clock) -> None:
    terminal = Terminal()
    terminal.encoding = "ascii"
    progress = Progress(terminal, clock=clock, columns=lambda: 100)
    progress("propose.started", {"total": 2})
    progress("propose.batch", {"done": 1})
    assert terminal.screen.isascii()


def test_a_dumb_terminal_gets_plain_lines(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    with Progress(terminal, clock=clock) as progress:
        progress("stage.started", {"stage": "score"})
        progress("stage.finished", {"stage": "score", "facts": {}})
    assert terminal.getvalue().count("\n") == 1
    assert "\r" not in terminal.getvalue()


def test_away_from_a_terminal_a_long_stage_speaks_every_ten_seconds(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(stream, clock=clock)
    progress("stage.started", {"stage": "propose"})
    progress("propose.started", {"total": 60})
    for _ in range(30):
        clock.now_s += 1.0
        progress("propose.answered", {"images": 2, "proposals": 5})
        progress("propose.batch", {"done": 2})
    progress("stage.finished", {"stage": "propose", "facts": {"champion": "yolo-1", "pool": 60}})
    assert stream.getvalue().splitlines() == [
        "  propose   20/60 images  2.0/s  20.0 s left",
        "  propose   40/60 images  2.0/s  10.0 s left",
        "  propose   60/60 images  2.0/s",
        "  propose      30.0 s  150 objects in 60 images, by yolo-1",
    ]


def test_a_resumed_training_counts_from_where_it_was(clock: Clock) -> None:
    terminal = Terminal()
    progress = Progress(terminal, clock=clock, columns=lambda: 100)
    progress("stage.started", {"stage": "train"})
    clock.now_s = 4.0
    progress("train.epoch", {"epoch": 8, "of": 10, "losses": {}})
    assert terminal.screen.endswith("8/10 epochs  4.0 s each  8.0 s left")


def test_quarantined_files_are_told_the_first_few_and_how_many(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(stream, clock=clock)
    progress("stage.started", {"stage": "ingest"})
    for number in range(8):
        progress("quarantined", {"path": f"/pool/{number}.jpg", "reason": "empty file"})
    progress("stage.finished", {"stage": "ingest", "facts": {"samples": 3, "quarantined": 8}})
    lines = stream.getvalue().splitlines()
    assert lines[0] == "  set aside  /pool/0.jpg: empty file"
    assert len(lines) == QUARANTINE_LINES + 2
    assert lines[-2].endswith("3 images, 8 set aside")
    assert "3 more" in lines[-1]


def test_a_watching_run_says_once_where_it_is_and_then_waits_in_place(clock: Clock) -> None:
    terminal = Terminal()
    with Progress(terminal, clock=clock, columns=lambda: 100) as progress:
        for _look in range(3):
            progress("round.started", {"round": 1, "of": 2})
            progress("stage.started", {"stage": "collect"})
            progress("collect.started", {"total": 5})
            progress("collect.waiting", {"missing": 5, "annotator": "folder"})
        assert terminal.screen == "round 1 of 2\n  collect   waiting for 5 answers (folder)"
        progress("collect.started", {"total": 5})
        progress("collect.batch", {"done": 1})
        progress("collect.waiting", {"missing": 4, "annotator": "folder"})
        assert "1 answer, 4 to come\n" in terminal.screen
    assert terminal.screen.endswith("\n")


def test_worked_tells_whether_there_was_anything_to_do(clock: Clock) -> None:
    progress = Progress(io.StringIO(), clock=clock)
    progress("file.created", {"path": "x"})
    assert not progress.worked
    progress("stage.started", {"stage": "merge"})
    assert progress.worked


def test_events_that_say_nothing_about_progress_are_passed_over(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(stream, clock=clock)
    for name in ("segment.batch", "ledger.begin", "file.renamed", "score.image", "ingest.begin", "odd"):
        progress(name, {"done": 1})
    assert stream.getvalue() == ""
