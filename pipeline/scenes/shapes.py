"""Families of outlines: each function draws one member of its family."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from pipeline.scenes.outlines import Outline, circle, ngon, path, polar, spikes, turn

# --- the demo's things ---------------------------------------------------------------------------------


def coin(rng: np.random.Generator) -> Outline:
    """A round coin with a raised rim and a mark in its middle."""
    marks = (ngon(4, 0.42), spikes(6, 0.2, 0.45), ngon(3, 0.45), circle(0.3))
    return Outline((circle(1.0),), (circle(0.98), circle(0.8), marks[rng.integers(len(marks))]))


def ring(rng: np.random.Generator) -> Outline:
    """A washer: round, with a round hole in its middle."""
    hole = rng.uniform(0.42, 0.64)
    groove = (hole + 1.0) / 2
    return Outline((circle(1.0), circle(hole)), (circle(groove + 0.05), circle(groove - 0.05)))


def leaf(rng: np.random.Generator) -> Outline:
    """A pointed leaf with a midrib and slanted side veins."""
    width, bend = rng.uniform(0.38, 0.52), rng.uniform(-0.16, 0.16)
    x = np.linspace(-1.0, 1.0, 25)
    rib = bend * (1.0 - x**2)
    half = width * (1.0 - x**2) * (1.0 - 0.3 * x)
    edge = np.concatenate([np.stack([x, rib + half], 1), np.stack([x, rib - half], 1)[::-1]])
    midrib = np.concatenate([np.stack([x, rib + 0.035], 1), np.stack([x, rib - 0.035], 1)[::-1]])
    veins = [
        path((at, start), (at + 0.06, start), (at + 0.30, start + reach), (at + 0.25, start + reach))
        for at in (-0.62, -0.3, 0.02, 0.34)
        for start in (bend * (1.0 - at**2),)
        for reach in (-0.72 * width * (1.0 - (at + 0.2) ** 2), 0.72 * width * (1.0 - (at + 0.2) ** 2))
    ]
    return Outline((edge,), (midrib, *veins))


def star(rng: np.random.Generator) -> Outline:
    """A five-pointed star with folded facets."""
    inner = rng.uniform(0.40, 0.50)
    rim = spikes(5, inner)
    centre = np.zeros((1, 2))
    facets = tuple(np.concatenate([centre, rim[2 * i : 2 * i + 2]]) for i in range(5))
    return Outline((rim,), facets)


# --- other things, for pretraining -----------------------------------------------------------------------


def ellipse(rng: np.random.Generator) -> Outline:
    """An ellipse, from round to twice as long as wide."""
    return Outline((circle(1.0) * (1.0, rng.uniform(0.5, 1.0)),))


def polygon(rng: np.random.Generator) -> Outline:
    """A polygon of three to eight corners, none exactly regular."""
    corners = int(rng.integers(3, 9))
    angle = turn(corners) + rng.uniform(-0.3, 0.3, corners) / corners * np.pi
    return Outline((polar(rng.uniform(0.75, 1.0, corners), angle),))


def blob(rng: np.random.Generator) -> Outline:
    """A smooth closed curve: a circle with a few random harmonics."""
    angle = turn(64)
    order = np.arange(2, 6)[:, None]
    waves = np.cos(order * angle + rng.uniform(0, 2 * np.pi, (4, 1))) * rng.uniform(0.0, 0.5, (4, 1)) / order
    radius = 1.0 + waves.sum(axis=0)
    return Outline((polar(radius / radius.max(), angle),))


def burst(rng: np.random.Generator) -> Outline:
    """A star of four to nine tips, from blunt to spiky."""
    return Outline((spikes(int(rng.integers(4, 10)), rng.uniform(0.3, 0.8)),))


def gear(rng: np.random.Generator) -> Outline:
    """A toothed wheel, with or without a hole for its axle."""
    teeth = int(rng.integers(6, 13))
    root = rng.uniform(0.72, 0.85)
    rim = polar(np.tile([1.0, 1.0, root, root], teeth), turn(4 * teeth))
    axle = (circle(rng.uniform(0.2, 0.45)),) if rng.random() < 0.7 else ()
    return Outline((rim, *axle), (circle(0.62), circle(0.54)))


def hollow(rng: np.random.Generator) -> Outline:
    """A polygon or an ellipse with a hole of another form."""
    round_one = rng.random() < 0.4
    outer = circle(1.0) * (1.0, rng.uniform(0.7, 1.0)) if round_one else ngon(int(rng.integers(4, 8)), 1.0)
    return Outline((outer, ngon(int(rng.integers(3, 12)), rng.uniform(0.25, 0.5))))


def cross(rng: np.random.Generator) -> Outline:
    """A cross with four arms of one length."""
    half, reach = rng.uniform(0.2, 0.42), 0.92
    arm = path((reach, half), (reach, -half), (half, -half))  # one arm and the corner to the next
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    return Outline((np.concatenate([arm @ np.linalg.matrix_power(quarter, n) for n in range(4)]),))


def bar(rng: np.random.Generator) -> Outline:
    """A long rectangle, thin enough to cut what it lies on in two."""
    half = rng.uniform(0.14, 0.4)
    return Outline((path((-1, -half), (1, -half), (1, half), (-1, half)),))


def pill(rng: np.random.Generator) -> Outline:
    """A capsule with a seam in its middle."""
    half = rng.uniform(0.28, 0.5)
    cap = polar(half, np.linspace(-np.pi / 2, np.pi / 2, 16)) + np.array([1.0 - half, 0.0])
    return Outline((np.concatenate([cap, -cap]),), (path((-0.05, -1), (0.05, -1), (0.05, 1), (-0.05, 1)),))


def crescent(rng: np.random.Generator) -> Outline:
    """A moon: a disc with a bite of another disc."""
    bite = rng.uniform(0.3, 0.6)
    tip = np.arccos(bite / 2)  # two unit circles `bite` apart meet at this angle
    outer = polar(1.0, np.linspace(tip, 2 * np.pi - tip, 40))
    inner = polar(1.0, np.linspace(np.pi + tip, np.pi - tip, 40)) + np.array([bite, 0.0])
    return Outline((np.concatenate([outer, inner]),))


def drop(rng: np.random.Generator) -> Outline:
    """A drop: round below, pointed above."""
    angle = turn(48)
    sharp = rng.uniform(1.2, 2.2)
    return Outline((np.stack([np.cos(angle), 0.75 * np.sin(angle) * np.abs(np.sin(angle / 2)) ** sharp], 1),))


def heart(rng: np.random.Generator) -> Outline:
    """The curve known as the heart curve, squeezed a little."""
    angle = turn(48)
    x = 16 * np.sin(angle) ** 3
    y = 13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle)
    return Outline((np.stack([x, -y], 1) / 17.0 * (rng.uniform(0.75, 1.0), 1.0),))


def arrow(rng: np.random.Generator) -> Outline:
    """An arrow: a shaft and a head."""
    shaft, neck = rng.uniform(0.14, 0.3), rng.uniform(-0.1, 0.3)
    upper = path((-1, -shaft), (neck, -shaft), (neck, -0.75), (1, 0))
    return Outline((np.concatenate([upper, upper[-2::-1] * (1, -1)]),))


_LETTERS = (
    path((0, 0), (1, 0), (1, 4), (3, 4), (3, 5), (0, 5)),  # L
    path((0, 0), (4, 0), (4, 1), (2.5, 1), (2.5, 5), (1.5, 5), (1.5, 1), (0, 1)),  # T
    path((0, 0), (1, 0), (1, 4), (3, 4), (3, 0), (4, 0), (4, 5), (0, 5)),  # U
    path((0, 0), (3, 0), (3, 1), (1, 1), (1, 2), (2.5, 2), (2.5, 3), (1, 3), (1, 4), (3, 4), (3, 5), (0, 5)),  # E
    path((0, 0), (1, 0), (1, 2), (3, 2), (3, 0), (4, 0), (4, 5), (3, 5), (3, 3), (1, 3), (1, 5), (0, 5)),  # H
    path((0, 0), (4, 0), (4, 1), (1.4, 4), (4, 4), (4, 5), (0, 5), (0, 4), (2.6, 1), (0, 1)),  # Z
    path((0, 0), (1, 0), (2, 2), (3, 0), (4, 0), (2.5, 3), (2.5, 5), (1.5, 5), (1.5, 3)),  # Y
)


def letter(rng: np.random.Generator) -> Outline:
    """One of seven capital letters, in thick strokes."""
    drawn = _LETTERS[rng.integers(len(_LETTERS))]
    return Outline(((drawn - (drawn.max(axis=0) / 2)) / 2.8,))


SHAPES: Mapping[str, Callable[[np.random.Generator], Outline]] = MappingProxyType(
    {
        shape.__name__: shape
        for shape in (
            *(coin, ring, leaf, star),
            *(ellipse, polygon, blob, burst, gear, hollow, cross, bar, pill, crescent, drop, heart, arrow, letter),
        )
    }
)
"""Every shape by its name."""
