"""Outlines of bitmaps along pixel edges, and polygons cut to a frame.

An outline runs between pixels, not through them, so a ring encloses exactly the pixels it was made from:
filling it again gives them back, and no half pixel has to be added or taken away.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Outline", "Ring", "clip_ring", "trace"]

Ring = npt.NDArray[np.float64]
"""`float64 (n, 2)`: x, y vertices; the last joins the first."""


class Outline(NamedTuple):
    """The rings around a bitmap: `outer` around its parts, `holes` around the gaps inside them.

    Both are sorted by enclosed area, largest first, then by position, so equal bitmaps give equal outlines.
    """

    outer: list[Ring]
    holes: list[Ring]


class _Edges(NamedTuple):
    """Straight edges with the object on their right: start and end vertices `int64 (n, 2)`, and direction (n,)."""

    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    direction: npt.NDArray[np.int8]


def trace(bitmap: npt.NDArray[np.bool_], *, connectivity: Literal[4, 8] = 8) -> Outline:
    """Every ring of a `bool (h, w)` bitmap, in whole pixels, with a vertex at each corner and nowhere else.

    Rings run with the object on their right, y down. With connectivity 8, pixels that touch by a corner belong
    to one part and gaps that touch by a corner are two; with 4 it is the other way round.
    """
    framed = np.pad(bitmap.astype(np.int8), 1)
    across = _edges(np.diff(framed, axis=0)[:, 1:-1])
    down = _edges(np.diff(framed, axis=1)[1:-1].T)
    # With the object on the right of its edges, left edges run up: against the order in which they were found.
    down = _Edges(down.end[:, ::-1], down.start[:, ::-1], -down.direction)
    left = 1 if connectivity == 8 else -1
    after_across = _joined(across, down, turn=-left)
    after_down = _joined(down, across, turn=left)
    following = after_down[after_across].tolist()
    outer: list[Ring] = []
    holes: list[Ring] = []
    for ring in _rings(across, following):
        (outer if _signed_area(ring) > 0 else holes).append(ring)
    return Outline(sorted(outer, key=_rank), sorted(holes, key=_rank))


def clip_ring(ring: Ring, size_hw: tuple[int, int]) -> Ring:
    """The part of a ring inside the frame; (0, 2) if there is none.

    Sutherland and Hodgman, Reentrant Polygon Clipping, CACM 1974: parts that the frame separates stay joined
    by edges along the border, which enclose nothing.
    """
    height, width = size_hw
    for axis, limit, sign in ((0, 0.0, 1), (0, float(width), -1), (1, 0.0, 1), (1, float(height), -1)):
        if len(ring):
            ring = _clip_side(ring, axis, limit, sign)
    return ring


def _clip_side(ring: Ring, axis: int, limit: float, sign: int) -> Ring:
    """What lies on the inner side of one border line; `sign` is 1 where inside means above `limit`."""
    depth = sign * (ring[:, axis] - limit)
    if (depth >= 0).all():
        return ring
    kept: list[npt.NDArray[np.float64]] = []
    for index in range(len(ring)):
        previous, here = depth[index - 1], depth[index]
        if (previous >= 0) != (here >= 0):
            crossing = ring[index - 1] + (ring[index] - ring[index - 1]) * (previous / (previous - here))
            crossing[axis] = limit
            kept.append(crossing)
        if here >= 0:
            kept.append(ring[index])
    return np.array(kept).reshape(-1, 2)


def _edges(change: npt.NDArray[np.int8]) -> _Edges:
    """Runs of equal, non-zero change along the rows; `change` is +1 where the object begins, -1 where it ends."""
    before = np.pad(change, ((0, 0), (1, 1)))
    breaks = before[:, 1:] != before[:, :-1]
    rows, columns = _nonzero(breaks & (before[:, 1:] != 0))
    end_rows, end_columns = _nonzero(breaks & (before[:, :-1] != 0))
    start, end = np.stack([columns, rows], axis=1), np.stack([end_columns, end_rows], axis=1)
    direction = change[rows, columns]
    forward = (direction > 0)[:, None]
    return _Edges(np.where(forward, start, end), np.where(forward, end, start), direction)


def _nonzero(table: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """`np.nonzero` of a table, row by row; several times faster where few entries are set."""
    rows, columns = np.divmod(np.flatnonzero(table), table.shape[1])
    return rows, columns


def _joined(arriving: _Edges, leaving: _Edges, turn: int) -> npt.NDArray[np.int64]:
    """For each arriving edge, the edge that leaves its end.

    Where two pixels touch by a corner, two edges arrive and two leave; turning left there keeps the pixels in
    one ring, turning right parts them. Turning left, right becomes up and left becomes down (`turn` -1), down
    becomes right and up becomes left (`turn` 1); turning right, the signs are the opposite.
    """
    ends = np.lexsort((arriving.direction, arriving.end[:, 0], arriving.end[:, 1]))
    starts = np.lexsort((turn * leaving.direction, leaving.start[:, 0], leaving.start[:, 1]))
    joined = np.empty(len(ends), dtype=np.int64)
    joined[ends] = starts
    return joined


def _rings(across: _Edges, following: list[int]) -> list[Ring]:
    """Cycles of edges; an edge across gives the ring its two vertices, edges down only join them."""
    rings: list[Ring] = []
    seen = bytearray(len(following))
    for first in range(len(following)):
        cycle: list[int] = []
        edge = first
        while not seen[edge]:
            seen[edge] = 1
            cycle.append(edge)
            edge = following[edge]
        if cycle:
            corners = np.stack([across.start[cycle], across.end[cycle]], axis=1)
            rings.append(corners.reshape(-1, 2).astype(np.float64))
    return rings


def _signed_area(ring: Ring) -> float:
    """Positive where the ring runs clockwise on the screen (y down), as rings around parts do."""
    x, y = ring[:, 0], ring[:, 1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _rank(ring: Ring) -> tuple[float, float, float]:
    return (-abs(_signed_area(ring)), *ring[0])
