"""What to draw: one frozen value that, with a seed, fixes every pixel and every mask."""

from dataclasses import dataclass

from pipeline.scenes.catalogue import KINDS
from pipeline.scenes.colours import RAMPS


@dataclass(frozen=True)
class SceneSpec:
    """The distribution that scenes are drawn from.

    Attributes:
        classes: labels, each a name of `KINDS`.
        class_weights: how often each class is drawn, in proportion; empty means equally often.
        size_hw: height and width of every scene in pixels, each at least 32.
        objects: fewest and most objects that are tried in a scene that is not empty.
        radius_px: smallest and largest radius of an object.
        empty_fraction: share of scenes with nothing in them, [0, 1].
        overlap_fraction: share of objects laid over another one, [0, 1].
        touch_fraction: share of objects laid edge to edge with another one, [0, 1].
        min_visible: the share of an object's own area that must stay visible, (0, 1].
        min_visible_px: the area that must stay visible, in pixels.
        grounds: names of `RAMPS` for the background; empty means any colour at all.
        contrast: smallest wanted distance of object and background colour in RGB, [0, 442]; where the
            class has no colour that far, its farthest is taken.
        texture: strength of the surfaces, [0, 1].
        lighting: how much the light may fall off over the scene, [0, 1].
        noise: half width of the sensor's noise in grey levels, [0, 64].

    Raises:
        ValueError: a value outside its range, or a name that is not known.
    """

    classes: tuple[str, ...]
    class_weights: tuple[float, ...] = ()
    size_hw: tuple[int, int] = (160, 160)
    objects: tuple[int, int] = (3, 9)
    radius_px: tuple[float, float] = (11.0, 27.0)
    empty_fraction: float = 0.06
    overlap_fraction: float = 0.3
    touch_fraction: float = 0.15
    min_visible: float = 0.35
    min_visible_px: int = 60
    grounds: tuple[str, ...] = ()
    contrast: float = 60.0
    texture: float = 0.7
    lighting: float = 0.35
    noise: int = 9

    def __post_init__(self) -> None:
        for names, known in ((self.classes, KINDS), (self.grounds, RAMPS)):
            unknown = sorted(set(names) - set(known))
            if unknown:
                raise ValueError(f"unknown {unknown}; known: {sorted(known)}")
        fractions = (self.empty_fraction, self.overlap_fraction, self.touch_fraction, self.texture, self.lighting)
        wrong = {
            "classes: at least one, each once": not self.classes or len(set(self.classes)) != len(self.classes),
            "class_weights: none, or one for each class, none negative, some positive": bool(self.class_weights)
            and (
                len(self.class_weights) != len(self.classes)
                or min(self.class_weights) < 0
                or sum(self.class_weights) <= 0
            ),
            "size_hw: at least 32 x 32": min(self.size_hw) < 32,
            "objects: 1 <= fewest <= most": not 1 <= self.objects[0] <= self.objects[1],
            "radius_px: 4 <= smallest <= largest": not 4 <= self.radius_px[0] <= self.radius_px[1],
            "fractions, texture and lighting: in [0, 1]": not all(0 <= value <= 1 for value in fractions),
            "overlap_fraction + touch_fraction: at most 1": self.overlap_fraction + self.touch_fraction > 1,
            "min_visible: in (0, 1]": not 0 < self.min_visible <= 1,
            "min_visible_px: at least 1": self.min_visible_px < 1,
            "contrast: in [0, 442]": not 0 <= self.contrast <= 442,
            "noise: in [0, 64]": not 0 <= self.noise <= 64,
        }
        if any(wrong.values()):
            raise ValueError("; ".join(rule for rule, broken in wrong.items() if broken))

    @property
    def probabilities(self) -> tuple[float, ...]:
        """The chance of each class, in the order of `classes`; they sum to one."""
        weights = self.class_weights or (1.0,) * len(self.classes)
        return tuple(weight / sum(weights) for weight in weights)


DEMO = SceneSpec(
    classes=("coin", "ring", "leaf", "star"),
    class_weights=(4.0, 3.0, 4.0, 1.0),
    grounds=("slate", "linen", "walnut", "moss", "dusk", "sand"),
    texture=0.6,
    noise=6,
)
"""Coins, washers, leaves and, rarely, a star, on wood, stone, cloth and sand."""

PRETRAINING = SceneSpec(classes=("object",), contrast=45.0)
"""Fourteen other families of outlines in any colour, all of one class: what base weights are trained on."""
