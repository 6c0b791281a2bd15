"""Ramps of three colours (dark, middle, light): named materials, and random ones."""

import colorsys
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
"""Red, green, blue in [0, 255]."""

Ramp = tuple[Colour, Colour, Colour]
"""A surface's colours from its dark to its light places."""

RAMPS: Mapping[str, Ramp] = MappingProxyType(
    {
        # metals
        "copper": ((122, 58, 34), (184, 104, 66), (236, 170, 128)),
        "gold": ((140, 96, 20), (212, 164, 54), (252, 224, 132)),
        "silver": ((104, 112, 122), (168, 176, 186), (232, 238, 244)),
        "steel": ((52, 70, 92), (98, 122, 148), (168, 190, 210)),
        # leaves
        "fern": ((38, 84, 42), (84, 140, 66), (164, 200, 108)),
        "autumn": ((136, 52, 18), (206, 104, 36), (246, 176, 84)),
        "maple": ((112, 22, 26), (176, 50, 44), (230, 116, 84)),
        # enamels
        "berry": ((98, 20, 70), (170, 48, 116), (230, 124, 172)),
        "lagoon": ((10, 84, 96), (30, 142, 150), (120, 206, 200)),
        "amber": ((166, 96, 8), (236, 164, 32), (255, 220, 112)),
        # grounds
        "slate": ((38, 44, 54), (60, 68, 80), (88, 98, 112)),
        "linen": ((176, 164, 142), (206, 196, 176), (232, 226, 210)),
        "walnut": ((58, 36, 24), (90, 60, 40), (126, 90, 62)),
        "moss": ((52, 62, 36), (82, 94, 56), (118, 130, 84)),
        "dusk": ((48, 44, 82), (78, 74, 120), (116, 112, 160)),
        "sand": ((164, 136, 96), (196, 168, 126), (224, 202, 164)),
    }
)
"""Every named ramp."""


def random_ramp(rng: np.random.Generator) -> Ramp:
    """Any hue: the middle colour is drawn, the dark and the light one follow from it."""
    hue, saturation, value = rng.random(), rng.uniform(0.1, 0.85), rng.uniform(0.25, 0.9)
    drift = rng.uniform(-0.06, 0.06)

    def shade(step: int) -> Colour:
        lightness = min(1.0, value * (1.0 + 0.38 * step))
        rgb = colorsys.hsv_to_rgb((hue + drift * step) % 1.0, min(1.0, saturation * (1.0 - 0.2 * step)), lightness)
        return (round(255 * rgb[0]), round(255 * rgb[1]), round(255 * rgb[2]))

    return shade(-1), shade(0), shade(1)


def distance(a: Ramp, b: Ramp) -> float:
    """How far apart two ramps look: the distance of their middle colours in RGB, [0, 442]."""
    return float(np.linalg.norm(np.subtract(a[1], b[1], dtype=np.float64)))


def table(ramp: Ramp) -> NDArray[np.int32]:
    """(256, 3) the ramp's colour for each value of a field, in integer arithmetic."""
    dark, middle, light = (np.asarray(colour, dtype=np.int32) for colour in ramp)
    step = np.arange(128, dtype=np.int32)[:, None]
    lower, upper = dark + ((middle - dark) * step >> 7), middle + ((light - middle) * step >> 7)
    return np.concatenate([lower, upper])
