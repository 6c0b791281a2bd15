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
    joined = np.zeros((0, 2))
    for edge in (*outline.outer, *outline.holes):
        ring = _inset(edge)
        joined = _joined(joined, ring) if len(joined) else ring
    return joined + top_left


def _inset(ring: Ring) -> Ring:
    """The ring moved to its right, where the object is: running right it moves down, running down to the left."""
    running = np.sign(np.roll(ring, -1, axis=0) - np.roll(ring, 1, axis=0))
    inside: Ring = ring + INSET_PX * np.stack([-running[:, 1], running[:, 0]], axis=1)
    return inside


def _joined(ring: Ring, other: Ring) -> Ring:
    """Both rings as one, by a seam between their nearest vertices."""
    here, there = _nearest(ring, other)
    return np.concatenate([ring[: here + 1], other[there:], other[: there + 1], ring[here:]])


def _nearest(ring: Ring, other: Ring) -> tuple[int, int]:
    """The indices of the two nearest vertices; the first pair where several are equally near."""
    best = (np.inf, 0, 0)
    for first in range(0, len(ring), _BLOCK):
        for second in range(0, len(other), _BLOCK):
            distance = _squared(ring[first : first + _BLOCK], other[second : second + _BLOCK])
            row, column = np.unravel_index(int(distance.argmin()), distance.shape)
            candidate = (float(distance[row, column]), first + int(row), second + int(column))
            best = min(best, candidate)
    return best[1], best[2]


def _squared(first: Ring, second: Ring) -> npt.NDArray[np.float64]:
    difference = first[:, None, :] - second[None, :, :]
    squared: npt.NDArray[np.float64] = np.einsum("ijk,ijk->ij", difference, difference)
    return squared
