"""SVG's building blocks: escaping, round numbers, axes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from pipeline.report.svg import Axis, Frame, number, tag, ticks


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (1, "1"),
        (12.5, "12.5"),
        (1859, "1,859"),
        (0.1 + 0.2, "0.3"),
        (1e-7, "0"),
        (-2, "-2"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_what_is_told_is_escaped_once_and_what_is_drawn_is_not() -> None:
    inner = tag("title", "<b>&\"'")
    outer = tag("g", inner, class_='a"b<c>', stroke_width=1.0, fill=None)
    assert str(inner) == "<title>&lt;b&gt;&amp;&#34;&#39;</title>"
    assert str(outer) == f'<g class="a&#34;b&lt;c&gt;" stroke-width="1">{inner}</g>'
    assert isinstance(outer, Markup)


@given(
    low=st.floats(0, 1e5),
    span=st.floats(1e-4, 1e6),
    about=st.integers(2, 8),
)
def test_marks_are_evenly_spaced_and_hold_every_value(low: float, span: float, about: int) -> None:
    marks = ticks(low + span, low, about=about)
    assert marks[0] <= low + 1e-6 * span
    assert marks[-1] >= (low + span) * (1 - 1e-9) - 1e-6 * span
    assert 2 <= len(marks) <= about + 3
    steps = [after - before for before, after in pairwise(marks)]
    assert max(steps) - min(steps) <= 1e-6 * max(steps) + 1e-9 * abs(marks[-1])


def test_counts_have_whole_marks() -> None:
    assert ticks(1, whole=True) == [0, 1]
    assert ticks(3, about=5, whole=True) == [0, 1, 2, 3]


def test_nothing_to_span_still_makes_an_axis() -> None:
    assert ticks(0.0) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]


def test_values_grow_to_the_right_and_upwards() -> None:
    frame = Frame(Axis("x", [0, 10]), Axis("y", [0, 2]))
    assert frame.at_x(0) == frame.left
    assert frame.at_x(10) == frame.width - frame.right
    assert frame.at_y(0) == frame.height - frame.bottom
    assert frame.at_y(2) == frame.top
    assert frame.at_y(1) == (frame.at_y(0) + frame.at_y(2)) / 2
