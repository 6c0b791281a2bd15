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

__all__ = ["Arrays", "Candidate", "moved", "pack", "unpack"]

_OFFSET = 1.0
_MARGIN = 3

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
    """What the network saw, best first; masks without a pixel are left out.

    `logits (n, mh, mw)` are those of the padded network input at a quarter of its size. The masks' run-length strings
    stand one after the other in `counts`, `uint8`, with their `ends`, `int64 (n,)`; `scores`, `float64 (n, 2)`, are
    confidence and stability. For other thresholds there is what of the logits can be seen through the `boxes`,
    `float64 (n, 4)`: one after the other in `values`, `float16`; `places`, `int64 (n, 4)`, say where: first and last
    row, first and last column, ends excluded; `low_hw` is (mh, mw). Stability is SAM's: the IoU of the masks at
    thresholds one higher and one lower.
    """
    masks, tight, wide = (box_masks(logits - offset, list(boxes), size_hw) for offset in (0.0, _OFFSET, -_OFFSET))
    kept = [number for number, mask in enumerate(masks) if mask.area_px]
    low_hw = int(logits.shape[1]), int(logits.shape[2])
    places = [_place(boxes[number], low_hw, size_hw) for number in kept]
    crops = [
        logits[number, top:bottom, left:right].ravel()
        for number, (top, bottom, left, right) in zip(kept, places, strict=True)
    ]
    counts = [masks[number].counts for number in kept]
    scores = [(float(confidences[number]), tight[number].area_px / wide[number].area_px) for number in kept]
    most = float(np.finfo(np.float16).max)
    return {
        "counts": np.frombuffer(b"".join(counts), dtype=np.uint8).copy(),
        "ends": np.cumsum([len(one) for one in counts], dtype=np.int64),
        "scores": np.array(scores, dtype=np.float64).reshape(-1, 2),
        "values": np.concatenate([np.zeros(0, dtype=np.float32), *crops]).clip(-most, most).astype(np.float16),
        "places": np.array(places, dtype=np.int64).reshape(-1, 4),
        "low_hw": np.array(low_hw, dtype=np.int64),
        "boxes": np.array([tuple(boxes[number]) for number in kept], dtype=np.float64).reshape(-1, 4),
    }


def unpack(arrays: Arrays, size_hw: SizeHW) -> list[Candidate]:
    """The masks that were packed, in the same order."""
    counts, ends = arrays["counts"].tobytes(), cast(list[int], arrays["ends"].tolist())
    masks = [Mask(counts[start:end], size_hw) for start, end in zip([0, *ends], ends, strict=False)]
    scores = cast(list[tuple[float, float]], arrays["scores"].tolist())
    return [Candidate(mask, *score) for mask, score in zip(masks, scores, strict=True)]


def moved(arrays: Arrays, number: int, size_hw: SizeHW, mask_threshold: float) -> tuple[Mask, float]:
    """Mask and stability of one candidate over another threshold than 0; both empty where nothing is over it."""
    places = arrays["places"].astype(np.int64)
    top, bottom, left, right = cast(list[int], places[number].tolist())
    start = int(((places[:number, 1] - places[:number, 0]) * (places[:number, 3] - places[:number, 2])).sum())
    values = arrays["values"][start : start + (bottom - top) * (right - left)].astype(np.float32)
    mask_h, mask_w = cast(list[int], arrays["low_hw"].tolist())
    logit = np.full((1, mask_h, mask_w), -np.finfo(np.float16).max, dtype=np.float32)
    logit[0, top:bottom, left:right] = values.reshape(bottom - top, right - left)
    box = Box(*cast(list[float], arrays["boxes"][number].tolist()))
    mask, tight, wide = (
        box_masks(logit - (mask_threshold + offset), [box], size_hw)[0] for offset in (0.0, _OFFSET, -_OFFSET)
    )
    return mask, tight.area_px / wide.area_px if mask.area_px else 0.0


def _place(box: Box, low_hw: SizeHW, size_hw: SizeHW) -> tuple[int, int, int, int]:
    """The cells that enlarging can see through a box, and a few more: padding and rounding move it by one or two."""
    scale = max(size / low for size, low in zip(size_hw, low_hw, strict=True))
    pad_y, pad_x = ((low - size / scale) / 2 for size, low in zip(size_hw, low_hw, strict=True))
    top, left = max(0, int(box.y1 / scale + pad_y) - _MARGIN), max(0, int(box.x1 / scale + pad_x) - _MARGIN)
    bottom = min(low_hw[0], int(box.y2 / scale + pad_y) + _MARGIN + 1)
    right = min(low_hw[1], int(box.x2 / scale + pad_x) + _MARGIN + 1)
    return min(top, bottom), bottom, min(left, right), right
