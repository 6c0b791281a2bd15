"""YOLO's mask logits as masks of the image's own size.

Ultralytics enlarges the logits of each object to the whole image, thresholds them and cuts the box out
(`ops.process_mask_native`). Enlarging is bilinear, thus linear and separable: two small matrices do the same, and
only the rows and columns of the box need to be made. The masks are the same; a picture-sized array per object is
never built.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Mask

__all__ = ["box_masks"]

Matrix = npt.NDArray[np.float32]

PROTOTYPE_STRIDE = 4
"""Prototypes are a quarter of the network's input in each direction."""


def box_masks(logits: npt.NDArray[np.float32], boxes: list[Box], size_hw: SizeHW) -> list[Mask]:
    """Masks of `size_hw`, one per box, empty where no logit in the box is positive.

    `logits` is `float32 (n, mh, mw)` over the padded network input at a quarter of its size; boxes are in image
    pixels. A pixel (row i, column j) counts as inside the box if x1 <= j < x2 and y1 <= i < y2, as in Ultralytics.
    """
    if not boxes:
        return []
    rows, columns = _enlargers(logits.shape[1], logits.shape[2], size_hw)
    return [_one(logit, box, rows, columns, size_hw) for logit, box in zip(logits, boxes, strict=True)]


def _one(logit: npt.NDArray[np.float32], box: Box, rows: Matrix, columns: Matrix, size_hw: SizeHW) -> Mask:
    left, top = max(0, math.ceil(box.x1)), max(0, math.ceil(box.y1))
    right, bottom = min(size_hw[1], math.ceil(box.x2)), min(size_hw[0], math.ceil(box.y2))
    if right <= left or bottom <= top:
        return Mask.empty(size_hw)
    down, first_row, last_row = _band(rows[top:bottom])
    across, first_column, last_column = _band(columns[left:right])
    crop = down @ logit[first_row:last_row, first_column:last_column] @ across.T
    return Mask.from_crop(crop > 0, left, top, size_hw)


def _band(weights: Matrix) -> tuple[Matrix, int, int]:
    """The columns of a slice of an enlarging matrix that are not all zero, and where they begin and end."""
    used = np.flatnonzero(weights.any(axis=0))
    first, last = int(used[0]), int(used[-1]) + 1
    return weights[:, first:last], first, last


@lru_cache(maxsize=64)
def _enlargers(mask_h: int, mask_w: int, size_hw: SizeHW) -> tuple[Matrix, Matrix]:
    """Matrices `(h, mask_h)` and `(w, mask_w)` that take padded logits to the image: down and across.

    They are what Ultralytics does to the axes, done to unit vectors: enlarge so far that the padding ends on a
    whole pixel, cut the padding off, resize what is left.
    """
    import torch
    import torch.nn.functional as nn

    height, width = size_hw
    input_h, input_w = PROTOTYPE_STRIDE * mask_h, PROTOTYPE_STRIDE * mask_w
    gain = min(input_h / height, input_w / width)
    pad = (input_h - max(round(height * gain), 1)) | (input_w - max(round(width * gain), 1))
    factor = PROTOTYPE_STRIDE // math.gcd(PROTOTYPE_STRIDE, pad | pad // 2)
    gain = min(factor * mask_h / height, factor * mask_w / width)

    def axis(length: int, size: int) -> Matrix:
        unit: Any = torch.eye(length).unsqueeze(0)
        if factor > 1:
            unit = nn.interpolate(unit, scale_factor=factor, mode="linear")
        content = max(round(size * gain), 1)
        begin = round((factor * length - content) / 2 - 0.1)
        if (factor * mask_h, factor * mask_w) != size_hw:
            unit = nn.interpolate(unit[..., begin : begin + content], size, mode="linear")
        return np.ascontiguousarray(unit[0].T.numpy())

    return axis(mask_h, height), axis(mask_w, width)
