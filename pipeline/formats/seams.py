"""A mask with holes and several parts as ONE ring, which is all that a YOLO row can hold.

Rings are joined by seams: the ring goes out along a path and comes back on the same path, so the seam encloses nothing
and, filled by the even-odd rule, the parts and holes are exactly what they were. A reader that also draws a polygon's
border sees a seam between two parts as a line of pixels. Nothing within the row and the object's box hides it; so the
seams are those that show the fewest pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.domain.contours import Ring
from pipeline.domain.mask import Mask

__all__ = ["INSET_PX", "one_ring"]

INSET_PX = 0.35
"""How far inside its pixels' edges a ring runs.

Some readers fill a polygon whose vertices are points between pixels (COCO), others cut the coordinates to
whole pixels and fill those with their border (OpenCV, and so Ultralytics). A ring on the edges makes objects
one pixel too wide for the latter, one through the centres is ambiguous for the former. In between, both see
exactly the mask; more than 0.15 px are left on either side for rounding.
"""

_OFF_CENTRE = 0.03
_BLOCK = 1024
_FAR = np.iinfo(np.int64).max
_STEP = 1 << 20
"""More than an image is wide."""

_Pixels = npt.NDArray[np.int64]
"""`int64 (..., 2)`: column, row."""
_Point = npt.NDArray[np.float64]


def one_ring(mask: Mask) -> Ring:
    """`float64 (n, 2)`: x, y in pixels, `INSET_PX` inside the pixel edges; (0, 2) for an empty mask.

    `Mask.from_polygons([one_ring(mask)], mask.size_hw)` is the mask. Equal masks give equal rings.
    """
    # Rings that met at a corner would cross each other once they are drawn in; 4-connected ones never meet.
    outer, holes = mask.outline(connectivity=4)
    if mask.box is None:
        return np.zeros((0, 2))
    # From the object's own corner, which comes last: in another order the sixth decimal of a row may be another, and
    # a training folder that was made once could not be made again byte by byte.
    corner = np.array(mask.box[:2])
    ring: Ring = _spanned([_inset(edge - corner) for edge in (*outer, *holes)]) + corner
    return ring


def _spanned(rings: list[Ring]) -> Ring:
    """All rings as one, joined by the shortest seams that span them (Prim, 1957), beginning with the first.

    Each seam is the shortest to any ring that is still apart, so it crosses no other: in a part it stays in the part.
    """
    if len(rings) == 1:
        return rings[0]
    edges, vertices = _Edges.of(rings), np.concatenate(rings)
    owner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    length, origin = np.full(len(owner), _FAR), np.zeros(len(owner), dtype=np.int64)
    joined, latest, waiting = rings[0], 0, owner != 0
    for _ in rings[1:]:
        own = np.flatnonzero(owner == latest)
        found, nearest = edges.nearest_of(own)
        closer = found < length
        length[closer], origin[closer] = found[closer], nearest[closer]
        there = int(np.where(waiting, length, _FAR).argmin())
        here, latest = int(origin[there]), int(owner[there])
        waiting &= owner != latest
        path = _path(vertices[here], vertices[there], *edges.facing(here, there))
        loop = np.roll(rings[latest], int(np.argmax(owner == latest)) - there, axis=0)
        at = int(np.flatnonzero((joined == vertices[here]).all(axis=1))[0])
        # Out, around, and back to where it left: it does not matter what else leaves from there.
        joined = np.concatenate([joined[: at + 1], path[1:], loop[1:], path[::-1], joined[at + 1 :]])
    return joined


class _Edges(NamedTuple):
    """The edges of all rings in whole pixels, ring by ring: each is a row or a column of pixels, ends included."""

    low: _Pixels
    high: _Pixels

    @staticmethod
    def of(rings: list[Ring]) -> _Edges:
        first = [np.floor(ring).astype(np.int64) for ring in rings]
        starts, ends = np.concatenate(first), np.concatenate([np.roll(ring, -1, axis=0) for ring in first])
        return _Edges(np.minimum(starts, ends), np.maximum(starts, ends))

    def nearest_of(self, own: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Of every edge, how far it is from the nearest of `own`, and which one that is; the first of equals."""
        length, nearest = np.full(len(self.low), _FAR), np.zeros(len(self.low), dtype=np.int64)
        for some in np.split(own, range(_BLOCK, len(own), _BLOCK)):
            for first in range(0, len(length), _BLOCK):
                block = slice(first, first + _BLOCK)
                table = self._lengths(some, block)
                which = table.argmin(axis=0)
                found = table[which, np.arange(len(which))]
                closer = found < length[block]
                length[block][closer], nearest[block][closer] = found[closer], some[which[closer]]
        return length, nearest

    def _lengths(self, rows: npt.NDArray[np.int64], columns: slice) -> npt.NDArray[np.int64]:
        """By the pixels that a line between two edges has: the larger of its sides; of equals the straighter line."""
        across, down = (self._apart(rows, columns, axis) for axis in (0, 1))
        return np.asarray(np.maximum(across, down) * _STEP + np.minimum(across, down))

    def _apart(self, rows: npt.NDArray[np.int64], columns: slice, axis: int) -> npt.NDArray[np.int64]:
        before = self.low[rows, axis, None] - self.high[columns, axis]
        after = self.low[columns, axis] - self.high[rows, axis, None]
        return np.asarray(np.maximum(np.maximum(before, after), 0))

    def facing(self, first: int, second: int) -> tuple[_Pixels, _Pixels]:
        """The pixels of two edges that are nearest to each other."""
        here = np.clip(self.low[second], self.low[first], self.high[first])
        there = np.clip(here, self.low[second], self.high[second])
        return np.clip(there, self.low[first], self.high[first]), there


def _path(start: _Point, end: _Point, here: _Pixels, there: _Pixels) -> Ring:
    """From vertex `start` along its edge to pixel `here`, over to `there`, and along that edge to vertex `end`.

    Over, diagonally first and then straight, so that it enters a column and a row at once: then a reader that draws
    lines finds the same pixels on the way out and back, also if it first puts more vertices on the path, as Ultralytics
    does. It keeps off the pixels' very centres, because the middle between two of them is a corner of four pixels.
    """
    away = there - here
    elbow = here + np.sign(away) * np.abs(away).min()
    inside = 0.5 - _OFF_CENTRE * np.sign(away)
    leaving = np.where(np.floor(start) == here, start, here + inside)
    arriving = np.where(np.floor(end) == there, end, there + inside)
    path = np.array([start, leaving, here + inside, elbow + inside, there + inside, arriving, end])
    return np.asarray(path[np.r_[True, (path[1:] != path[:-1]).any(axis=1)]])


def _inset(ring: Ring) -> Ring:
    """The ring moved to its right, where the object is: running right it moves down, running down to the left."""
    around = np.concatenate([ring[-1:], ring, ring[:1]])
    running = np.sign(around[2:] - around[:-2])
    inside: Ring = ring + running[:, ::-1] * (-INSET_PX, INSET_PX)
    return inside
