"""One line of progress: never negative, never beyond the total, never wider than the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.bar import BAR_WIDTH, Bar, duration


def test_a_known_total_gives_a_bar_a_rate_and_the_time_left() -> None:
    bar = Bar("segment", 0.0, total=100, done=25)
    assert bar.text(10.0, width=80) == "  segment   ██████··················  25/100 images  2.5/s  30.0 s left"


def test_without_a_total_there_are_counts_only() -> None:
    assert Bar("ingest", 0.0, done=1234).text(10.0, width=80) == "  ingest    1,234 images  123.4/s"


def test_slow_work_is_told_by_the_piece() -> None:
    assert Bar("train", 0.0, total=15, done=3).counts(36.0) == "3/15 epochs  12.0 s each  2:24 min left"


def test_what_an_earlier_call_did_takes_no_part_in_the_rate() -> None:
    assert Bar("train", 0.0, total=10, done=6, before=5).counts(8.0) == "6/10 epochs  8.0 s each  32.0 s left"


def test_nothing_is_known_at_the_start() -> None:
    assert Bar("merge", 0.0).counts(0.0) == "…"
    assert Bar("submit", 0.0, total=20).counts(0.0) == "0/20 tasks"


def test_a_batch_replaces_what_was_known_of_it() -> None:
    bar = Bar("segment", 0.0, total=10, part=3)
    assert bar.count == 3
    bar.advance(4)
    assert (bar.count, bar.part) == (4, 0)


@given(
    total=st.integers(0, 50),
    done=st.integers(-5, 500),
    part=st.integers(-5, 500),
    now_s=st.floats(-10, 1e6),
    width=st.integers(-1, 120),
)
def test_never_more_than_all_never_less_than_nothing(
    total: int, done: int, part: int, now_s: float, width: int
) -> None:
    bar = Bar("propose", 0.0, total=total, done=done, part=part)
    line = bar.text(now_s, width=width)
    assert bar.count >= 0
    assert not total or bar.count <= total
    assert len(line) <= max(width, 0)
    whole = bar.text(now_s, width=1000)
    assert whole.count("█") + whole.count("·") == (BAR_WIDTH if total else 0)
    assert "-" not in whole


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1:00 min"),
        (185, "3:05 min"),
        (3599.6, "1:00:00 h"),
        (7385, "2:03:05 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
