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


_Rank = tuple[int, int, int]
"""The enclosed area with a minus, then the first vertex."""


class Outline(NamedTuple):
    """The rings around a bitmap: `outer` around its parts, `holes` around the gaps inside them.

    Both are sorted by enclosed area, largest first, then by position, so equal bitmaps give equal outlines.
    """

    outer: list[Ring]
    holes: list[Ring]


def trace(bitmap: npt.NDArray[np.bool_], *, connectivity: Literal[4, 8] = 8) -> Outline:
    """Every ring of a `bool (h, w)` bitmap, in whole pixels, with a vertex at each corner and nowhere else.

    Rings run with the object on their right, y down. With connectivity 8, pixels that touch by a corner belong
    to one part and gaps that touch by a corner are two; with 4 it is the other way round.
    """
    corners = _corners(bitmap, joined=connectivity == 8)
    # Along a row the corners are the left and right ends of horizontal edges in turn; an edge runs to the right
    # where the object is below it.
    left, right = corners.xy[::2], corners.xy[1::2]
    forward = corners.object_below[::2]
    start, end = np.where(forward[:, None], left, right), np.where(forward[:, None], right, left)
    ends_at = 2 * np.arange(len(forward)) + forward
    following = (corners.across_the_row[ends_at] // 2).tolist()
    # Green's theorem: positive where the ring runs clockwise on the screen, as rings around parts do.
    areas = (start[:, 1] * (start[:, 0] - end[:, 0])).tolist()
    vertices = np.stack([start, end], axis=1).astype(np.float64)
    outer: list[tuple[_Rank, Ring]] = []
    holes: list[tuple[_Rank, Ring]] = []
    for edges in _cycles(following):
        area = sum([areas[edge] for edge in edges])
        ring = vertices[edges].reshape(-1, 2)
        (outer if area > 0 else holes).append(((-abs(area), *start[edges[0]].tolist()), ring))
    return Outline(_sorted(outer), _sorted(holes))


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


class _Corners(NamedTuple):
    """Where the edge of an object turns, row by row; a point where two pixels touch by a corner is there twice."""

    xy: npt.NDArray[np.int64]
    """`int64 (n, 2)`, n even."""
    object_below: npt.NDArray[np.bool_]
    """`bool (n,)`: of the pixel below and to the right."""
    across_the_row: npt.NDArray[np.int64]
    """`int64 (n,)`: of each corner, the index of the other end of its vertical edge."""


def _corners(bitmap: npt.NDArray[np.bool_], *, joined: bool) -> _Corners:
    """`joined`: where two pixels touch by a corner, they are in one ring."""
    height, width = bitmap.shape
    framed = np.zeros((height + 2, width + 2), dtype=np.int8)
    framed[1:-1, 1:-1] = bitmap
    side = framed[:, 1:] - framed[:, :-1]
    above, below = side[:-1], side[1:]
    found = np.flatnonzero(above != below)
    upper, lower = above.ravel()[found], below.ravel()[found]
    touching = upper == -lower
    # The pixels that touch are above left and below right where `upper` is -1. The second of the two corners there,
    # the left end of an edge, belongs to the vertical edge above if that keeps these pixels together or the other two
    # apart; else the first one does.
    later = np.where((upper < 0) == joined, 0, 1) * touching
    twice = np.repeat(np.arange(len(found)), 1 + touching)
    place = found[twice]
    rows, columns = np.divmod(place, width + 1)
    second = np.zeros(len(place), dtype=np.bool_)
    second[1:] = twice[1:] == twice[:-1]
    tie = np.where(second, later[twice], (1 - later[twice]) * touching[twice])
    order = np.argsort((columns * (height + 1) + rows) * 2 + tie)
    across = np.empty(len(place), dtype=np.int64)
    across[order[::2]], across[order[1::2]] = order[1::2], order[::2]
    below_right = framed.ravel()[place + rows + width + 3] > 0
    return _Corners(np.stack([columns, rows], axis=1), below_right, across)


def _cycles(following: list[int]) -> list[list[int]]:
    """The rings as indices of their horizontal edges; each begins with the first that no ring before it has."""
    cycles: list[list[int]] = []
    seen = bytearray(len(following))
    for first in range(len(following)):
        if seen[first]:
            continue
        cycle: list[int] = []
        edge = first
        while not seen[edge]:
            seen[edge] = 1
            cycle.append(edge)
            edge = following[edge]
        cycles.append(cycle)
    return cycles


def _sorted(ranked: list[tuple[_Rank, Ring]]) -> list[Ring]:
    return [ring for _, ring in sorted(ranked, key=lambda item: item[0])]
