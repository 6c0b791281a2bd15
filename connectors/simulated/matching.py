"""Which shown object a person takes for which true one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import box_iou
from pipeline.domain.mask import mask_iou
from pipeline.domain.records import Instance

__all__ = ["has_mask", "match"]


def has_mask(instance: Instance) -> bool:
    return instance.mask is not None and instance.mask.area_px > 0


def match(shown: Sequence[Instance], truth: Sequence[Instance], floor: float) -> dict[int, int]:
    """Index of the true object -> index of the shown one: one to one, best agreement first, none below `floor`.

    Masks are compared where both sides have one, else boxes. Of equal agreements the one with the right
    label comes first, then the earlier ones.
    """
    table = _agreement(shown, truth)
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


def _agreement(shown: Sequence[Instance], truth: Sequence[Instance]) -> npt.NDArray[np.float64]:
    table = box_iou([item.box for item in shown], [item.box for item in truth])
    rows = [index for index, item in enumerate(shown) if has_mask(item)]
    columns = [index for index, item in enumerate(truth) if has_mask(item)]
    table[np.ix_(rows, columns)] = mask_iou(
        [mask for index in rows if (mask := shown[index].mask) is not None],
        [mask for index in columns if (mask := truth[index].mask) is not None],
    )
    return table
