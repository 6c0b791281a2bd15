"""Figures in words."""

from __future__ import annotations

import pytest

from pipeline.report.models import Figure
from pipeline.report.words import change, duration, figure, many, percent, plain


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7390, "2 h 03 min"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_figures_show_their_interval_where_there_is_one() -> None:
    assert figure(None) == figure(Figure(None)) == "–"
    assert figure(0.5) == figure(Figure(0.5)) == "0.500"
    assert figure(Figure(0.5, 0.4, 0.6)) == "0.500 (0.400–0.600)"
    assert change(Figure(None)) == "–"
    assert change(Figure(0.01)) == "+0.010"
    assert change(Figure(-0.01, -0.02, 0.0)) == "-0.010"


def test_counts_and_shares() -> None:
    assert [many(1, "box", "boxes"), many(1200, "image"), many(0, "box", "boxes")] == [
        "1 box",
        "1,200 images",
        "0 boxes",
    ]
    assert [percent(None), percent(0.834)] == ["–", "83 %"]
    assert plain("top_k") == "top k"
