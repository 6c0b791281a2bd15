"""What is left of a mask after it was written as a YOLO row and read by Ultralytics.

Its loader reads the row's numbers as float32, brings the ring to 1,000 points or more, multiplies by the image's size,
cuts to whole pixels and fills the polygon with its border (`YOLODataset.update_labels_info` and `polygon2mask`, since
8.3.50). A part or a hole comes back to the pixel; between parts the seam that joins them comes back too, as a line.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.domain.contours import Ring
from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.geometry import SizeHW
from pipeline.domain.mask import Bitmap, Mask
from pipeline.domain.records import Instance
from pipeline.formats.losses import FLOOR
from pipeline.formats.seams import one_ring
from pipeline.formats.yolo import DECIMALS

__all__ = ["Lossy", "read_back", "under_floor", "yolo_round_trip", "yolo_round_trip_in_training"]

_POINTS = 1000
"""To which the loader brings a ring; one that has as many keeps them, and gets one more for the way back."""


@dataclass(frozen=True)
class Lossy:
    """An instance of which a YOLO row keeps too little."""

    sample_id: str
    instance: Instance
    mask: Mask
    iou: float


_Floats = npt.NDArray[np.float32]


def yolo_round_trip(mask: Mask) -> float:
    """IoU, in [0, 1], of a mask and what Ultralytics reads of its row, filled in the image's own size.

    The work is that of the mask's box, not of the image. 1 for an empty mask, which has no row and loses nothing.
    """
    _, _, before, after = _cut_out(mask)
    return _iou(before, after)


def read_back(mask: Mask) -> Mask:
    """What Ultralytics reads of a mask's row, in the image's own size."""
    left, top, _, after = _cut_out(mask)
    return Mask.from_crop(after, left, top, mask.size_hw)


def yolo_round_trip_in_training(mask: Mask, *, side: int = 640, ratio: int = 4) -> float:
    """IoU, in [0, 1], of both as a training sees them: images of `side` pixels, masks smaller by `ratio`.

    The mask itself is shrunk beside it in the same way, so the figure tells what the row costs, and not what the
    shrinking does. 1 if neither leaves a pixel.
    """
    if not mask.area_px:
        return 1.0
    height, width = _training_size(mask.size_hw, side)
    drawn = _filled(_vertices(one_ring(mask), mask.size_hw, (height, width)), (0, 0), (height, width))
    true = cv2.resize(mask.bitmap().astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    small = max(1, width // ratio), max(1, height // ratio)
    after, before = (cv2.resize(image, small) > 0 for image in (drawn, true))
    return _iou(before, after)


def under_floor(entries: Iterable[DatasetEntry], floor: float = FLOOR) -> list[Lossy]:
    """The instances whose round trip is under `floor`, the worst first. Figures that the entries have are taken."""
    found = []
    for entry in entries:
        for item in entry.instances:
            if item.mask is not None:
                known = entry.round_trip.get(item.id)
                iou = yolo_round_trip(item.mask) if known is None else known
                if iou < floor:
                    found.append(Lossy(entry.sample_id, item, item.mask, iou))
    return sorted(found, key=lambda lossy: (lossy.iou, lossy.sample_id, lossy.instance.id))


def _cut_out(mask: Mask) -> tuple[int, int, Bitmap, Bitmap]:
    """The column and row at which both begin: the mask, and what is read back of it."""
    corner, crop = mask.crop()
    if not crop.size:
        return 0, 0, crop, crop
    height, width = mask.size_hw
    vertices = _vertices(one_ring(mask), mask.size_hw, mask.size_hw)
    column, row = int(corner[0]), int(corner[1])
    x, y = vertices[:, 0], vertices[:, 1]
    left, top = min(column, int(x.min())), min(row, int(y.min()))
    right, bottom = max(column + crop.shape[1], int(x.max()) + 1), max(row + crop.shape[0], int(y.max()) + 1)
    size_hw = min(bottom, height) - top, min(right, width) - left
    before = np.zeros(size_hw, dtype=np.bool_)
    before[row - top :, column - left :][: crop.shape[0], : crop.shape[1]] = crop
    return left, top, before, _filled(vertices, (left, top), size_hw) > 0


def _vertices(ring: Ring, size_hw: SizeHW, scaled_hw: SizeHW) -> _Floats:
    """`float32 (n, 2)`: the row of a ring as the loader reads it, in pixels of an image that was scaled."""
    # The text has six decimals; to write it and read it again takes as long as all the rest.
    row = np.round(ring / size_hw[::-1], DECIMALS).astype(np.float32)
    # A point put between two in one line of pixels is in that line, and changes nothing.
    points = row if _is_square(row) else _resampled(row)
    return points * np.array(scaled_hw[::-1], dtype=np.float32)


def _is_square(ring: _Floats) -> bool:
    """Whether every edge runs along a row or a column: so do all but seams."""
    along = ring[1:] == ring[:-1]
    return bool((along[:, 0] | along[:, 1]).all()) and bool((ring[0] == ring[-1]).any())


def _filled(vertices: _Floats, corner: tuple[int, int], size_hw: SizeHW) -> npt.NDArray[np.uint8]:
    """`uint8 (h, w)` of 0 and 1: the polygon, cut to whole pixels, in a frame that begins at `corner` (x, y)."""
    frame = np.zeros(size_hw, dtype=np.uint8)
    cv2.fillPoly(frame, [vertices.astype(np.int32) - np.array(corner, dtype=np.int32)], 1)
    return frame


def _resampled(ring: _Floats) -> _Floats:
    """The ring's vertices and, evenly between them by their count, as many more as make 1,000 points."""
    closed = np.concatenate([ring, ring[:1]])
    count = len(closed)
    wanted = max(_POINTS, count)
    places = np.linspace(0, count - 1, wanted - count if count < wanted else wanted)
    if count < wanted:
        places = np.sort(np.concatenate([places, np.arange(count)]))
    found = np.empty((len(places), 2), dtype=np.float32)
    for axis in (0, 1):
        found[:, axis] = np.interp(places, np.arange(count), closed[:, axis])
    return found


def _training_size(size_hw: SizeHW, side: int) -> SizeHW:
    """The longer side becomes `side`; the shorter is rounded up, as the loader does."""
    scale = side / max(size_hw)
    height, width = (min(math.ceil(length * scale), side) for length in size_hw)
    return height, width


def _iou(first: Bitmap, second: Bitmap) -> float:
    union = int(np.count_nonzero(first | second))
    return int(np.count_nonzero(first & second)) / union if union else 1.0
