"""Outlines of things, drawn around the origin and inside (about) the unit disc.

An outline's contours are filled by the even-odd rule, so a contour inside another is a hole. Its relief
contours, also even-odd, say what is embossed on the surface: they change the picture and never the mask.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Contour = NDArray[np.float64]
"""(n, 2) x, y of a closed polygon in units of the object's radius; y down."""


@dataclass(frozen=True)
class Outline:
    """`contours` bound the object (even-odd); `relief` is what is embossed on it (even-odd)."""

    contours: tuple[Contour, ...]
    relief: tuple[Contour, ...] = ()


def _polar(radius: NDArray[np.float64] | float, angle: NDArray[np.float64]) -> Contour:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _turn(points: int) -> NDArray[np.float64]:
    return np.arange(points) * (2.0 * np.pi / points)


def _circle(radius: float, x: float = 0.0, y: float = 0.0) -> Contour:
    return _polar(radius, _turn(48)) + (x, y)


def _ngon(corners: int, radius: float = 1.0) -> Contour:
    return _polar(radius, _turn(corners))


def _spikes(points: int, inner: float, outer: float = 1.0) -> Contour:
    """A star: `points` tips at `outer`, notches between them at `inner`."""
    return _polar(np.tile([outer, inner], points), _turn(2 * points))


def _path(*xy: tuple[float, float]) -> Contour:
    return np.asarray(xy, dtype=np.float64)


# --- the demo's things ---------------------------------------------------------------------------------


def coin(rng: np.random.Generator) -> Outline:
    """A round coin with a raised rim and a mark in its middle."""
    marks = (_ngon(4, 0.42), _spikes(6, 0.2, 0.45), _ngon(3, 0.45), _circle(0.3))
    return Outline((_circle(1.0),), (_circle(0.98), _circle(0.8), marks[rng.integers(len(marks))]))


def ring(rng: np.random.Generator) -> Outline:
    """A washer: round, with a round hole in its middle."""
    hole = rng.uniform(0.42, 0.64)
    return Outline((_circle(1.0), _circle(hole)), (_circle((hole + 1.0) / 2 + 0.05), _circle((hole + 1.0) / 2 - 0.05)))


def leaf(rng: np.random.Generator) -> Outline:
    """A pointed leaf with a midrib and slanted side veins."""
    width, bend = rng.uniform(0.38, 0.52), rng.uniform(-0.16, 0.16)
    x = np.linspace(-1.0, 1.0, 25)
    rib = bend * (1.0 - x**2)
    half = width * (1.0 - x**2) * (1.0 - 0.3 * x)
    edge = np.concatenate([np.stack([x, rib + half], 1), np.stack([x, rib - half], 1)[::-1]])
    midrib = np.concatenate([np.stack([x, rib + 0.035], 1), np.stack([x, rib - 0.035], 1)[::-1]])
    veins = [
        _path((at, rib_y), (at + 0.06, rib_y), (at + 0.30, rib_y + side * reach), (at + 0.25, rib_y + side * reach))
        for at in (-0.62, -0.3, 0.02, 0.34)
        for side in (-1, 1)
        for rib_y, reach in [(bend * (1.0 - at**2), 0.72 * width * (1.0 - (at + 0.2) ** 2))]
    ]
    return Outline((edge,), (midrib, *veins))


def star(rng: np.random.Generator) -> Outline:
    """A five-pointed star with folded facets."""
    inner = rng.uniform(0.40, 0.50)
    rim = _spikes(5, inner)
    centre = np.zeros((1, 2))
    facets = tuple(np.concatenate([centre, rim[2 * i : 2 * i + 2]]) for i in range(5))
    return Outline((rim,), facets)


# --- other things, for pretraining -----------------------------------------------------------------------


def ellipse(rng: np.random.Generator) -> Outline:
    """An ellipse, from round to twice as long as wide."""
    return Outline((_circle(1.0) * (1.0, rng.uniform(0.5, 1.0)),))


def polygon(rng: np.random.Generator) -> Outline:
    """A polygon of three to eight corners, none exactly regular."""
    corners = int(rng.integers(3, 9))
    angle = _turn(corners) + rng.uniform(-0.3, 0.3, corners) / corners * np.pi
    return Outline((_polar(rng.uniform(0.75, 1.0, corners), angle),))


def blob(rng: np.random.Generator) -> Outline:
    """A smooth closed curve: a circle with a few random harmonics."""
    angle = _turn(64)
    order = np.arange(2, 6)[:, None]
    waves = np.cos(order * angle + rng.uniform(0, 2 * np.pi, (4, 1))) * rng.uniform(0.0, 0.5, (4, 1)) / order
    radius = 1.0 + waves.sum(axis=0)
    return Outline((_polar(radius / radius.max(), angle),))


def burst(rng: np.random.Generator) -> Outline:
    """A star of four to nine tips, from blunt to spiky."""
    return Outline((_spikes(int(rng.integers(4, 10)), rng.uniform(0.3, 0.8)),))


