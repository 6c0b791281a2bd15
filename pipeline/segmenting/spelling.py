"""Prompts as people and programs spell them, made into ours at the doors.

points    `{"x": 3, "y": 4, "positive": true}` · `(3, 4)`, which is positive · `(3, 4, True)` · an array `(n, 2)` beside
          an array of `n` labels, 1 on the object and 0 off it
boxes     `[x1, y1, x2, y2]`, as a list or an array
on the command line     `3,4,+` · `3,4,-` · `3,4`; `x1,y1,x2,y2`

Everything is in pixels of the image, x to the right and y down. Whatever cannot be meant raises DataError.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import Box
from pipeline.errors import DataError

__all__ = ["Points", "box_from_text", "box_of", "point_from_text", "points_of"]

Points = tuple[tuple[tuple[float, float], ...], tuple[bool, ...]]
"""`points_xy` and `point_labels` of a Prompt."""

_SIGNS = {"+": True, "-": False}


def points_of(
    points: Sequence[Any] | npt.NDArray[Any], labels: Sequence[Any] | npt.NDArray[Any] | None = None
) -> Points:
    """Any of the spellings; with `labels` each point is (x, y). Raises DataError."""
    rows = list(points)
    if labels is None:
        spelt = [_point(row) for row in rows]
    else:
        if len(rows) != len(labels):
            raise DataError(f"{len(rows)} points with {len(labels)} labels: each point needs one")
        spelt = [(_xy(row), _label(label)) for row, label in zip(rows, labels, strict=True)]
    return tuple(xy for xy, _ in spelt), tuple(label for _, label in spelt)


def box_of(box: Sequence[Any] | npt.NDArray[Any] | Box) -> Box:
    """Raises DataError for anything but four finite numbers, x1 < x2 and y1 < y2."""
    values = [_number(value) for value in np.asarray(box, dtype=object).ravel().tolist()]
    if len(values) != 4:
        raise DataError(f"a box is x1,y1,x2,y2, not {len(values)} numbers")
    x1, y1, x2, y2 = values
    if x1 == x2 or y1 == y2:
        raise DataError(f"the box {x1:g},{y1:g},{x2:g},{y2:g} has no area: x1 < x2 and y1 < y2")
    if x1 > x2 or y1 > y2:
        corners = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
        meant = ",".join(f"{value:g}" for value in corners)
        raise DataError(
            f"the box {x1:g},{y1:g},{x2:g},{y2:g} has its corners in the wrong order: {meant} is meant"
        )
    return Box(x1, y1, x2, y2)


def point_from_text(text: str) -> tuple[tuple[float, float], bool]:
    """`x,y,+`, `x,y,-` or `x,y`. Raises DataError."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 3 and parts[2] not in _SIGNS:
        raise DataError(f"the point {text!r} ends in {parts[2]!r}: + is on the object, - is off it")
    if len(parts) not in (2, 3):
        raise DataError(f"the point {text!r} is not x,y,+ or x,y,-")
    return (_parsed(parts[0], text), _parsed(parts[1], text)), _SIGNS[parts[2]] if len(parts) == 3 else True


def box_from_text(text: str) -> Box:
    """`x1,y1,x2,y2`. Raises DataError."""
    return box_of([_parsed(part.strip(), text) for part in text.split(",")])


def _point(row: Any) -> tuple[tuple[float, float], bool]:
    if isinstance(row, Mapping):
        unknown = sorted(map(str, set(row) - {"x", "y", "positive"}))
        if unknown or not {"x", "y"} <= set(row):
            raise DataError(f"a point has x, y and positive, not {', '.join(sorted(map(str, row)))}")
        return (_number(row["x"]), _number(row["y"])), _label(row.get("positive", True))
    values = list(row)
    if len(values) == 3:
        return _xy(values[:2]), _label(values[2])
    return _xy(values), True


def _xy(row: Any) -> tuple[float, float]:
    values = list(row)
    if len(values) != 2:
        raise DataError(f"a point is (x, y) or (x, y, positive), not {len(values)} values")
    return _number(values[0]), _number(values[1])


def _label(value: Any) -> bool:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, float, np.integer, np.floating)) and value in (0, 1):
        return bool(value)
    raise DataError(f"a point's label is {value!r}: 1 (or true) is on the object, 0 (or false) is off it")


def _number(value: Any) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise DataError(f"{value!r} is no coordinate: a number of pixels is wanted")
    if not math.isfinite(value):
        raise DataError(f"{value!r} is no coordinate: it must be finite")
    return float(value)


def _parsed(part: str, text: str) -> float:
    try:
        return _number(float(part))
    except ValueError as exc:
        raise DataError(f"{part!r} in {text!r} is no number of pixels") from exc
