"""Everything that was seen in an image, as plain arrays and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from connectors.ultralytics.masks import box_masks
from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Mask

__all__ = ["Candidate", "pack", "unpack"]

_OFFSET = 1.0

Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Candidate:
    """One mask, not empty, with the network's confidence and the mask's stability, both in [0, 1]."""

    mask: Mask
    confidence: float
    stability: float


def pack(
    logits: npt.NDArray[np.float32], boxes: Sequence[Box], confidences: npt.NDArray[np.float32], size_hw: SizeHW
) -> Arrays:
    """What the network saw, best first: `logits (n, mh, mw)`, of which the encoding keeps what can be seen through the
    boxes, one after the other in `values` (`float16`); `places`, `int64 (n, 4)`, say where: first and last row, first
    and last column, ends excluded; `low_hw` is (mh, mw), `boxes` `float64 (n, 4)`, `confidences` `float64 (n,)`."""
    low_h, low_w = logits.shape[1:]
    height, width = size_hw
    # Padding and rounding move a box by a cell or two at most; the margin covers that.
    scale = max(height / low_h, width / low_w)
    pad_y, pad_x = (low_h - height / scale) / 2, (low_w - width / scale) / 2
    places = [
        (
            max(0, int(box.y1 / scale + pad_y) - 3),
            min(low_h, int(box.y2 / scale + pad_y) + 4),
            max(0, int(box.x1 / scale + pad_x) - 3),
            min(low_w, int(box.x2 / scale + pad_x) + 4),
        )
        for box in boxes
    ]
    crops = [
        logit[top:bottom, left:right] for logit, (top, bottom, left, right) in zip(logits, places, strict=True)
    ]
    values = np.concatenate([np.zeros(0, dtype=np.float32), *(crop.ravel() for crop in crops)])
    return {
        "values": values.clip(-60000, 60000).astype(np.float16),
        "places": np.array(places, dtype=np.int64).reshape(-1, 4),
        "low_hw": np.array([low_h, low_w], dtype=np.int64),
        "boxes": np.array([tuple(box) for box in boxes], dtype=np.float64).reshape(-1, 4),
        "confidences": np.asarray(confidences, dtype=np.float64),
    }


def unpack(arrays: Arrays, size_hw: SizeHW, mask_threshold: float = 0.0) -> list[Candidate]:
    """The masks that are not empty over `mask_threshold`, in the same order.

    Stability is SAM's: the IoU of the masks at thresholds one higher and one lower.
    """
    places = cast(list[list[int]], arrays["places"].tolist())
    boxes = [Box(*row) for row in cast(list[tuple[float, float, float, float]], arrays["boxes"].tolist())]
    low_hw = cast(list[int], arrays["low_hw"].tolist())
    values = arrays["values"].astype(np.float32)
    candidates, start = [], 0
    for (top, bottom, left, right), box, confidence in zip(
        places, boxes, cast(list[float], arrays["confidences"].tolist()), strict=True
    ):
        logit = np.full((1, *low_hw), -1e4, dtype=np.float32)
        end = start + (bottom - top) * (right - left)
        logit[0, top:bottom, left:right] = values[start:end].reshape(bottom - top, right - left) - mask_threshold
        start = end
        mask, tight, wide = (box_masks(logit - offset, [box], size_hw)[0] for offset in (0.0, _OFFSET, -_OFFSET))
        if mask.area_px:
            candidates.append(Candidate(mask, confidence, tight.area_px / wide.area_px))
    return candidates