def gear(rng: np.random.Generator) -> Outline:
    """A toothed wheel, with or without a hole for its axle."""
    teeth = int(rng.integers(6, 13))
    root = rng.uniform(0.72, 0.85)
    rim = _polar(np.tile([1.0, 1.0, root, root], teeth), _turn(4 * teeth))
    return Outline((rim, _circle(rng.uniform(0.2, 0.45))) if rng.random() < 0.7 else (rim,), (_circle(0.62), _circle(0.54)))


def hollow(rng: np.random.Generator) -> Outline:
    """A polygon or an ellipse with a hole of another form."""
    outer = polygon(rng).contours[0] if rng.random() < 0.6 else _circle(1.0) * (1.0, rng.uniform(0.7, 1.0))
    hole = _ngon(int(rng.integers(3, 12)), rng.uniform(0.25, 0.5))
    return Outline((outer, hole))


def cross(rng: np.random.Generator) -> Outline:
    """A cross with four arms of one length."""
    a, b = rng.uniform(0.2, 0.42), 0.92
    return Outline((_path((a, b), (a, a), (b, a), (b, -a), (a, -a), (a, -b), (-a, -b), (-a, -a), (-b, -a), (-b, a), (-a, a), (-a, b)),))


def bar(rng: np.random.Generator) -> Outline:
    """A long rectangle, thin enough to cut what it lies on in two."""
    half = rng.uniform(0.14, 0.4)
    return Outline((_path((-1, -half), (1, -half), (1, half), (-1, half)),))


def pill(rng: np.random.Generator) -> Outline:
    """A capsule with a seam in its middle."""
    half = rng.uniform(0.28, 0.5)
    cap = _polar(half, np.linspace(-np.pi / 2, np.pi / 2, 16)) + (1.0 - half, 0.0)
    return Outline((np.concatenate([cap, -cap]),), (_path((-0.05, -1), (0.05, -1), (0.05, 1), (-0.05, 1)),))


def crescent(rng: np.random.Generator) -> Outline:
    """A moon: a disc with a bite of another disc."""
    bite = rng.uniform(0.3, 0.6)
    tip = np.arccos(bite / 2)  # two unit circles `bite` apart meet at this angle
    outer = _polar(1.0, np.linspace(tip, 2 * np.pi - tip, 40))
    inner = _polar(1.0, np.linspace(np.pi + tip, np.pi - tip, 40)) + (bite, 0.0)
    return Outline((np.concatenate([outer, inner]),))


def drop(rng: np.random.Generator) -> Outline:
    """A drop: round below, pointed above."""
    angle = _turn(48)
    sharp = rng.uniform(1.2, 2.2)
    return Outline((np.stack([np.cos(angle), 0.75 * np.sin(angle) * np.abs(np.sin(angle / 2)) ** sharp], 1),))


def heart(rng: np.random.Generator) -> Outline:
    """The curve known as the heart curve, squeezed a little."""
    angle = _turn(48)
    x = 16 * np.sin(angle) ** 3
    y = 13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle)
    return Outline((np.stack([x, -y], 1) / 17.0 * (rng.uniform(0.75, 1.0), 1.0),))


def arrow(rng: np.random.Generator) -> Outline:
    """An arrow: a shaft and a head."""
    shaft, neck = rng.uniform(0.14, 0.3), rng.uniform(-0.1, 0.3)
    return Outline((_path((-1, -shaft), (neck, -shaft), (neck, -0.75), (1, 0), (neck, 0.75), (neck, shaft), (-1, shaft)),))


_LETTERS = (
    _path((0, 0), (1, 0), (1, 4), (3, 4), (3, 5), (0, 5)),  # L
    _path((0, 0), (4, 0), (4, 1), (2.5, 1), (2.5, 5), (1.5, 5), (1.5, 1), (0, 1)),  # T
    _path((0, 0), (1, 0), (1, 4), (3, 4), (3, 0), (4, 0), (4, 5), (0, 5)),  # U
    _path((0, 0), (3, 0), (3, 1), (1, 1), (1, 2), (2.5, 2), (2.5, 3), (1, 3), (1, 4), (3, 4), (3, 5), (0, 5)),  # E
    _path((0, 0), (1, 0), (1, 2), (3, 2), (3, 0), (4, 0), (4, 5), (3, 5), (3, 3), (1, 3), (1, 5), (0, 5)),  # H
    _path((0, 0), (4, 0), (4, 1), (1.4, 4), (4, 4), (4, 5), (0, 5), (0, 4), (2.6, 1), (0, 1)),  # Z
    _path((0, 0), (1, 0), (2, 2), (3, 0), (4, 0), (2.5, 3), (2.5, 5), (1.5, 5), (1.5, 3)),  # Y
)


def letter(rng: np.random.Generator) -> Outline:
    """One of seven capital letters, in thick strokes."""
    drawn = _LETTERS[rng.integers(len(_LETTERS))]
    return Outline(((drawn - (drawn.max(axis=0) / 2)) / 2.8,))


SHAPES: Mapping[str, Callable[[np.random.Generator], Outline]] = MappingProxyType({
    shape.__name__: shape
    for shape in (
        coin, ring, leaf, star,
        ellipse, polygon, blob, burst, gear, hollow, cross, bar, pill, crescent, drop, heart, arrow, letter,
    )
})
"""Every outline by its name."""
