"""`Mask`: one binary mask, kept as COCO run-length encoding.

Holes and separate parts survive, equality is exact, and a 4K mask is a few hundred bytes. The encoding
and its set operations are those of the COCO API (https://github.com/cocodataset/cocoapi, `maskApi.c`);
pycocotools computes them without decoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from pipeline.domain.contours import Outline, clip_ring, trace
from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.run_lengths import Runs, canonical, cropped, runs_of, unpacked
from pipeline.errors import DataError, ShapeMismatch

__all__ = ["Bitmap", "Mask", "Polygon", "mask_iou"]

Bitmap = npt.NDArray[np.bool_]
"""`bool (h, w)`."""

Polygon = npt.NDArray[np.float64]
"""`float64 (n, 2)`: x, y vertices in pixels; the last vertex joins the first."""


@dataclass(frozen=True)
class Mask:
    """A binary mask of an image of `size_hw`; `counts` is COCO's compressed run-length string."""

    counts: bytes
    size_hw: SizeHW

    @staticmethod
    def from_bitmap(bitmap: npt.NDArray[Any]) -> Mask:
        """From `(h, w)` of bool or any number; non-zero is object. Raises ShapeMismatch otherwise."""
        if bitmap.ndim != 2:
            raise ShapeMismatch(f"a bitmap must be (h, w), not {bitmap.shape}")
        encoded = coco_mask.encode(np.asfortranarray(bitmap != 0, dtype=np.uint8))
        return Mask(bytes(encoded["counts"]), (int(bitmap.shape[0]), int(bitmap.shape[1])))

    @staticmethod
    def from_crop(crop: Bitmap, left: int, top: int, size_hw: SizeHW) -> Mask:
        """From `bool (h, w)` whose first pixel is at (row top, column left) of the image; empty elsewhere.

        The work is that of the crop, not of the image. Raises ShapeMismatch if the crop leaves the image.
        """
        height, width = size_hw
        if left < 0 or top < 0 or left + crop.shape[1] > width or top + crop.shape[0] > height:
            raise ShapeMismatch(f"a crop of {crop.shape} at row {top}, column {left} leaves an image of {size_hw}")
        return Mask._packed(runs_of(crop, left, top, size_hw), size_hw)

    @staticmethod
    def empty(size_hw: SizeHW) -> Mask:
        """No pixel of an image of `size_hw`."""
        return Mask.from_runs([size_hw[0] * size_hw[1]], size_hw)

    @staticmethod
    def from_runs(runs: Sequence[int], size_hw: SizeHW) -> Mask:
        """From COCO's uncompressed counts: runs of 0 and 1 in turn, down the columns, first column first.

        Raises ShapeMismatch if the runs do not add up to height x width.
        """
        return Mask._checked(runs, size_hw)

    @staticmethod
    def _checked(runs: Sequence[int] | Runs, size_hw: SizeHW) -> Mask:
        """From runs of unknown origin; they are added up in whole numbers of any size."""
        plain = runs.tolist() if isinstance(runs, np.ndarray) else runs
        if sum(plain) != size_hw[0] * size_hw[1] or min(plain, default=0) < 0:
            raise ShapeMismatch(
                f"runs cover {sum(plain)} pixels, but height x width {size_hw} needs {size_hw[0] * size_hw[1]}"
            )
        return Mask._packed(canonical(np.asarray(runs, dtype=np.int64)), size_hw)

    @staticmethod
    def _packed(runs: Runs, size_hw: SizeHW) -> Mask:
        """From canonical runs. An array, because a list costs ten times the packing."""
        encoded = coco_mask.frPyObjects({"counts": runs, "size": list(size_hw)}, *size_hw)
        return Mask(bytes(encoded["counts"]), size_hw)

    @staticmethod
    def from_rle(counts: bytes | str, size_hw: SizeHW) -> Mask:
        """From COCO's compressed counts of unknown origin, checked before anything is allocated.

        Raises ShapeMismatch if the runs do not cover exactly height x width, DataError if they cannot be read.
        """
        return Mask._checked(unpacked(counts), size_hw)

    @staticmethod
    def from_polygons(polygons: Sequence[npt.ArrayLike], size_hw: SizeHW) -> Mask:
        """The union of filled polygons, rasterised as COCO does; each `(n, 2)`, n >= 3, x, y in pixels.

        A polygon that crosses itself is filled by the even-odd rule; what lies outside the image is cut off.
        Raises DataError for fewer than three vertices or a coordinate that is not finite.
        """
        rings = []
        for polygon in polygons:
            vertices = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
            if len(vertices) < 3:
                raise DataError(f"a polygon needs three vertices, not {len(vertices)}")
            if not np.isfinite(vertices).all():
                raise DataError("a polygon has a coordinate that is not finite")
            inside = clip_ring(vertices, size_hw)
            if len(inside) >= 3:
                rings.append(inside.reshape(-1).tolist())
        if not rings:
            return Mask.empty(size_hw)
        merged = coco_mask.merge(coco_mask.frPyObjects(rings, *size_hw))
        return Mask(bytes(merged["counts"]), size_hw)

    @staticmethod
    def from_box(box: Box, size_hw: SizeHW) -> Mask:
        """Every pixel whose centre lies in the box."""
        bitmap = np.zeros(size_hw, dtype=np.bool_)
        left, top, right, bottom = (int(np.ceil(value - 0.5)) for value in box.clipped(size_hw))
        bitmap[top:bottom, left:right] = True
        return Mask.from_bitmap(bitmap)

    def bitmap(self) -> Bitmap:
        """`bool (h, w)`, C-contiguous."""
        whole = np.zeros(self.size_hw, dtype=np.bool_)
        (left, top), crop = self.crop()
        whole[int(top) : int(top) + crop.shape[0], int(left) : int(left) + crop.shape[1]] = crop
        return whole

    def polygons(self) -> list[Polygon]:
        """Outer contours along pixel edges, largest first; holes are not described (see the formats).

        `from_polygons` gives a mask without holes back exactly. Parts that touch by a corner share a contour.
        """
        return self.outline().outer

    def outline(self, *, connectivity: Literal[4, 8] = 8) -> Outline:
        """The rings around the parts and the holes, in whole pixels; the connectivity is that of the object."""
        return trace(unpacked(self.counts), self.size_hw[0], connectivity=connectivity)

    def crop(self) -> tuple[npt.NDArray[np.float64], Bitmap]:
        """The top left corner (x, y) of the tight box, and the `bool` bitmap inside it.

        Work and memory are those of the box, not of the image.
        """
        box = self.box
        if box is None:
            return np.zeros(2), np.zeros((0, 0), dtype=np.bool_)
        left, top, right, bottom = (int(value) for value in box)
        crop = cropped(unpacked(self.counts), left, top, (bottom - top, right - left), self.size_hw[0])
        return np.array([left, top], dtype=np.float64), crop

    @cached_property
    def area_px(self) -> int:
        return int(coco_mask.area(self.rle))

    @cached_property
    def box(self) -> Box | None:
        """The tight half-open box, or None for an empty mask."""
        if self.area_px == 0:
            return None
        x, y, width, height = (float(value) for value in coco_mask.toBbox(self.rle))
        return Box(x, y, x + width, y + height)

    def share_inside(self, others: Sequence[Mask]) -> npt.NDArray[np.float64]:
        """How much of this mask lies inside each of the others, `float64 (n,)` in [0, 1]; 0 of an empty one.

        Raises ShapeMismatch.
        """
        for other in others:
            if self.size_hw != other.size_hw:
                raise ShapeMismatch(f"masks of {self.size_hw} and {other.size_hw} cannot be compared")
        if not others or self.area_px == 0:
            return np.zeros(len(others))
        # COCO's rule for a crowd: what they share over the area of the first.
        found = coco_mask.iou([self.rle], [other.rle for other in others], [1] * len(others))
        return np.asarray(found[0], dtype=np.float64)

    def iou(self, other: Mask) -> float:
        """Intersection over union in [0, 1]; two empty masks agree (1). Raises ShapeMismatch."""
        if self.size_hw != other.size_hw:
            raise ShapeMismatch(f"masks of {self.size_hw} and {other.size_hw} cannot be compared")
        if self.area_px == 0 and other.area_px == 0:
            return 1.0
        return float(coco_mask.iou([self.rle], [other.rle], [0])[0, 0])

    def union(self, other: Mask) -> Mask:
        """Pixels of either. Raises ShapeMismatch."""
        return self._merged(other, intersect=False)

    def intersection(self, other: Mask) -> Mask:
        """Pixels of both. Raises ShapeMismatch."""
        return self._merged(other, intersect=True)

    def _merged(self, other: Mask, *, intersect: bool) -> Mask:
        if self.size_hw != other.size_hw:
            raise ShapeMismatch(f"masks of {self.size_hw} and {other.size_hw} cannot be merged")
        merged = coco_mask.merge([self.rle, other.rle], intersect=intersect)
        return Mask(bytes(merged["counts"]), self.size_hw)

    @property
    def rle(self) -> dict[str, Any]:
        """As pycocotools wants it: `{"size": [h, w], "counts": bytes}`."""
        return {"size": list(self.size_hw), "counts": self.counts}


def mask_iou(first: Sequence[Mask], second: Sequence[Mask]) -> npt.NDArray[np.float64]:
    """IoU of every pair, `float64 (len(first), len(second))`, without decoding. Raises ShapeMismatch."""
    if len({mask.size_hw for mask in (*first, *second)}) > 1:
        raise ShapeMismatch("masks of different sizes cannot be compared")
    if not first or not second:
        return np.zeros((len(first), len(second)))
    table = coco_mask.iou([m.rle for m in first], [m.rle for m in second], [0] * len(second))
    return np.asarray(table, dtype=np.float64)
