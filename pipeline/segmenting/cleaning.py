"""Small holes and small specks: what no person would have drawn, taken out of a mask.

As in the clean-up of SAM 2 (Ravi et al., 2024): pixels of one component touch at sides or corners, background and
object alike. Only components up to an area change; what is larger, each hole and each part of it, stays as it is.
"""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from pipeline.domain.mask import Bitmap, Mask

__all__ = ["MaskSettings", "cleaned"]


class MaskSettings(BaseModel):
    """Which answers count, and how they are cleaned; the same for every segmenter.

    A mask with a predicted IoU below `threshold` becomes empty: no mask here. Pixels whose logit is over
    `mask_threshold` are object; lower is wider. Holes of at most `max_hole_area` pixels are filled, except in the
    classes of `keep_holes`, whose holes are real; specks of at most `max_sprinkle_area` pixels go. 0 changes nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    mask_threshold: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    max_hole_area: Annotated[int, Field(ge=0)] = 0
    max_sprinkle_area: Annotated[int, Field(ge=0)] = 0
    keep_holes: tuple[str, ...] = ()


def cleaned(mask: Mask, settings: MaskSettings, label: str | None = None) -> Mask:
    """The mask without its small holes and specks, in this order.

    Background that touches the image's border is no hole. A mask that is nothing but specks keeps its largest:
    cleaning never makes a mask empty.
    """
    fill = settings.max_hole_area if label not in settings.keep_holes else 0
    if mask.area_px == 0 or not (fill or settings.max_sprinkle_area):
        return mask
    (left, top), crop = mask.crop()
    bitmap = np.ascontiguousarray(crop)
    if fill:
        bitmap = _filled(bitmap, fill)
    if settings.max_sprinkle_area:
        bitmap = _swept(bitmap, settings.max_sprinkle_area)
    return Mask.from_crop(bitmap, left, top, mask.size_hw)


def _filled(bitmap: Bitmap, area: int) -> Bitmap:
    """With every enclosed component of background up to `area` filled. Beyond the tight crop all is background, or the
    image ends: either way what touches the crop's edge is not enclosed."""
    count, components, stats, _ = cv2.connectedComponentsWithStats((~bitmap).astype(np.uint8), connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] <= area
    small[0] = False  # the object
    for edge in (components[0], components[-1], components[:, 0], components[:, -1]):
        small[edge] = False
    filled: Bitmap = bitmap | small[components] if count > 1 else bitmap
    return filled


def _swept(bitmap: Bitmap, area: int) -> Bitmap:
    """Without components up to `area`; the largest stays, and every other as large."""
    count, components, stats, _ = cv2.connectedComponentsWithStats(bitmap.astype(np.uint8), connectivity=8)
    if count <= 2:
        return bitmap
    areas = stats[:, cv2.CC_STAT_AREA]
    kept = areas >= min(area + 1, int(areas[1:].max()))
    kept[0] = False
    swept: Bitmap = kept[components]
    return swept
