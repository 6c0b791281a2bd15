"""Examples to learn from: generated scenes of every size and difficulty, disturbed as photographs are."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from connectors.nano_sam.network import SQUARE
from pipeline.scenes import SceneSpec, make_scene

Bitmap = NDArray[np.bool_]
Picture = NDArray[np.float32]
"""`float32 (h, w, 3)`, 0 to 255."""

_FEWEST_PX = 40
"""Smaller objects are not asked about."""
_HARD: dict[str, Any] = {
    "overlap_fraction": 0.35,
    "touch_fraction": 0.2,
    "contrast": 30.0,
    "texture": 0.85,
    "lighting": 0.5,
    "noise": 12,
    "min_visible": 0.3,
}


@dataclass(frozen=True)
class Example:
    """`pixels float32 (3, side, side)` as the network sees them, and some of its objects, perhaps one twice."""

    pixels: NDArray[np.float32]
    masks: tuple[Bitmap, ...]


@dataclass(frozen=True)
class Mixture:
    """Scenes drawn at several sizes and enlarged to `side` pixels of the frame: (share, what to draw)."""

    side: int
    parts: tuple[tuple[float, SceneSpec], ...]


def _spec(size: int, radius_px: tuple[float, float], objects: tuple[int, int], **how: Any) -> SceneSpec:
    """All of one class, as in PRETRAINING: DEMO's shapes are never seen here."""
    how = {"min_visible_px": 50, **how}
    return SceneSpec(
        ("object",), size_hw=(size, size), radius_px=radius_px, objects=objects, empty_fraction=0, **how
    )


PIECES = Mixture(
    160,
    (
        (0.30, _spec(160, (9, 46), (2, 6), **_HARD)),
        (0.20, _spec(160, (14, 44), (2, 6))),
        (0.35, _spec(100, (9, 27), (2, 6), contrast=45.0)),
        (0.15, _spec(64, (5, 18), (2, 6), **_HARD, min_visible_px=25)),
    ),
)
"""Pieces of the frame: quick to learn from."""
FRAMES = Mixture(
    SQUARE.side,
    (
        (0.5, _spec(160, (11, 27), (3, 9), contrast=45.0)),
        (0.2, _spec(256, (10, 70), (3, 10), **_HARD)),
        (0.2, _spec(160, (8, 40), (3, 9), **_HARD)),
        (0.1, _spec(100, (6, 22), (3, 9), **_HARD, min_visible_px=25)),
    ),
)
"""Whole frames, as they are asked about later."""


def example(mixture: Mixture, objects: int, rng: np.random.Generator) -> Example:
    """One scene with `objects` of its objects."""
    shares = [share for share, _ in mixture.parts]
    spec = mixture.parts[rng.choice(len(shares), p=shares)][1]
    masks: list[Bitmap] = []
    while not masks:
        image, things = make_scene(spec, rng)
        picture, masks = _enlarged(image, [thing.visible for thing in things], mixture.side, rng)
        picture, masks = _cut(*_turned(_disturbed(picture, rng), masks, rng), rng)
        masks = [mask for mask in masks if mask.sum() >= _FEWEST_PX]
    picked = rng.choice(len(masks), objects, replace=len(masks) < objects)
    mean, std = (np.array(values, dtype=np.float32) for values in (SQUARE.mean, SQUARE.std))
    pixels = (picture - mean) / std
    return Example(np.ascontiguousarray(pixels.transpose(2, 0, 1)), tuple(masks[index] for index in picked))


def _enlarged(
    image: NDArray[np.uint8], masks: list[Bitmap], side: int, rng: np.random.Generator
) -> tuple[Picture, list[Bitmap]]:
    if image.shape[0] == side:
        return image.astype(np.float32), masks
    smooth = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_CUBIC
    grown = [cv2.resize(mask.astype(np.float32), (side, side)) > 0.5 for mask in masks]
    return cv2.resize(image, (side, side), interpolation=smooth).astype(np.float32), grown


def _disturbed(picture: Picture, rng: np.random.Generator) -> Picture:
    """Other light, other colours, none at all, out of focus, more noise: each now and then."""
    if rng.random() < 0.8:
        curved = 255 * (picture / 255) ** rng.uniform(0.7, 1.4)
        lit = curved * rng.uniform(0.75, 1.25) * rng.uniform(0.85, 1.15, 3) + rng.uniform(-20, 20)
        picture = lit.astype(np.float32)
    if rng.random() < 0.1:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < 0.2:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.3)), dtype=np.float32)
    if rng.random() < 0.2:
        picture = picture + rng.normal(0, rng.uniform(2, 10), picture.shape).astype(np.float32)
    return np.clip(picture, 0, 255)


def _turned(picture: Picture, masks: list[Bitmap], rng: np.random.Generator) -> tuple[Picture, list[Bitmap]]:
    """One of the eight ways in which a square can lie."""
    quarters, mirrored = int(rng.integers(4)), rng.random() < 0.5
    turned = [np.rot90(array, quarters) for array in (picture, *masks)]
    if mirrored:
        turned = [array[:, ::-1] for array in turned]
    picture, *masks = (np.ascontiguousarray(array) for array in turned)
    return picture, masks


def _cut(picture: Picture, masks: list[Bitmap], rng: np.random.Generator) -> tuple[Picture, list[Bitmap]]:
    """Now and then the right or the lower part is padding, as where an image is not square."""
    if rng.random() >= 0.15:
        return picture, masks
    padding: list[slice] = [slice(None), slice(None)]
    padding[int(rng.integers(2))] = slice(int(picture.shape[0] * rng.uniform(0.5, 0.95)), None)
    picture[tuple(padding)] = SQUARE.mean
    masks = [mask.copy() for mask in masks]
    for mask in masks:
        mask[tuple(padding)] = False
    return picture, masks
