"""`mask_tools`: polygons by the box, beside the whole frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from benchmarks._harness import alternate
from benchmarks._many_masks import blob
from pipeline.domain.contours import Ring, trace
from pipeline.domain.mask import Mask

__all__ = ["contours", "in_the_frame", "same_contours"]

GOAL = 5.0
FRAMES = {"480p": (480, 640), "1080p": (1080, 1920), "2160p": (2160, 3840)}
SHARES = (0.001, 0.01, 0.05)
_MASKS = 20


def contours(pairs: int) -> dict[str, Any]:
    """How many times faster than the whole frame, by frame and by the object's share of it."""
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {"masks_a_measurement": _MASKS}
    same = True
    for name, size_hw in FRAMES.items():
        for part in SHARES:
            masks = [Mask.from_bitmap(blob(size_hw, part, rng)) for _ in range(_MASKS)]
            same &= all(same_contours(mask) for mask in masks)
            ours = alternate(partial(_by_box, masks), partial(_whole, masks), pairs)
            other = alternate(partial(_by_box, masks), partial(_opencv, masks), pairs)
            low, high = ours.ci95
            found[f"{name}, {part:.1%} of it"] = {
                "ms": 1e3 * float(np.median(ours.ours_s)) / _MASKS,
                "faster": 1 / ours.ratio,
                "ci95": (1 / high, 1 / low),
                "faster than cv2's": 1 / other.ratio,
            }
    return found | {"same contours": same, "goal": GOAL, "held": same}


def in_the_frame(mask: Mask) -> list[Ring]:
    """Outer contours without the box: everything decoded, everything looked at."""
    return trace(np.ascontiguousarray(coco_mask.decode(mask.rle)).astype(np.bool_)).outer


def same_contours(mask: Mask) -> bool:
    """Ours in the box and in the frame; and OpenCV's in the frame and in the box."""
    ours = zip(mask.polygons(), in_the_frame(mask), strict=True)
    corner, crop = mask.crop()
    inside = [ring + corner.astype(np.int32) for ring in _found(crop.astype(np.uint8))]
    theirs = zip(inside, _found(coco_mask.decode(mask.rle)), strict=True)
    return all(np.array_equal(first, second) for pairs in (ours, theirs) for first, second in pairs)


def _found(image: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.int32]]:
    rings, _ = cv2.findContours(np.ascontiguousarray(image), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [np.asarray(ring, dtype=np.int32) for ring in rings]


def _by_box(masks: Sequence[Mask]) -> None:
    for mask in masks:
        Mask(mask.counts, mask.size_hw).polygons()  # a new one: it remembers nothing


def _whole(masks: Sequence[Mask]) -> None:
    for mask in masks:
        in_the_frame(mask)


def _opencv(masks: Sequence[Mask]) -> None:
    for mask in masks:
        _found(coco_mask.decode(mask.rle))
