"""What the click benchmark is played on: images with one true mask each, and masks disturbed to a wanted IoU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.domain.geometry import Image
from pipeline.domain.mask import Bitmap
from pipeline.formats.image import read_image
from pipeline.scenes import DEMO, PRETRAINING, SceneSpec, make_scenes

__all__ = ["HELD_OUT_SEED", "Case", "disturbed", "photographs", "scenes"]

HELD_OUT_SEED = 77_777
"""No training of this project draws scenes from it."""
_SPECS = {"demo": DEMO, "shapes": PRETRAINING}
_IGNORED = 128
_LEAST_PX = 60


@dataclass(frozen=True, eq=False)
class Case:
    """One object: `truth` is it, `ignore` what counts neither way."""

    image: Image
    truth: Bitmap
    ignore: Bitmap | None = None


def photographs(folder: Path, limit: int | None) -> Iterator[Case]:
    """Images and masks of a click set: 255 is object, 128 is ignored. A mask's name is its image's, perhaps with a
    letter more where an image has several objects."""
    for path in sorted((folder / "masks").glob("*.png"))[:limit]:
        found = [one for one in (folder / "images").iterdir() if one.stem in (path.stem, path.stem.rstrip("ab"))]
        levels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if levels is None or not found:
            raise SystemExit(f"{path} is no mask of an image")
        ignore = levels == _IGNORED
        yield Case(read_image(found[0]).image, levels > _IGNORED, ignore if ignore.any() else None)


def scenes(name: str, limit: int) -> Iterator[Case]:
    """Objects of generated scenes: `demo` is what `make demo` draws, `shapes` the families that weights are trained
    on; both from a seed that no training uses."""
    return _scenes(_SPECS[name], limit)


def _scenes(spec: SceneSpec, limit: int) -> Iterator[Case]:
    count = 0
    for image, objects in make_scenes(spec, 10 * limit, HELD_OUT_SEED):
        for thing in objects[:2]:
            if count == limit:
                return
            if thing.visible.sum() >= _LEAST_PX:
                count += 1
                yield Case(image, thing.visible)


def disturbed(truth: Bitmap, rng: np.random.Generator, low: float = 0.75, high: float = 0.85) -> Bitmap:
    """The mask with discs added and taken away along its edge until its IoU with the truth lies between the two.

    Such a mask is what a person gets to correct: a machine's mask that is nearly right (Chen et al., "FocalClick",
    CVPR 2022, start from the same range). An object too small for the range gives the nearest that was met.
    """
    size = float(np.sqrt(truth.sum()))
    best, found = truth, 1.0
    for _ in range(200):
        mask, radius = truth.copy(), size * rng.uniform(0.06, 0.2)
        for _ in range(60):
            edge = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), dtype=np.uint8))
            ys, xs = np.nonzero(edge)
            if len(ys) == 0:
                break
            at = int(rng.integers(len(ys)))
            disc = np.zeros(mask.shape, dtype=np.uint8)
            cv2.circle(disc, (int(xs[at]), int(ys[at])), max(1, round(radius)), 1, thickness=-1)
            mask = mask | (disc > 0) if rng.random() < 0.5 else mask & (disc == 0)
            iou = float((mask & truth).sum() / (mask | truth).sum())
            if abs(iou - 0.8) < abs(found - 0.8):
                best, found = mask, iou
            if iou < high:
                break
        if low <= found <= high:
            return best
    return best
