"""Which instance of one account of an image is which of another: by id, or by how well their shapes agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import box_iou
from pipeline.domain.mask import mask_iou
from pipeline.domain.records import Instance

__all__ = ["agreement", "has_mask", "match", "pieces", "same_objects"]


def has_mask(instance: Instance) -> bool:
    return instance.mask is not None and instance.mask.area_px > 0


def match(shown: Sequence[Instance], truth: Sequence[Instance], floor: float) -> dict[int, int]:
    """Index of the true object -> index of the shown one: one to one, best agreement first, none below `floor`.

    Masks are compared where both sides have one, else boxes. Of equal agreements the one with the right
    label comes first, then the earlier ones. Raises ShapeMismatch for masks of several sizes.
    """
    table = agreement(shown, truth)
    pairs = sorted(
        (-table[s, t], shown[s].label != truth[t].label, t, s) for s, t in np.argwhere(table >= floor).tolist()
    )
    matched: dict[int, int] = {}
    taken: set[int] = set()
    for _, _, t, s in pairs:
        if t not in matched and s not in taken:
            matched[t] = s
            taken.add(s)
    return matched


def same_objects(upper: Sequence[Instance], lower: Sequence[Instance], floor: float) -> set[str]:
    """The ids of the `lower` instances that `upper` speaks of: those with the same id, then one-to-one by shape.

    The order of either side does not matter. Above an IoU of 0.5 at most one of several disjoint masks can match
    (Kirillov et al. 2019, Panoptic Segmentation, https://arxiv.org/abs/1801.00868).
    """
    named = {item.id for item in upper} & {item.id for item in lower}
    above = sorted((item for item in upper if item.id not in named), key=lambda item: item.id)
    below = sorted((item for item in lower if item.id not in named), key=lambda item: item.id)
    return named | {below[index].id for index in match(above, below, floor)} if above and below else named


def pieces(upper: Sequence[Instance], lower: Sequence[Instance]) -> set[str]:
    """The ids of the `lower` instances of which more than half lies inside one of `upper` with the same label."""
    found = set()
    for item in lower:
        around = [other.mask for other in upper if other.label == item.label and other.mask is not None]
        if item.mask is not None and around and item.mask.share_inside(around).max() > 0.5:
            found.add(item.id)
    return found


def agreement(first: Sequence[Instance], second: Sequence[Instance]) -> npt.NDArray[np.float64]:
    """IoU of every pair, `float64 (len(first), len(second))`: of masks where both have one, else of boxes."""
    table = box_iou([item.box for item in first], [item.box for item in second])
    rows = [index for index, item in enumerate(first) if has_mask(item)]
    columns = [index for index, item in enumerate(second) if has_mask(item)]
    table[np.ix_(rows, columns)] = mask_iou(
        [mask for index in rows if (mask := first[index].mask) is not None],
        [mask for index in columns if (mask := second[index].mask) is not None],
    )
    return table
