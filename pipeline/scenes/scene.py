"""Scenes with exact truth: what is drawn is labelled, and what is labelled can be seen."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.scenes import painting
from pipeline.scenes.catalogue import KINDS
from pipeline.scenes.colours import RAMPS, Ramp, distance, random_ramp
from pipeline.scenes.placement import Layout
from pipeline.scenes.shapes import SHAPES
from pipeline.scenes.spec import SceneSpec
from pipeline.scenes.sprites import rasterise
from pipeline.scenes.textures import FIELDS

_COLOUR_DRAWS = 12


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One object of a scene.

    Attributes:
        label: its class.
        visible: (h, w) bool, exactly the pixels where it is seen: without its holes, without what lies
            over it, so that it may have several parts.
    """

    label: str
    visible: NDArray[np.bool_]


Scene = tuple[NDArray[np.uint8], tuple[SceneObject, ...]]
"""The image, uint8 (h, w, 3) RGB, and its objects, lowest first."""


def make_scene(spec: SceneSpec, rng: np.random.Generator) -> Scene:
    """Draw one scene. Every object in the picture is in the truth, with no fewer pixels than `spec` asks."""
    ground = _any_ramp(spec.grounds, rng)
    canvas = painting.surface(spec.size_hw, _one_of(tuple(FIELDS), rng), ground, spec.texture, rng)
    layout = _lay_out(spec, rng)
    for label, spot in zip(layout.labels, layout.spots, strict=True):
        kind = KINDS[label]
        ramp = _contrasting_ramp(kind.ramps, ground, spec.contrast, rng)
        skin = painting.surface(spot.sprite.size_hw, _one_of(kind.fields, rng), ramp, spec.texture, rng)
        painting.add_object(canvas, spot, skin)
    painting.add_light(canvas, spec.lighting, rng)
    painting.add_noise(canvas, spec.noise, rng)
    image = np.clip(canvas, 0, 255).astype(np.uint8)
    return image, tuple(SceneObject(label, layout.topmost == index) for index, label in enumerate(layout.labels))


def scene_at(spec: SceneSpec, seed: int, index: int) -> Scene:
    """Scene number `index` of the endless series that `spec` and `seed` fix."""
    return make_scene(spec, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,))))


def make_scenes(spec: SceneSpec, count: int, seed: int) -> Iterator[Scene]:
    """The first `count` scenes of the series; a longer run begins with the same ones."""
    return (scene_at(spec, seed, index) for index in range(count))


def _lay_out(spec: SceneSpec, rng: np.random.Generator) -> Layout:
    layout = Layout(spec)
    if rng.random() < spec.empty_fraction:
        return layout
    for _ in range(rng.integers(spec.objects[0], spec.objects[1] + 1)):
        label = spec.classes[rng.choice(len(spec.classes), p=spec.probabilities)]
        radius_px = rng.uniform(*spec.radius_px)
        outline = SHAPES[_one_of(KINDS[label].shapes, rng)](rng)
        layout.add(label, rasterise(outline, radius_px, rng), rng)
    return layout


def _one_of(names: tuple[str, ...], rng: np.random.Generator) -> str:
    return names[rng.integers(len(names))]


def _any_ramp(names: tuple[str, ...], rng: np.random.Generator) -> Ramp:
    return RAMPS[_one_of(names, rng)] if names else random_ramp(rng)


def _contrasting_ramp(names: tuple[str, ...], ground: Ramp, contrast: float, rng: np.random.Generator) -> Ramp:
    """The first of a few draws that is `contrast` away from the ground, or else the farthest of them."""
    draws = [_any_ramp(names, rng) for _ in range(_COLOUR_DRAWS)]
    far = [ramp for ramp in draws if distance(ramp, ground) >= contrast]
    return far[0] if far else max(draws, key=lambda ramp: distance(ramp, ground))
