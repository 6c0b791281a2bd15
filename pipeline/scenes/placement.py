"""Where objects lie: apart, edge to edge or one over another, and never all but hidden."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.scenes.spec import SceneSpec
from pipeline.scenes.sprites import Sprite

_ATTEMPTS = 12


@dataclass(frozen=True)
class Placed:
    """A sprite and where its window's top left corner lies in the scene (may be outside)."""

    label: str
    sprite: Sprite
    top: int
    left: int

    @property
    def centre_yx(self) -> tuple[float, float]:
        """The middle of the window."""
        height, width = self.sprite.mask.shape
        return self.top + height / 2, self.left + width / 2

    def windows(self, size_hw: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The same pixels twice: as slices of the scene and as slices of the sprite."""
        height, width = self.sprite.mask.shape
        top, left = max(0, self.top), max(0, self.left)
        bottom, right = min(size_hw[0], self.top + height), min(size_hw[1], self.left + width)
        scene = slice(top, max(top, bottom)), slice(left, max(left, right))
        return scene, tuple(slice(s.start - at, s.stop - at) for s, at in zip(scene, (self.top, self.left), strict=True))


@dataclass
class Layout:
    """The objects placed so far, lowest first, with what is visible of each."""

    spec: SceneSpec
    placed: list[Placed] = field(default_factory=list)
    visible: list[NDArray[np.bool_]] = field(default_factory=list)

    def add(self, label: str, sprite: Sprite, rng: np.random.Generator) -> bool:
        """Lay the sprite on top, where every object keeps its visible part; False if no such place is found."""
        draw = rng.random()
        for _ in range(_ATTEMPTS):
            if not self.placed or draw >= self.spec.overlap_fraction + self.spec.touch_fraction:
                found = self._try_apart(label, sprite, rng)
            elif draw < self.spec.overlap_fraction:
                found = self._try_over(label, sprite, rng)
            else:
                found = self._try_touching(label, sprite, rng)
            if found is not None:
                self._lay(*found)
                return True
        return False
