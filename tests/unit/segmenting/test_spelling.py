"""Every spelling of a prompt, and everything that cannot be meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.domain.geometry import Box
from pipeline.errors import DataError
from pipeline.segmenting.spelling import box_from_text, box_of, point_from_text, points_of


@pytest.mark.parametrize(
    ("points", "labels"),
    [
        ([{"x": 3, "y": 4.5, "positive": True}, {"x": 1, "y": 2, "positive": False}], None),
        ([(3, 4.5), (1, 2, False)], None),
        ([[3, 4.5, 1], [1, 2, 0]], None),
        ([(3, 4.5), (1, 2)], [1, 0]),
        (np.array([[3, 4.5], [1, 2]], dtype=np.float32), np.array([1, 0])),
        (np.array([[3, 4.5], [1, 2]]), np.array([True, False])),
        ([{"x": 3, "y": 4.5}, (1, 2, 0.0)], None),
    ],
)
def test_every_spelling_means_the_same(points: Any, labels: Any) -> None:
    assert points_of(points, labels) == (((3.0, 4.5), (1.0, 2.0)), (True, False))


@pytest.mark.parametrize(
    ("points", "labels", "complaint"),
    [
        ([(1, 2)], [2], "label is 2"),
        ([(1, 2, "yes")], None, "label is 'yes'"),
        ([(1, 2)], [-1], "label is -1"),
        ([(1, 2), (3, 4)], [1], "2 points with 1 labels"),
        ([(1,)], None, "not 1 values"),
        ([(1, 2, 3, 4)], None, "not 4 values"),
        ([(1, float("nan"))], None, "finite"),
        ([(1, "2")], None, "no coordinate"),
        ([{"x": 1}], None, "x, y and positive"),
        ([{"x": 1, "y": 2, "label": 1}], None, "x, y and positive"),
        ([(True, 2)], None, "no coordinate"),
    ],
)
def test_what_is_no_point_is_refused_with_what_to_do(points: Any, labels: Any, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        points_of(points, labels)


@pytest.mark.parametrize(
    "box", [[1, 2, 3, 4], np.array([1.0, 2, 3, 4]), Box(1, 2, 3, 4), np.array([[1, 2, 3, 4]])]
)
def test_a_box_is_four_numbers(box: Any) -> None:
    assert box_of(box) == Box(1, 2, 3, 4)


@pytest.mark.parametrize(
    ("box", "complaint"),
    [
        ([1, 2, 3], "not 3 numbers"),
        ([1, 2, 1, 4], "no area"),
        ([3, 2, 1, 4], "1,2,3,4 is meant"),
        ([1, 2, 3, float("inf")], "finite"),
    ],
)
def test_what_is_no_box_is_refused_with_what_to_do(box: Any, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        box_of(box)


def test_the_command_line_s_spelling() -> None:
    assert point_from_text("3,4.5,+") == ((3.0, 4.5), True)
    assert point_from_text(" 3 , 4 , - ") == ((3.0, 4.0), False)
    assert point_from_text("3,4") == ((3.0, 4.0), True)
    assert box_from_text("1,2,3,4") == Box(1, 2, 3, 4)
    for text in ("3", "3,4,5", "3,x,+", "", "1,2,+,+"):
        with pytest.raises(DataError):
            point_from_text(text)
    for text in ("1,2,3", "a,b,c,d", "1,2,nan,4"):
        with pytest.raises(DataError):
            box_from_text(text)
