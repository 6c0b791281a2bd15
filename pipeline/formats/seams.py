"""A mask with holes and several parts as ONE ring, which is all that a YOLO row can hold.

Rings are joined by seams: the ring goes out along a straight line and comes back on the same line, so the
seam encloses nothing and, filled by the even-odd rule, the parts and holes are exactly what they were.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.domain.contours import Ring, trace
from pipeline.domain.mask import Mask

__all__ = ["INSET_PX", "one_ring"]

INSET_PX = 0.35
"""How far inside its pixels' edges a ring runs.

Some readers fill a polygon whose vertices are points between pixels (COCO), others cut the coordinates to
whole pixels and fill those with their border (OpenCV, and so Ultralytics). A ring on the edges makes objects
one pixel too wide for the latter, one through the centres is ambiguous for the former. In between, both see
exactly the mask; more than 0.15 px are left on either side for rounding.
"""

_BLOCK = 2048


def one_ring(mask: Mask) -> Ring:
    """`float64 (n, 2)`: x, y in pixels, `INSET_PX` inside the pixel edges; (0, 2) for an empty mask.

    `Mask.from_polygons([one_ring(mask)], mask.size_hw)` is the mask. Equal masks give equal rings.
    """
    top_left, crop = mask.crop()
    # Rings that met at a corner would cross each other once they are drawn in; 4-connected ones never meet.
    outline = trace(crop, connectivity=4)
    rings = [_inset(edge) for edge in (*outline.outer, *outline.holes)]
    return (_spanned(rings) if rings else np.zeros((0, 2))) + top_left


def _spanned(rings: list[Ring]) -> Ring:
    """All rings as one, joined by the shortest seams that span them (Prim, 1957), beginning with the first.

    A reader that draws a polygon's border sees a seam between two parts as a line of pixels: so none is longer than it
    must be.
    """
    joined, latest, waiting = rings[0], rings[0], list(range(1, len(rings)))
    best = dict.fromkeys(waiting, (np.inf, joined[0], 0))
    while waiting:
        for index in waiting:
            squared, here, there = _nearest(latest, rings[index])
            if squared < best[index][0]:
                best[index] = squared, latest[here], there
        nearest = min(waiting, key=lambda index: (best[index][0], index))
        _, start, there = best[nearest]
        latest = rings[nearest]
        here = int(np.flatnonzero((joined == start).all(axis=1))[0])
        joined = np.concatenate([joined[: here + 1], latest[there:], latest[: there + 1], joined[here:]])
        waiting.remove(nearest)
    return joined


def _inset(ring: Ring) -> Ring:
    """The ring moved to its right, where the object is: running right it moves down, running down to the left."""
    running = np.sign(np.roll(ring, -1, axis=0) - np.roll(ring, 1, axis=0))
    inside: Ring = ring + INSET_PX * np.stack([-running[:, 1], running[:, 0]], axis=1)
    return inside


def _nearest(ring: Ring, other: Ring) -> tuple[float, int, int]:
    """The squared distance and the indices of the two nearest vertices; the first pair of several equally near."""
    best = (np.inf, 0, 0)
    for first in range(0, len(ring), _BLOCK):
        for second in range(0, len(other), _BLOCK):
            distance = _squared(ring[first : first + _BLOCK], other[second : second + _BLOCK])
            row, column = np.unravel_index(int(distance.argmin()), distance.shape)
            candidate = (float(distance[row, column]), first + int(row), second + int(column))
            best = min(best, candidate)
    return best


def _squared(first: Ring, second: Ring) -> npt.NDArray[np.float64]:
    difference = first[:, None, :] - second[None, :, :]
    squared: npt.NDArray[np.float64] = np.einsum("ijk,ijk->ij", difference, difference)
    return squared
