"""Where objects lie: apart, edge to edge or one over another, and never all but hidden."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.scenes.spec import SceneSpec
from pipeline.scenes.sprites import Sprite

_ATTEMPTS = 10
_GROUND = -1


@dataclass(frozen=True)
class Placed:
    """An object's sprite, and where its window's top left corner lies (it may be outside the scene)."""

    label: str
    sprite: Sprite
    radius_px: float
    top: int
    left: int

    def windows(self, size_hw: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The window's part inside the scene, as slices of the scene and as slices of the sprite."""
        (rows, own_rows), (columns, own_columns) = (
            (slice(max(0, at), end), slice(max(0, at) - at, end - at))
            for at, length, limit in zip((self.top, self.left), self.sprite.mask.shape, size_hw, strict=True)
            for end in (max(0, at, min(limit, at + length)),)
        )
        return (rows, columns), (own_rows, own_columns)


class Layout:
    """The objects of a scene, lowest first; each keeps its visible part whatever is laid on it later.

    Attributes:
        placed: the objects laid so far.
        topmost: (h, w) int16, for each pixel the index of the object seen there, -1 for the ground.
    """

    def __init__(self, spec: SceneSpec) -> None:
        self._spec = spec
        self.placed: list[Placed] = []
        self.topmost: NDArray[np.int16] = np.full(spec.size_hw, _GROUND, dtype=np.int16)
        self._visible_px = np.zeros(0, dtype=np.int64)
        self._floor_px = np.zeros(0, dtype=np.int64)

    def add(self, label: str, sprite: Sprite, radius_px: float, rng: np.random.Generator) -> bool:
        """Find the sprite a place and lay it on top; False, and nothing changes, if there is none."""
        manner = self._manner(rng)
        for _ in range(_ATTEMPTS):
            top, left = manner(sprite, radius_px, rng)
            candidate = Placed(label, sprite, radius_px, top, left)
            may_cover = manner == self._over
            if self._fits(candidate, may_cover):
                self._lay(candidate)
                return True
        return False

    def _manner(self, rng: np.random.Generator):
        draw = rng.random()
        if not self.placed or draw >= self._spec.overlap_fraction + self._spec.touch_fraction:
            return self._apart
        return self._over if draw < self._spec.overlap_fraction else self._touching

    def _apart(self, sprite: Sprite, radius_px: float, rng: np.random.Generator) -> tuple[int, int]:
        """Anywhere; the centre is inside the scene."""
        (height, width), (rows, columns) = self._spec.size_hw, sprite.mask.shape
        return int(rng.integers(height)) - rows // 2, int(rng.integers(width)) - columns // 2

    def _over(self, sprite: Sprite, radius_px: float, rng: np.random.Generator) -> tuple[int, int]:
        """Near an object that is there already, so that the two overlap."""
        other, direction = self._neighbour(rng)
        return self._beside(other, sprite, direction, rng.uniform(0.3, 0.85) * (other.radius_px + radius_px))

    def _touching(self, sprite: Sprite, radius_px: float, rng: np.random.Generator) -> tuple[int, int]:
        """Moved towards another object until one more step would cover a pixel of anything."""
        other, direction = self._neighbour(rng)
        reach = int(other.radius_px + radius_px) + 3
        at = self._beside(other, sprite, direction, reach)
        for distance in range(reach - 1, 0, -1):
            closer = self._beside(other, sprite, direction, distance)
            if self._covered(Placed("", sprite, radius_px, *closer)).size:
                break
            at = closer
        return at

    def _neighbour(self, rng: np.random.Generator) -> tuple[Placed, float]:
        return self.placed[rng.integers(len(self.placed))], rng.uniform(0.0, 2.0 * np.pi)

    @staticmethod
    def _beside(other: Placed, sprite: Sprite, direction: float, distance: float) -> tuple[int, int]:
        (rows, columns), (own_rows, own_columns) = other.sprite.mask.shape, sprite.mask.shape
        top = other.top + (rows - own_rows) / 2 + distance * np.sin(direction)
        left = other.left + (columns - own_columns) / 2 + distance * np.cos(direction)
        return round(float(top)), round(float(left))

    def _covered(self, candidate: Placed) -> NDArray[np.int16]:
        """Index of the object below, for each pixel that the candidate would take from one."""
        scene, own = candidate.windows(self._spec.size_hw)
        below = self.topmost[scene][candidate.sprite.mask[own]]
        return below[below != _GROUND]

    def _fits(self, candidate: Placed, may_cover: bool) -> bool:
        _, own = candidate.windows(self._spec.size_hw)
        if np.count_nonzero(candidate.sprite.mask[own]) < self._floor(candidate):
            return False
        covered = self._covered(candidate)
        if covered.size == 0 or not may_cover:
            return covered.size == 0 and not may_cover
        left_px = self._visible_px - np.bincount(covered, minlength=len(self.placed))
        return bool((left_px >= self._floor_px).all())

    def _floor(self, candidate: Placed) -> int:
        return max(self._spec.min_visible_px, round(self._spec.min_visible * candidate.sprite.area_px))

    def _lay(self, candidate: Placed) -> None:
        scene, own = candidate.windows(self._spec.size_hw)
        self.topmost[scene][candidate.sprite.mask[own]] = len(self.placed)
        self.placed.append(candidate)
        self._floor_px = np.append(self._floor_px, self._floor(candidate))
        self._visible_px = np.bincount(self.topmost[self.topmost != _GROUND], minlength=len(self.placed))
