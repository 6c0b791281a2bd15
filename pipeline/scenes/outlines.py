"""An outline: closed contours around the origin, inside (about) the unit disc; and how to draw simple ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Contour = NDArray[np.float64]
"""(n, 2) x, y of a closed polygon in units of the object's radius; y down."""


@dataclass(frozen=True, eq=False)
class Outline:
    """One object's form.

    Attributes:
        contours: what bounds it, filled by the even-odd rule: a contour inside another is a hole.
        relief: what is embossed on it, also even-odd; it changes the picture and never the mask.
    """

    contours: tuple[Contour, ...]
    relief: tuple[Contour, ...] = ()


def polar(radius: NDArray[np.float64] | float, angle: NDArray[np.float64]) -> Contour:
    """Points at these radii and angles (radians, clockwise from the right)."""
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def turn(points: int) -> NDArray[np.float64]:
    """Evenly spaced angles of one full turn, radians."""
    return np.linspace(0.0, 2.0 * np.pi, points, endpoint=False)


def circle(radius: float) -> Contour:
    """A circle, as a polygon of 48 corners: within 0.06 px at a radius of 27 px."""
    return polar(radius, turn(48))


def ngon(corners: int, radius: float) -> Contour:
    """A regular polygon."""
    return polar(radius, turn(corners))


def spikes(points: int, inner: float, outer: float = 1.0) -> Contour:
    """A star: `points` tips at radius `outer`, notches between them at `inner`."""
    return polar(np.tile([outer, inner], points), turn(2 * points))


def path(*xy: tuple[float, float]) -> Contour:
    """A polygon through these corners."""
    return np.asarray(xy, dtype=np.float64)
