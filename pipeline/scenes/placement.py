"""Where objects lie: apart, edge to edge or one over another, and never all but hidden."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.scenes.spec import SceneSpec
from pipeline.scenes.sprites import Sprite

_ATTEMPTS = 10
_GROUND = -1


@dataclass(frozen=True, eq=False)
class Spot:
    """A sprite somewhere: the row and column of its window's top left corner, maybe outside the scene."""

    sprite: Sprite
    top: int
    left: int


def window(
    top: int, left: int, size: tuple[int, ...], scene: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part inside the scene of an array laid at (top, left): as slices of the scene, and of the array.

    `size` and `scene` are array shapes, of which height and width come first.
    """
    rows, own_rows = _overlap(top, size[0], scene[0])
    columns, own_columns = _overlap(left, size[1], scene[1])
    return (rows, columns), (own_rows, own_columns)


def _overlap(at: int, length: int, limit: int) -> tuple[slice, slice]:
    """Of [at, at + length) the part within [0, limit): counted from 0, and counted from `at`."""
    start = max(0, at)
    end = max(start, min(limit, at + length))
    return slice(start, end), slice(start - at, end - at)


_Manner = Callable[[Sprite, np.random.Generator], Spot]


class Layout:
    """The objects of a scene, lowest first; each keeps its visible part whatever is laid on it later.

    Attributes:
        labels: the class of each object laid so far.
        spots: where each lies.
        topmost: (h, w) int16, for each pixel the index of the object seen there, -1 for the ground.
    """

    def __init__(self, spec: SceneSpec) -> None:
        self._spec = spec
        self.labels: list[str] = []
        self.spots: list[Spot] = []
        self.topmost: NDArray[np.int16] = np.full(spec.size_hw, _GROUND, dtype=np.int16)
        self._floors_px: list[int] = []

    def add(self, label: str, sprite: Sprite, rng: np.random.Generator) -> bool:
        """Find the sprite a place and lay it on top; False, and nothing changes, if there is none."""
        manner = self._manner(rng)
        floor_px = max(self._spec.min_visible_px, round(self._spec.min_visible * sprite.area_px))
        for _ in range(_ATTEMPTS):
            spot = manner(sprite, rng)
            if self._fits(spot, floor_px, covering=manner == self._over):
                scene, own = self._window(spot)
                self.topmost[scene][sprite.mask[own]] = len(self.spots)
                self.labels.append(label)
                self.spots.append(spot)
                self._floors_px.append(floor_px)
                return True
        return False

    def _manner(self, rng: np.random.Generator) -> _Manner:
        draw = rng.random()
        if not self.spots or draw >= self._spec.overlap_fraction + self._spec.touch_fraction:
            return self._apart
        return self._over if draw < self._spec.overlap_fraction else self._touching

    def _apart(self, sprite: Sprite, rng: np.random.Generator) -> Spot:
        """Anywhere; the centre is inside the scene."""
        (height, width), (rows, columns) = self._spec.size_hw, sprite.mask.shape
        return Spot(sprite, int(rng.integers(height)) - rows // 2, int(rng.integers(width)) - columns // 2)

    def _over(self, sprite: Sprite, rng: np.random.Generator) -> Spot:
        """Near an object that is there already, so that the two overlap."""
        other, direction = self._neighbour(rng)
        reach_px = other.sprite.radius_px + sprite.radius_px
        return _beside(other, sprite, direction, rng.uniform(0.3, 0.85) * reach_px)

    def _touching(self, sprite: Sprite, rng: np.random.Generator) -> Spot:
        """Moved towards another object until one more step would cover a pixel of anything."""
        other, direction = self._neighbour(rng)
        reach_px = int(other.sprite.radius_px + sprite.radius_px) + 3
        spot = _beside(other, sprite, direction, reach_px)
        for distance_px in range(reach_px - 1, 0, -1):
            closer = _beside(other, sprite, direction, distance_px)
            if self._covered(closer).size:
                break
            spot = closer
        return spot

    def _window(self, spot: Spot) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        return window(spot.top, spot.left, spot.sprite.size_hw, self._spec.size_hw)

    def _neighbour(self, rng: np.random.Generator) -> tuple[Spot, float]:
        return self.spots[rng.integers(len(self.spots))], rng.uniform(0.0, 2.0 * np.pi)

    def _covered(self, spot: Spot) -> NDArray[np.int16]:
        """The index of the object below, for each pixel that the sprite would take from one."""
        scene, own = self._window(spot)
        below = self.topmost[scene][spot.sprite.mask[own]]
        taken: NDArray[np.int16] = below[below != _GROUND]
        return taken

    def _fits(self, spot: Spot, floor_px: int, *, covering: bool) -> bool:
        """Enough of it would lie in the scene, it covers others just if it should, and they stay visible."""
        _, own = self._window(spot)
        covered = self._covered(spot)
        if np.count_nonzero(spot.sprite.mask[own]) < floor_px or (covered.size > 0) != covering:
            return False
        left_px = np.bincount(self.topmost[self.topmost != _GROUND], minlength=len(self.spots))
        left_px -= np.bincount(covered, minlength=len(self.spots))
        return bool((left_px >= self._floors_px).all())


def _beside(other: Spot, sprite: Sprite, direction: float, distance_px: float) -> Spot:
    """The sprite with its middle `distance_px` from the other's, in `direction` (radians)."""
    (rows, columns), (own_rows, own_columns) = other.sprite.mask.shape, sprite.mask.shape
    top = other.top + (rows - own_rows) / 2 + distance_px * np.sin(direction)
    left = other.left + (columns - own_columns) / 2 + distance_px * np.cos(direction)
    return Spot(sprite, round(float(top)), round(float(left)))
