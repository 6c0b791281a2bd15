"""Charts say what they are given: read back from the SVG, as a browser would."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from markupsafe import Markup

from pipeline.report.charts import Bar, Interval, Point, columns, curve, intervals, reliability

HOSTILE = "<script>alert(1)</script>&\"'"


def read(drawn: Markup) -> ET.Element:
    return ET.fromstring(str(drawn))


def of_class(root: ET.Element, name: str) -> list[ET.Element]:
    return [item for item in root.iter() if name in item.get("class", "").split()]


def texts(root: ET.Element) -> list[str]:
    return [item.text or "" for item in root.iter("text")]


def test_a_curve_marks_each_point_and_says_its_figures() -> None:
    points = [Point(0, 0.1, "start", solid=False), Point(10, 0.5, "round 1"), Point(20, 0.4, HOSTILE)]
    root = read(curve(points, "images", "mAP"))
    dots = of_class(root, "dot")
    assert [dot.findtext("title") for dot in dots] == ["start", "round 1", HOSTILE]
    assert [("hollow" in dot.get("class", "").split()) for dot in dots] == [True, False, False]
    xs, ys = ([float(dot.get(key, "")) for dot in dots] for key in ("cx", "cy"))
    assert xs == sorted(xs)
    assert ys[1] < ys[2] < ys[0]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.02)
    assert {"images", "mAP"} <= set(texts(root))
    assert not of_class(root, "band")


def test_intervals_are_a_band_and_whiskers_and_fit_the_axis() -> None:
    points = [Point(1, 0.5, "a", 0.4, 0.6), Point(2, 0.7, "b", 0.6, 0.95)]
    root = read(curve(points, "images", "mAP"))
    assert len(of_class(root, "band")) == 1
    whiskers = of_class(root, "whisker")
    assert len(whiskers) == 2
    assert all(float(line.get("y2", "")) >= 12 for line in whiskers)
    assert "1" in texts(root)


def test_columns_are_as_high_as_their_counts() -> None:
    root = read(
        columns([Bar("0", 4, "four"), Bar("1", 2, "two", strong=1), Bar("2", 0, "none")], "clicks", "masks")
    )
    heights = [float(bar.get("height", "")) for bar in of_class(root, "column")]
    assert heights == pytest.approx([heights[0], heights[0] / 2, heights[0] / 4, 0], abs=0.02)
    assert [group.findtext("title") for group in root.iter("g")] == ["four", "two", "none"]


def test_only_names_that_have_room_are_written() -> None:
    names = [f"{number}–{number + 25}" for number in range(100, 600, 25)]
    root = read(columns([Bar(name, 1, name) for name in names], "seconds", "images"))
    written = [text for text in texts(root) if text in names]
    assert names[0] in written
    assert len(written) < len(names) / 2


def test_reliability_draws_the_diagonal_and_larger_marks_for_more() -> None:
    root = read(reliability([(0.5, 0.4, 1), (0.9, 0.95, 100)], "told", "found"))
    small, large = (float(dot.get("r", "")) for dot in of_class(root, "dot"))
    assert small < large
    assert len(of_class(root, "diagonal")) == 1


def test_a_figure_its_interval_and_its_rival_stand_on_one_line() -> None:
    row = Interval(HOSTILE * 2, 0.5, "0.400 → 0.500 (0.250–0.750)", "said", 0.25, 0.75, rival=0.4)
    root = read(intervals([row, Interval("plain", 0.1, "0.100", "no interval")], "AP"))
    (whisker,) = [item for item in of_class(root, "whisker") if item.tag == "line"]
    rival, dot, other = of_class(root, "dot")
    ends = float(whisker.get("x1", "")), float(whisker.get("x2", ""))
    assert ends[0] < float(rival.get("cx", "")) < float(dot.get("cx", "")) < ends[1]
    assert dot.get("cy") == rival.get("cy") != other.get("cy")
    assert any(text.startswith("<script>") and text.endswith("…") for text in texts(root))
    assert {"plain", "0.100", "0.400 → 0.500 (0.250–0.750)"} <= set(texts(root)), (
        "to be read without pointing at it"
    )


def test_one_mask_is_no_masks() -> None:
    root = read(reliability([(0.5, 0.4, 1), (0.9, 0.95, 2)], "told", "found"))
    assert [dot.findtext("title") for dot in of_class(root, "dot")] == [
        "told 0.50, found 0.40: 1 mask",
        "told 0.90, found 0.95: 2 masks",
    ]
