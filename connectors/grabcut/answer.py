"""From the scores of a cut to a mask, and what the scores say about it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from connectors.grabcut.cut import SURE, Cut
from pipeline.domain.mask import Bitmap, Mask
from pipeline.domain.prompts import Logits, MaskPrediction

__all__ = ["prediction"]

_LOGITS_SIDE = 256
_OFFSET = 1.0
_TEMPERATURE = 2.0


def prediction(result: Cut, prior: Bitmap, threshold: float) -> MaskPrediction:
    """The mask where scores exceed `threshold`; beyond the window it is `prior`.

    `predicted_iou` is a heuristic: the IoU to be expected if each open pixel were object with the probability
    that its score stands for, independently. `stability` is that of SAM: the IoU of the masks at a threshold one
    lower and one higher. An empty mask has neither (0). `logits` have at most 256 pixels a side.
    """
    rows, columns = result.window.slices
    # Column by column is how masks are encoded.
    bitmap = np.zeros(prior.shape, dtype=np.bool_, order="F")
    bitmap[...] = prior
    beyond_px = int(prior.sum()) - int(prior[rows, columns].sum())
    inside = result.scores > threshold
    bitmap[rows, columns] = inside
    logits = _logits(result, prior, threshold)
    if not inside.any() and not beyond_px:
        return MaskPrediction(Mask.from_bitmap(bitmap), 0.0, 0.0, logits)
    probability = 1.0 / (1.0 + np.exp(-result.scores.astype(np.float64) / _TEMPERATURE))
    expected = (probability[inside].sum() + beyond_px) / (inside.sum() + probability[~inside].sum() + beyond_px)
    tight_px, wide_px = (
        int((result.scores > threshold + offset).sum()) + beyond_px for offset in (_OFFSET, -_OFFSET)
    )
    return MaskPrediction(Mask.from_bitmap(bitmap), float(expected), tight_px / wide_px, logits)


def _logits(result: Cut, prior: Bitmap, threshold: float) -> Logits:
    """The scores of the whole image over the threshold, at a smaller scale."""
    height, width = prior.shape
    scale = min(1.0, _LOGITS_SIDE / max(height, width))
    small = max(1, round(width * scale)), max(1, round(height * scale))
    whole: npt.NDArray[np.float32] = np.where(prior, SURE, -SURE).astype(np.float32)
    whole[result.window.slices] = result.scores - threshold
    if scale == 1.0:
        return whole
    return np.asarray(cv2.resize(whole, small, interpolation=cv2.INTER_AREA), dtype=np.float32)
