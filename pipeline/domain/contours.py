"""Outlines of masks along pixel edges, and polygons cut to a frame.

An outline runs between pixels, not through them, so a ring encloses exactly the pixels it was made from:
filling it again gives them back, and no half pixel has to be added or taken away. It is read off the run lengths; no
pixel is looked at, and the work is that of the object's border, whatever the size of the image.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.domain.run_lengths import Runs

__all__ = ["Outline", "Ring", "clip_ring", "trace"]

Ring = npt.NDArray[np.float64]
"""`float64 (n, 2)`: x, y vertices; the last joins the first."""


_Rank = tuple[int, int, int]
"""The enclosed area with a minus, then the first vertex."""

_Whole = npt.NDArray[np.int64]


class Outline(NamedTuple):
    """The rings around a mask: `outer` around its parts, `holes` around the gaps inside them.

    Both are sorted by enclosed area, largest first, then by position, so equal masks give equal outlines.
    """

    outer: list[Ring]
    holes: list[Ring]


def trace(runs: Runs, height: int, *, connectivity: Literal[4, 8] = 8) -> Outline:
    """Every ring of canonical `runs` down columns of `height` pixels, with a vertex at each corner and nowhere else.

    Rings run with the object on their right, y down. With connectivity 8, pixels that touch by a corner belong
    to one part and gaps that touch by a corner are two; with 4 it is the other way round.
    """
    if len(runs) < 2:
        return Outline([], [])
    edges = _horizontal(runs, height)
    following = _following(edges, height, joined=connectivity == 8)
    # An edge runs to the right where the object is below it.
    start, end = np.where(edges.forward, edges.left, edges.right), np.where(edges.forward, edges.right, edges.left)
    vertices = np.empty((len(start), 2, 2))
    vertices[:, 0, 0], vertices[:, 1, 0], vertices[:, :, 1] = start, end, edges.y[:, None]
    # Green's theorem: positive where the ring runs clockwise on the screen, as rings around parts do.
    areas = edges.y * (start - end)
    outer: list[tuple[_Rank, Ring]] = []
    holes: list[tuple[_Rank, Ring]] = []
    for cycle in map(np.array, _cycles(following.tolist())):
        area = int(areas[cycle].sum())
        ring = vertices[cycle].reshape(-1, 2)
        (outer if area > 0 else holes).append(((-abs(area), int(ring[0, 0]), int(ring[0, 1])), ring))
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


class _Edges(NamedTuple):
    """The horizontal edges of an object, each as long as it goes; row by row, and in a row from the left."""

    left: _Whole
    right: _Whole
    y: _Whole
    forward: npt.NDArray[np.bool_]
    """The object is below it, and not above."""


def _horizontal(runs: Runs, height: int) -> _Edges:
    columns, tops, bottoms = _pieces(runs, height)
    ends = np.empty(2 * len(columns), dtype=np.int64)
    ends[::2], ends[1::2] = tops, bottoms
    order = ends.argsort(kind="stable")  # of equal rows the left ones first, as the pieces come
    y, x, forward = ends[order], columns[order >> 1], order & 1 == 0
    # The edges of two pixels side by side are one, where the object is on the same side of both.
    apart = np.ones(len(y) + 1, dtype=np.bool_)
    apart[1:-1] = (y[1:] != y[:-1]) | (x[1:] != x[:-1] + 1) | (forward[1:] != forward[:-1])
    bounds = apart.nonzero()[0]
    first, last = bounds[:-1], bounds[1:] - 1
    return _Edges(x[first], x[last] + 1, y[first], forward[first])


def _pieces(runs: Runs, height: int) -> tuple[_Whole, _Whole, _Whole]:
    """The full runs cut at the columns' ends: column, first row and the row after the last, down the columns."""
    ends = runs.cumsum()
    first, tops = np.divmod(ends[: len(runs) - 1 : 2], height)
    last, bottoms = np.divmod(ends[1::2] - 1, height)
    bottoms += 1
    more = last - first
    if not more.any():
        return first, tops, bottoms
    begin = (more + 1).cumsum() - more - 1
    columns = np.arange(begin[-1] + more[-1] + 1) + (first - begin).repeat(more + 1)
    from_row, to_row = np.zeros(len(columns), dtype=np.int64), np.full(len(columns), height)
    from_row[begin], to_row[begin + more] = tops, bottoms
    return columns, from_row, to_row


def _following(edges: _Edges, height: int, *, joined: bool) -> _Whole:
    """Of each edge, the one at which its ring goes on. `joined`: pixels that touch by a corner are in one ring."""
    count = len(edges.y)
    # Every end of an edge is the end of a vertical one. Down a column of corners, these join the first and the second,
    # the third and the fourth, and so on; an odd key comes after another corner of the same place.
    keys = np.empty((count, 2), dtype=np.int64)
    keys[:, 0], keys[:, 1] = edges.left, edges.right
    keys = keys * (2 * height + 2) + 2 * edges.y[:, None]
    touching = ((edges.left[1:] == edges.right[:-1]) & (edges.y[1:] == edges.y[:-1])).nonzero()[0]
    # Here an edge ends, another begins and two pixels touch: above left and below right where the object is above the
    # first. Its end belongs to the vertical edge above unless that keeps them together, or the other two apart.
    if len(touching):
        above = edges.forward[touching] == joined
        keys[touching, 1] += ~above
        keys[touching + 1, 0] += above
    order = keys.ravel().argsort()
    across = np.empty(2 * count, dtype=np.int64)
    across[order[::2]], across[order[1::2]] = order[1::2], order[::2]
    following: _Whole = across[np.arange(0, 2 * count, 2) + edges.forward] >> 1
    return following


def _cycles(following: list[int]) -> list[list[int]]:
    """The rings as indices of their edges; each begins with the first that no ring before it has. Uses up the list."""
    cycles: list[list[int]] = []
    for first, _ in enumerate(following):
        cycle: list[int] = []
        edge = first
        while (after := following[edge]) >= 0:
            cycle.append(edge)
            following[edge] = -1
            edge = after
        if cycle:
            cycles.append(cycle)
    return cycles


def _sorted(ranked: list[tuple[_Rank, Ring]]) -> list[Ring]:
    return [ring for _, ring in sorted(ranked, key=lambda item: item[0])]
