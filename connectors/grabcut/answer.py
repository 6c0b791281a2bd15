"""From the scores of a cut to a mask, and what the scores say about it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from connectors.grabcut.cut import BARELY, SURE, Cut
from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Bitmap, Mask
from pipeline.domain.prompts import Logits, MaskPrediction

__all__ = ["logits_hw", "prediction"]

_LOGITS_SIDE = 256
_OFFSET = 1.0


def prediction(
    result: Cut, prior: Bitmap, box: Box | None, threshold: float, mask_threshold: float = 0.0
) -> MaskPrediction:
    """The mask where scores exceed `threshold` by more than `mask_threshold`; beyond the window it is `prior`.

    `predicted_iou` is a heuristic and no estimate of a network: the share of open pixels that the colours alone
    would put on the same side; if a box was asked for, the geometric mean of that and of the box's IoU with the
    mask's tight box. It is 1 where nothing was open. `stability` is that of SAM: the IoU of the masks at
    thresholds one lower and one higher. An empty mask has neither (0). `logits` have at most 256 pixels a side.
    """
    rows, columns = result.window.slices
    # Column by column is how masks are encoded.
    bitmap = np.zeros(prior.shape, dtype=np.bool_, order="F")
    bitmap[...] = prior
    beyond_px = int(prior.sum()) - int(prior[rows, columns].sum())
    edge = threshold + mask_threshold
    inside = result.scores > edge
    bitmap[rows, columns] = inside
    mask, logits = Mask.from_bitmap(bitmap), _logits(result, prior, threshold)
    if mask.box is None:
        return MaskPrediction(mask, 0.0, 0.0, logits)
    agreement = _agreement(result.scores, inside)
    quality = agreement if box is None else float(np.sqrt(agreement * box.iou(mask.box)))
    tight_px, wide_px = (int((result.scores > edge + offset).sum()) + beyond_px for offset in (_OFFSET, -_OFFSET))
    return MaskPrediction(mask, quality, tight_px / wide_px, logits)


def logits_hw(size_hw: SizeHW) -> SizeHW:
    """The size of the logits that come with an image of `size_hw`."""
    scale = min(1.0, _LOGITS_SIDE / max(size_hw))
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def _agreement(scores: npt.NDArray[np.float32], inside: Bitmap) -> float:
    """The share of open pixels whose colours say what the mask says."""
    is_open = np.abs(scores) < SURE
    if not is_open.any():
        return 1.0
    agrees = (np.abs(scores) > BARELY) & ((scores > 0) == inside)
    return float(agrees[is_open].mean())


def _logits(result: Cut, prior: Bitmap, threshold: float) -> Logits:
    """The scores of the whole image over the threshold, at a smaller scale."""
    size_hw = int(prior.shape[0]), int(prior.shape[1])
    small_hw = logits_hw(size_hw)
    whole: npt.NDArray[np.float32] = np.where(prior, np.float32(SURE), np.float32(-SURE))
    whole[result.window.slices] = result.scores - threshold
    if small_hw == size_hw:
        return whole
    return np.asarray(cv2.resize(whole, small_hw[::-1], interpolation=cv2.INTER_AREA), dtype=np.float32)
