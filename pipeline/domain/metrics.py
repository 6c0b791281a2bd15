"""What an evaluation says about a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ClassMetrics", "Metrics"]


@dataclass(frozen=True)
class ClassMetrics:
    """Average precision of one class, in [0, 1]; None where the class has no truth in the split."""

    instances: int
    box_map50: float | None
    box_map50_95: float | None
    mask_map50: float | None
    mask_map50_95: float | None


@dataclass(frozen=True)
class Metrics:
    """COCO average precision on the frozen held-out split, in [0, 1]; None without any truth there.

    `map50` is AP at IoU 0.50, `map50_95` the mean over IoU 0.50:0.05:0.95, both over all areas with at
    most 100 detections an image (COCO's definition, Lin et al. 2014, https://cocodataset.org/#detection-eval).
    """

    images: int
    instances: int
    box_map50: float | None
    box_map50_95: float | None
    mask_map50: float | None
    mask_map50_95: float | None
    per_class: Mapping[str, ClassMetrics]

    def headline(self) -> dict[str, float | None]:
        """The four figures of the whole split, by name."""
        names = ("box_map50", "box_map50_95", "mask_map50", "mask_map50_95")
        return {name: getattr(self, name) for name in names}
