"""Colours, light and grain, in integer arithmetic: one seed, the same bytes everywhere.

`canvas` is int32 (h, w, 3) RGB, nominally in [0, 255]; each function changes it in place.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.scenes.colours import Ramp, table
from pipeline.scenes.placement import Spot, window
from pipeline.scenes.textures import FIELDS

Canvas = NDArray[np.int32]

_SHADOW_PX = 3
_SHADOW = 120  # of 256: how much light a shadow takes at most
_BEVEL = 90  # of 256: how strongly edges catch the light, which comes from the upper left
_EMBOSS = 60  # of 256: the same for what is embossed
_FULL = 255  # coverage of a pixel that lies wholly inside


def surface(size_hw: tuple[int, int], field: str, ramp: Ramp, texture: float, rng: np.random.Generator) -> Canvas:
    """A textured surface; `texture` in [0, 1] stretches the field around its middle."""
    values = FIELDS[field](size_hw, rng).astype(np.int32)
    skin: Canvas = table(ramp)[128 + ((values - 128) * round(256 * texture) >> 8)]
    return skin


def add_object(canvas: Canvas, spot: Spot, skin: Canvas) -> None:
    """Lay an object, of which `skin` is the surface over its whole window, with its shadow and its light."""
    _cast_shadow(canvas, spot)
    scene, own = window(spot.top, spot.left, spot.sprite.mask.shape, canvas.shape)
    sprite = spot.sprite
    light = (_slope(sprite.coverage, 7) * _BEVEL >> 8) + (_slope(sprite.relief, 3) * _EMBOSS >> 8)
    lit = skin + light[:, :, None]
    below, share = canvas[scene], sprite.coverage[own].astype(np.int32)[:, :, None]
    canvas[scene] = below + ((lit[own] - below) * share + 127) // _FULL


def _slope(height: NDArray[np.uint8], softness_px: int) -> NDArray[np.int32]:
    """How much the surface rises towards the lower right: positive where it faces the light."""
    soft = cv2.GaussianBlur(height, (softness_px, softness_px), 0).astype(np.int32)
    slope = np.zeros_like(soft)
    slope[1:-1, 1:-1] = soft[2:, 2:] - soft[:-2, :-2]
    return slope


def _cast_shadow(canvas: Canvas, spot: Spot) -> None:
    """Darken what lies to the lower right of an object about to be laid there."""
    pad = 2 * _SHADOW_PX
    cover = cv2.copyMakeBorder(spot.sprite.coverage, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=(0,))
    soft = cv2.GaussianBlur(cover, (2 * _SHADOW_PX + 1, 2 * _SHADOW_PX + 1), 0).astype(np.int32)
    shift = _SHADOW_PX - pad
    scene, own = window(spot.top + shift, spot.left + shift, soft.shape, canvas.shape)
    canvas[scene] = canvas[scene] * (65536 - soft[own][:, :, None] * _SHADOW * 256 // _FULL) >> 16


def add_light(canvas: Canvas, amount: float, rng: np.random.Generator) -> None:
    """Let the light fall off in a random direction, by up to `amount` at the far side."""
    height, width = canvas.shape[:2]
    angle = rng.uniform(0.0, 2.0 * np.pi)
    to_x, to_y = (round(float(f(angle)) * 65536 / max(height, width)) for f in (np.cos, np.sin))
    away = np.arange(height, dtype=np.int32)[:, None] * to_y + np.arange(width, dtype=np.int32)[None, :] * to_x
    away -= away.min()
    fall = round(256 * amount * rng.random())
    gain = 272 - (away * fall >> 16)
    canvas *= gain[:, :, None]
    canvas >>= 8


def add_noise(canvas: Canvas, half_width: int, rng: np.random.Generator) -> None:
    """Add triangular noise: the sum of two uniform ones, for each pixel and colour."""
    if half_width:
        canvas += rng.integers(0, half_width + 1, canvas.shape, dtype=np.uint8)
        canvas -= rng.integers(0, half_width + 1, canvas.shape, dtype=np.uint8)
