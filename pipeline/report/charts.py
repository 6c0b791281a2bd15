"""The report's charts: figures in, inline SVG out. Whoever points at a mark is told its figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.report.svg import Axis, Frame, number, tag, ticks
from pipeline.report.words import many

__all__ = ["Bar", "Interval", "Point", "columns", "curve", "intervals", "reliability"]


_LETTER = 9.0
"""The width of a letter in rows of figures, on average and on a small screen, where letters are largest."""


@dataclass(frozen=True)
class Point:
    """One mark of a curve. `low` and `high` are the ends of its interval, None where there is none; a mark that is
    not `solid` is drawn hollow.
    """

    x: float
    y: float
    said: str
    low: float | None = None
    high: float | None = None
    solid: bool = True


@dataclass(frozen=True)
class Bar:
    """One column: the share of it that is `strong` (at most `value`) stands out."""

    name: str
    value: float
    said: str
    strong: float | None = None


@dataclass(frozen=True)
class Interval:
    """One figure in [0, 1] with its interval, None where there is none; `rival` is a figure to compare it with. What is
    `written` can be read without pointing at it.
    """

    name: str
    value: float
    written: str
    said: str
    low: float | None = None
    high: float | None = None
    rival: float | None = None


def curve(points: Sequence[Point], x_label: str, y_label: str, *, y_about: int = 5) -> Markup:
    """Points joined in their order, from zero on both axes, with the band of their intervals behind them."""
    tallest = max(point.high if point.high is not None else point.y for point in points)
    x = Axis(x_label, ticks(max(point.x for point in points), about=5))
    frame = Frame(x, Axis(y_label, ticks(tallest, about=y_about)))
    parts = []
    banded = [point for point in points if point.low is not None and point.high is not None]
    if len(banded) > 1:
        edge = [(point.x, point.high or 0.0) for point in banded]
        edge += [(point.x, point.low or 0.0) for point in reversed(banded)]
        parts.append(tag("polygon", class_="band", points=_joined(frame, edge)))
    parts.append(tag("polyline", class_="line", points=_joined(frame, [(one.x, one.y) for one in points])))
    for point in banded:
        at_x = frame.at_x(point.x)
        low, high = frame.at_y(point.low or 0.0), frame.at_y(point.high or 0.0)
        parts.append(tag("line", class_="whisker", x1=at_x, x2=at_x, y1=low, y2=high))
    for point in points:
        kind = "dot" if point.solid else "dot hollow"
        said = tag("title", point.said)
        parts.append(tag("circle", said, class_=kind, cx=frame.at_x(point.x), cy=frame.at_y(point.y), r=5))
    return frame.drawn(f"{y_label} against {x_label}", *parts)


def columns(bars: Sequence[Bar], x_label: str, y_label: str, *, height: float = 270.0) -> Markup:
    """A histogram: one column for each bar, named below. Of names that have no room only some are written; where the
    caller has left some empty, the others are.
    """
    frame = Frame(
        Axis(x_label, (0.0, float(len(bars)))),
        Axis(y_label, ticks(max(bar.value for bar in bars), about=max(2, round(height / 55)), whole=True)),
        height=height,
    )
    floor, each = frame.at_y(0.0), (frame.width - frame.left - frame.right) / len(bars)
    longest = max(len(bar.name) for bar in bars)
    stride = 1 if not all(bar.name for bar in bars) else max(1, math.ceil((longest * 8.5 + 8) / each))
    parts = []
    for index, bar in enumerate(bars):
        left, top = frame.at_x(float(index)) + each * 0.1, frame.at_y(bar.value)
        pale = "column" if bar.strong is None else "column pale"
        inside = [tag("rect", class_=pale, x=left, y=top, width=each * 0.8, height=floor - top, rx=2)]
        if bar.strong:
            high = frame.at_y(bar.strong)
            inside.append(
                tag("rect", class_="column", x=left, y=high, width=each * 0.8, height=floor - high, rx=2)
            )
        # The whole height answers the pointer: a short column is hard to hit.
        room = tag("rect", class_="room", x=left, y=frame.top, width=each * 0.8, height=floor - frame.top)
        parts.append(tag("g", tag("title", bar.said), *inside, room))
        if index % stride == 0:
            middle = left + each * 0.4
            parts.append(tag("text", bar.name, class_="tick middle", x=middle, y=floor + 18))
    return frame.drawn(f"{y_label} by {x_label}", *parts, mark_x=False)


def reliability(points: Sequence[tuple[float, float, int]], x_label: str, y_label: str) -> Markup:
    """Points (told, found, how many) in [0, 1] against the diagonal, where what is told is what is found."""
    marks = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    frame = Frame(Axis(x_label, marks), Axis(y_label, marks), height=320.0)
    ends = {"x1": frame.at_x(0.0), "y1": frame.at_y(0.0), "x2": frame.at_x(1.0), "y2": frame.at_y(1.0)}
    parts = [tag("line", class_="diagonal", **ends)]
    most = max(count for _, _, count in points)
    parts.append(tag("polyline", class_="line", points=_joined(frame, [(x, y) for x, y, _ in points])))
    for told, found, count in points:
        said = tag("title", f"told {told:.2f}, found {found:.2f}: {many(count, 'mask')}")
        radius = 4 + 8 * (count / most) ** 0.5
        parts.append(tag("circle", said, class_="dot soft", cx=frame.at_x(told), cy=frame.at_y(found), r=radius))
    return frame.drawn(f"{y_label} against {x_label}", *parts)


def intervals(rows: Sequence[Interval], x_label: str) -> Markup:
    """For each figure its name and what is written of it, and below a line: a dot, its interval as a whisker, and its
    rival as a ring.
    """
    each, top = 46.0, 4.0
    height = top + each * len(rows) + 46
    marks = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    frame = Frame(Axis(x_label, marks), Axis("", (0.0, 1.0)), height=height, left=12.0, top=top, right=12.0)
    bottom = height - frame.bottom
    parts = []
    for value in marks:
        x = frame.at_x(value)
        parts.append(tag("line", class_="axis", x1=x, x2=x, y1=bottom, y2=bottom + 4))
        parts.append(tag("text", number(value), class_="tick middle", x=x, y=bottom + 18))
    for index, row in enumerate(rows):
        parts.append(_interval(frame, row, top + each * index))
    parts.append(tag("text", x_label, class_="label middle", x=frame.width / 2, y=height - 6))
    view = f"0 0 {frame.width:g} {height:g}"
    return tag("svg", *parts, class_="chart rows", viewBox=view, role="img", aria_label=x_label)


def _interval(frame: Frame, row: Interval, top: float) -> Markup:
    """One row, 46 units high, from `top` on."""
    words, y = top + 16, top + 31
    left, right = frame.at_x(0.0), frame.at_x(1.0)
    room = max(4, int((right - left - 24) / _LETTER - len(row.written)))
    name = row.name if len(row.name) <= room else f"{row.name[: room - 1]}…"
    parts = [
        tag("title", row.said),
        tag("text", name, class_="tick name", x=left, y=words),
        tag("text", row.written, class_="tick end", x=right, y=words),
        tag("line", class_="grid", x1=left, x2=right, y1=y, y2=y),
    ]
    if row.low is not None and row.high is not None:
        ends = {"x1": frame.at_x(row.low), "x2": frame.at_x(row.high)}
        parts.append(tag("line", class_="whisker wide", y1=y, y2=y, **ends))
    if row.rival is not None:
        parts.append(tag("circle", class_="dot hollow", cx=frame.at_x(row.rival), cy=y, r=5))
    parts.append(tag("circle", class_="dot", cx=frame.at_x(row.value), cy=y, r=5))
    parts.append(tag("rect", class_="room", x=left, y=top, width=right - left, height=44.0))
    return tag("g", *parts)


def _joined(frame: Frame, points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{frame.at_x(x):.2f},{frame.at_y(y):.2f}" for x, y in points)
