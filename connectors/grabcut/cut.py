"""The graph cut of one window, and how sure it is of every pixel.

Rother, Kolmogorov, Blake, "GrabCut: interactive foreground extraction using iterated graph cuts"
(SIGGRAPH 2004), as OpenCV implements it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from connectors.grabcut.clicks import Pin, pinned
from connectors.grabcut.colours import Mixture, fit, log_likelihood, sharper
from connectors.grabcut.region import PROBABLY, PROBABLY_NOT, SURELY, Task, Trimap, Window, spread
from pipeline.domain.geometry import Box, Image, SizeHW
from pipeline.domain.mask import Bitmap

__all__ = ["BARELY", "SURE", "Cut", "cut", "settled"]

SURE = 20.0
"""The score of a pixel that was not open."""

BARELY = 0.25
"""The score of an open pixel that its colours alone would put on the other side."""

_MOST = 8.0
_SHARPER = 4.0
_FILLED = 0.8
_LOST = 0.25
_NO_BOX = (0, 0, 1, 1)


@dataclass(frozen=True, eq=False)
class Cut:
    """`float32 (h, w)` scores of a window's pixels, > 0 is object.

    An open pixel's score is the logarithm of the likelihood ratio of the two colour models, within [-8, 8],
    where that agrees with the cut, and 0.25 over or under zero where only smoothness decided.
    """

    window: Window
    scores: npt.NDArray[np.float32]


def settled(prior: Bitmap) -> Cut:
    """Nothing was open: the prior itself."""
    height, width = prior.shape
    return Cut(Window(0, 0, width, height), np.where(prior, SURE, -SURE).astype(np.float32))


def cut(
    image: Image, task: Task, clicks: Sequence[Pin], *, iterations: int, max_side: int, box: Box | None = None
) -> Cut:
    """Cut a window; every click ends on the side that it names.

    A window longer than `max_side` pixels is cut at a smaller scale, and its scores are scaled back. `box` is
    what the object is known to fill from side to side.
    """
    crop, trimap = np.ascontiguousarray(image[task.window.slices]), pinned(task.trimap, task.window, clicks)
    scores = np.where((trimap == SURELY) | (trimap == PROBABLY), np.float32(SURE), np.float32(-SURE))
    is_open = _open(trimap)
    if not is_open.any() or not len(task.object_pixels) or not len(task.background_pixels):
        return Cut(task.window, scores)
    height, width = trimap.shape
    scale = min(1.0, max_side / max(height, width))
    if scale < 1.0:
        small = max(1, round(width * scale)), max(1, round(height * scale))
        crop = np.asarray(cv2.resize(crop, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        trimap = np.asarray(cv2.resize(trimap, small, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    wanted = None if box is None else _within(box, task.window, (trimap.shape[0], trimap.shape[1]))
    found = _scores(crop, trimap, task, iterations, wanted)
    if scale < 1.0:
        found = np.asarray(cv2.resize(found, (width, height)), dtype=np.float32)
    scores[is_open] = found[is_open]
    return Cut(task.window, scores)


def _open(trimap: Trimap) -> Bitmap:
    is_open: Bitmap = (trimap == PROBABLY) | (trimap == PROBABLY_NOT)
    return is_open


def _within(box: Box, window: Window, size_hw: SizeHW) -> Box:
    """The box in the pixels of a crop of `size_hw` that shows the window."""
    down, across = (size / whole for size, whole in zip(size_hw, window.size_hw, strict=True))
    return Box(
        (box.x1 - window.left) * across,
        (box.y1 - window.top) * down,
        (box.x2 - window.left) * across,
        (box.y2 - window.top) * down,
    )


def _scores(crop: Image, trimap: Trimap, task: Task, iterations: int, box: Box | None) -> npt.NDArray[np.float32]:
    models = fit(task.object_pixels), fit(task.background_pixels)
    if iterations:
        inside = _labelled(crop, trimap, models, iterations)
    else:
        inside = _filling(crop, trimap, models, box)
    scores = np.where(inside, np.float32(_MOST), np.float32(-_MOST))
    is_open = _open(trimap)
    pixels, chosen = crop[is_open], inside[is_open]
    ratio = log_likelihood(models[0], pixels) - log_likelihood(models[1], pixels)
    bounded = np.clip(ratio, -_MOST, _MOST)
    scores[is_open] = np.where(chosen, np.maximum(bounded, BARELY), np.minimum(bounded, -BARELY))
    return scores


def _filling(crop: Image, trimap: Trimap, models: tuple[Mixture, Mixture], box: Box | None) -> Bitmap:
    """The cut; where it fills its box badly, another one, if that fills it better.

    Smoothness lets a cut shrink to a part of the object, or to nothing; but an object reaches all sides of its box
    (Lempitsky et al., "Image segmentation with a bounding box prior", ICCV 2009). In the other cut colours count
    four times as much against smoothness. Where next to nothing is left of both, the middle is taken for granted.
    """
    first = _labelled(crop, trimap, models, 0)
    if box is None or _filled(first, box) >= _FILLED:
        return first
    other = _labelled(crop, trimap, (sharper(models[0], _SHARPER), sharper(models[1], _SHARPER)), 0)
    best = max(first, other, key=lambda inside: _filled(inside, box))
    if _filled(best, box) >= _LOST:
        return best
    cored = _core(trimap, box)
    seen = crop[cored == SURELY]
    return _labelled(crop, cored, (fit(seen), models[1]), 0) if len(seen) else best


def _core(trimap: Trimap, box: Box) -> Trimap:
    """The same, but what is open in the middle of the box, an ellipse of half its sides, is surely object.

    Whoever drew the box says that something is there, even where its colours are those around it: cells among
    cells.
    """
    height, width = trimap.shape
    y, x = np.mgrid[:height, :width] + 0.5
    across, down = (x - (box.x1 + box.x2) / 2) / box.width, (y - (box.y1 + box.y2) / 2) / box.height
    cored = trimap.copy()
    cored[(across**2 + down**2 <= 0.25**2) & _open(trimap)] = SURELY
    return cored


def _filled(inside: Bitmap, box: Box) -> float:
    """The IoU of the box and the tight box of the bitmap."""
    return Box(*map(float, spread(inside, 0.0))).iou(box) if inside.any() else 0.0


def _labelled(crop: Image, trimap: Trimap, models: tuple[Mixture, Mixture], iterations: int) -> Bitmap:
    """What the cut calls object; with `iterations` the models are fitted to it in place, again and again."""
    labels, mode = trimap.copy(), cv2.GC_EVAL if iterations else cv2.GC_EVAL_FREEZE_MODEL
    cv2.grabCut(crop, labels, _NO_BOX, models[1], models[0], max(1, iterations), mode)
    inside: Bitmap = (labels == SURELY) | (labels == PROBABLY)
    return inside
