"""Surfaces: a scalar field in [0, 255] that a ramp of three colours turns into a picture.

Fields are made of integers only (random numbers, fixed-point phases, look-up tables, 8-bit OpenCV filters),
so one seed gives the same bytes on every machine, whatever its vector unit.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.uint8]
"""(h, w): where on its colour ramp each pixel lies, 0 dark to 255 light."""

_WAVE: Field = np.round(127.5 + 127.5 * np.sin(np.arange(256) * (2 * np.pi / 256))).astype(np.uint8)


def _grid(size_hw: tuple[int, int]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    height, width = size_hw
    return np.arange(height, dtype=np.int32)[:, None], np.arange(width, dtype=np.int32)[None, :]


def _smooth(size_hw: tuple[int, int], cells: tuple[int, int], rng: np.random.Generator) -> Field:
    """White noise of `cells` (rows, columns), stretched smoothly over the whole field."""
    coarse = rng.integers(0, 256, cells, dtype=np.uint8)
    return cv2.resize(coarse, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)


def _phase(size_hw: tuple[int, int], period_px: float, rng: np.random.Generator) -> NDArray[np.int32]:
    """A linear phase in a random direction; 256 steps are one period."""
    y, x = _grid(size_hw)
    angle = rng.uniform(0.0, np.pi)
    step_x, step_y = (round(float(f(angle)) * 65536 / period_px) for f in (np.cos, np.sin))
    return (x * step_x + y * step_y >> 8) + int(rng.integers(256))


def _mix(a: Field, share: float, b: Field) -> Field:
    return cv2.addWeighted(a, share, b, 1.0 - share, 0.0).astype(np.uint8, copy=False)


def _wave(phase: NDArray[np.int32]) -> Field:
    """A sine of the phase, 256 steps being one period."""
    wave: Field = _WAVE[phase & 255]
    return wave


def clouds(size_hw: tuple[int, int], rng: np.random.Generator) -> Field:
    """Soft blotches of two sizes."""
    cells = int(rng.integers(3, 6))
    coarse, fine = _smooth(size_hw, (cells, cells), rng), _smooth(size_hw, (4 * cells, 4 * cells), rng)
    return _mix(coarse, 0.75, fine)


def gradient(size_hw: tuple[int, int], rng: np.random.Generator) -> Field:
    """Light on one side, dark on the other."""
    return _wave(_phase(size_hw, 2.4 * max(size_hw), rng))


def stripes(size_hw: tuple[int, int], rng: np.random.Generator) -> Field:
    """Parallel waves, a little crooked."""
    phase = _phase(size_hw, rng.uniform(6.0, 14.0), rng)
    return _wave(phase + (_smooth(size_hw, (3, 3), rng).astype(np.int32) >> 1))


def speckle(size_hw: tuple[int, int], rng: np.random.Generator) -> Field:
    """Fine grain, as of stone or cast metal."""
    height, width = size_hw
    fine = _smooth(size_hw, (max(2, height // 2), max(2, width // 2)), rng)
    return _mix(fine, 0.6, _smooth(size_hw, (4, 4), rng))


def grain(size_hw: tuple[int, int], rng: np.random.Generator) -> Field:
    """Long fibres, as of wood or brushed steel."""
    height, width = size_hw
    cells = (max(2, height // 3), 3) if rng.random() < 0.5 else (3, max(2, width // 3))
    return _mix(_smooth(size_hw, cells, rng), 0.7, _smooth(size_hw, (3, 3), rng))


def weave(size_hw: tuple[int, int], rng: np.random.Generator) -> Field:
    """Two crossing waves, as of cloth."""
    y, x = _grid(size_hw)
    step = int(rng.integers(26, 52))
    threads = (_wave(x * step).astype(np.int32) + _wave(y * step)) >> 1
    return ((threads + _smooth(size_hw, (4, 4), rng)) >> 1).astype(np.uint8)


FIELDS: Mapping[str, Callable[[tuple[int, int], np.random.Generator], Field]] = MappingProxyType(
    {field.__name__: field for field in (clouds, gradient, stripes, speckle, grain, weave)}
)
"""Every surface by its name."""
