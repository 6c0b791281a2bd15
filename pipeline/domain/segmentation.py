"""COCO's `segmentation` value, of unknown origin, as a mask (https://cocodataset.org/#format-data)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from pipeline.domain.geometry import SizeHW
from pipeline.domain.mask import Mask
from pipeline.errors import DataError

__all__ = ["is_number", "segmentation_mask"]

_HUGE = 1e9
"""No coordinate, and no number of seconds, is as large; a JSON integer may have any number of digits."""


def segmentation_mask(value: Any, size_hw: SizeHW) -> Mask:
    """From polygons `[[x1, y1, …], …]`, or run lengths `{"size": [h, w], "counts": string | list}`.

    Raises DataError for any other shape, ShapeMismatch for run lengths that do not cover the image.
    """
    return _run_lengths(value, size_hw) if isinstance(value, dict) else _polygons(value, size_hw)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a JSON value is a number that can mean something: finite, and below a thousand million."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _HUGE


def _polygons(value: Any, size_hw: SizeHW) -> Mask:
    if not isinstance(value, list) or not all(isinstance(ring, list) for ring in value):
        raise DataError("segmentation must be a list of polygons, or an object with size and counts")
    for ring in value:
        if len(ring) % 2 or not all(is_number(item) for item in ring):
            raise DataError(f"a polygon must be x, y pairs of numbers, not {ring!r:.120}")
    return Mask.from_polygons(value, size_hw)


def _run_lengths(value: Mapping[str, Any], size_hw: SizeHW) -> Mask:
    size, counts = value.get("size"), value.get("counts")
    if size != list(size_hw):
        raise DataError(f"run lengths are for height x width {size!r:.80}, the image has {list(size_hw)}")
    if isinstance(counts, str):
        return Mask.from_rle(counts, size_hw)
    if isinstance(counts, list) and all(isinstance(run, int) and not isinstance(run, bool) for run in counts):
        return Mask.from_runs(counts, size_hw)
    raise DataError("counts must be COCO's compressed string, or a list of whole numbers")
