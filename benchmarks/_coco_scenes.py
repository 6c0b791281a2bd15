"""Truth and detections of COCO's density, made up: 80 classes, 7.3 objects an image, masks as run lengths."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Proposal
from pipeline.domain.records import Instance, Origin, OriginKind, State

__all__ = ["CLASSES", "SIZE_HW", "Scene", "scenes"]

CLASSES = tuple(f"class {number}" for number in range(80))
SIZE_HW = (480, 640)
_OBJECTS = 7.3
_PERSON = Origin(OriginKind.HUMAN, "simulated")
_SHAPES = 200
"""So many shapes, each at places of its own: an evaluation does not care whether two objects look alike."""


@dataclass(frozen=True)
class Scene:
    """What is in an image, and what a simulated detector says of it."""

    name: str
    truth: tuple[Instance, ...]
    found: tuple[Proposal, ...]


def scenes(images: int, detections: float, seed: int = 0) -> list[Scene]:
    """`detections` an image on average: most near a truth, some of the wrong class, the rest of nothing at all.

    Sizes follow COCO's: about 41 % small, 34 % medium and 24 % large (Lin et al. 2014).
    """
    rng = np.random.default_rng(seed)
    shapes = [_shape(float(side), rng) for side in np.exp(rng.normal(3.7, 1.0, _SHAPES)).clip(4, 400)]
    made = []
    for number in range(images):
        truth, found = [], []
        popular = rng.zipf(1.5, 1 + rng.poisson(_OBJECTS - 1)) % len(CLASSES)
        for index, label in enumerate(popular):
            shape = shapes[rng.integers(_SHAPES)]
            y, x = rng.integers(0, np.subtract(SIZE_HW, shape.shape, dtype=np.int64) + 1)
            mask = Mask.from_crop(shape, int(x), int(y), SIZE_HW)
            truth.append(Instance(f"{number}-{index}", CLASSES[label], _box(mask), mask, _PERSON, State.DRAWN))
            found += _guesses(shape, (int(x), int(y)), int(label), detections / _OBJECTS, rng)
        made.append(Scene(f"image {number}", tuple(truth), tuple(found)))
    return made


def _shape(side: float, rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """A blob that fills about half of its box, which may be twice as wide as high."""
    ratio = float(rng.uniform(0.7, 1.4))
    height, width = (int(np.clip(value, 3, 460)) for value in (side * ratio, side / ratio))
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    waves = sum(rng.uniform(-0.12, 0.12) * np.sin(k * angles + rng.uniform(0, 6)) for k in range(2, 8))
    radii = 0.38 * (1 + waves)
    points = np.stack([width * (0.5 + radii * np.cos(angles)), height * (0.5 + radii * np.sin(angles))], axis=1)
    canvas = np.zeros((height, width), dtype=np.uint8)
    cv2.fillPoly(canvas, [points.astype(np.int32)], 1)
    return canvas > 0


def _guesses(
    shape: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    at: tuple[int, int],
    label: int,
    number: float,
    rng: np.random.Generator,
) -> list[Proposal]:
    guesses = []
    for _ in range(rng.poisson(number)):
        grown = rng.normal(1.0, 0.12, 2).clip(0.6, 1.6)
        size = np.clip((np.array(shape.shape[::-1]) * grown).round(), 2, SIZE_HW[::-1]).astype(int)
        moved = cv2.resize(shape.astype(np.uint8), size.tolist(), interpolation=cv2.INTER_NEAREST) > 0
        near = np.array(at) + rng.normal(0, 0.12, 2) * size
        lost = rng.random() < 0.25
        corner = rng.uniform(0, 1, 2) * (np.array(SIZE_HW[::-1]) - size) if lost else near
        x, y = np.clip(corner.round(), 0, np.array(SIZE_HW[::-1]) - size).astype(int)
        if not moved.any():
            continue
        mask = Mask.from_crop(moved, int(x), int(y), SIZE_HW)
        right = label if rng.random() < 0.8 else int(rng.integers(len(CLASSES)))
        confidence = float(np.round(rng.beta(1, 4) if lost else rng.beta(2, 2), 3))
        guesses.append(Proposal(_box(mask), CLASSES[right], confidence, mask=mask))
    return guesses


def _box(mask: Mask) -> Box:
    if mask.box is None:
        raise ValueError("an object without pixels")
    return mask.box
