"""`mask_tools`: polygons read off the run lengths, beside those of the whole frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from benchmarks._harness import alternate
from benchmarks._many_masks import blob
from pipeline.domain.contours import Ring, trace
from pipeline.domain.mask import Mask
from pipeline.domain.run_lengths import runs_of

__all__ = ["contours", "in_the_frame", "same_contours"]

GOAL = 5.0
FRAMES = {"480p": (480, 640), "1080p": (1080, 1920), "2160p": (2160, 3840)}
SHARES = (0.001, 0.01, 0.05)
_MASKS = 20


def contours(pairs: int) -> dict[str, Any]:
    """How many times faster than OpenCV in the whole frame, by frame and by the object's share of it."""
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {"masks_a_measurement": _MASKS}
    same, ratios = True, []
    for name, size_hw in FRAMES.items():
        for part in SHARES:
            masks = [Mask.from_bitmap(blob(size_hw, part, rng)) for _ in range(_MASKS)]
            same &= all(same_contours(mask) for mask in masks)
            times = alternate(partial(_ours, masks), partial(_in_the_frame, masks), pairs)
            low, high = times.ci95
            ratios.append(1 / times.ratio)
            found[f"{name}, {part:.1%} of it"] = {
                "ms": 1e3 * float(np.median(times.ours_s)) / _MASKS,
                "faster": ratios[-1],
                "ci95": (1 / high, 1 / low),
            }
    return found | {"same contours": same, "goal": GOAL, "held": same and min(ratios) >= GOAL}


def in_the_frame(mask: Mask) -> list[Ring]:
    """Outer contours by the pixels of the whole frame, which are decoded by pycocotools."""
    bitmap = coco_mask.decode(mask.rle).astype(np.bool_)
    return trace(runs_of(bitmap, 0, 0, mask.size_hw), mask.size_hw[0]).outer


def same_contours(mask: Mask) -> bool:
    """The rings are those of the decoded frame, and what they enclose is what OpenCV's contours enclose."""
    rings = mask.polygons()
    if not all(np.array_equal(first, second) for first, second in zip(rings, in_the_frame(mask), strict=True)):
        return False
    filled = np.zeros(mask.size_hw, dtype=np.uint8)
    cv2.drawContours(filled, _found(mask), -1, 1, cv2.FILLED)
    return bool(np.array_equal(Mask.from_polygons(rings, mask.size_hw).bitmap(), filled > 0))


def _found(mask: Mask) -> Sequence[cv2.typing.MatLike]:
    """As it is usually done: the frame is decoded, and searched."""
    frame = np.ascontiguousarray(coco_mask.decode(mask.rle))
    return cv2.findContours(frame, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]


def _ours(masks: Sequence[Mask]) -> None:
    for mask in masks:
        Mask(mask.counts, mask.size_hw).polygons()  # a new one: it remembers nothing


def _in_the_frame(masks: Sequence[Mask]) -> None:
    for mask in masks:
        _found(mask)
