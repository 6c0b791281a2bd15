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
from connectors.grabcut.colours import fit, log_likelihood
from connectors.grabcut.region import PROBABLY, PROBABLY_NOT, SURELY, Task, Trimap, Window
from pipeline.domain.geometry import Image
from pipeline.domain.mask import Bitmap

__all__ = ["BARELY", "SURE", "Cut", "cut", "settled"]

SURE = 20.0
"""The score of a pixel that was not open."""

BARELY = 0.25
"""The score of an open pixel that its colours alone would put on the other side."""

_MOST = 8.0
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


def cut(image: Image, task: Task, clicks: Sequence[Pin], *, iterations: int, max_side: int) -> Cut:
    """Cut a window; every click ends on the side that it names.

    A window longer than `max_side` pixels is cut at a smaller scale, and its scores are scaled back.
    """
    crop, trimap = np.ascontiguousarray(image[task.window.slices]), pinned(task.trimap, task.window, clicks)
    scores = np.where((trimap == SURELY) | (trimap == PROBABLY), SURE, -SURE).astype(np.float32)
    is_open = (trimap == PROBABLY) | (trimap == PROBABLY_NOT)
    if not is_open.any() or not len(task.object_pixels) or not len(task.background_pixels):
        return Cut(task.window, scores)
    height, width = trimap.shape
    scale = min(1.0, max_side / max(height, width))
    if scale < 1.0:
        small = max(1, round(width * scale)), max(1, round(height * scale))
        crop = np.asarray(cv2.resize(crop, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        trimap = np.asarray(cv2.resize(trimap, small, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    found = _scores(crop, trimap, task, iterations)
    if scale < 1.0:
        found = np.asarray(cv2.resize(found, (width, height)), dtype=np.float32)
    scores[is_open] = found[is_open]
    return Cut(task.window, scores)


def _scores(crop: Image, trimap: Trimap, task: Task, iterations: int) -> npt.NDArray[np.float32]:
    object_model, background_model = fit(task.object_pixels), fit(task.background_pixels)
    labels = trimap.copy()
    mode = cv2.GC_EVAL if iterations else cv2.GC_EVAL_FREEZE_MODEL
    cv2.grabCut(crop, labels, _NO_BOX, background_model, object_model, max(1, iterations), mode)
    inside = (labels == SURELY) | (labels == PROBABLY)
    pixels = crop.reshape(-1, 3)
    ratio = log_likelihood(object_model, pixels) - log_likelihood(background_model, pixels)
    bounded = np.clip(ratio.reshape(inside.shape), -_MOST, _MOST)
    agreed: npt.NDArray[np.float32] = np.where(
        inside, np.maximum(bounded, BARELY), np.minimum(bounded, -BARELY)
    ).astype(np.float32)
    return agreed
