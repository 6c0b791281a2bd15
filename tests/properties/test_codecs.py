"""Round trips of every mask codec, on masks that hypothesis makes as awkward as it can."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask
from scipy import ndimage

from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance
from pipeline.formats.coco import CocoLabels, coco_bytes
from pipeline.formats.labels import LabelledImage, imported
from pipeline.formats.planes import planes_of
from pipeline.formats.seams import one_ring
from pipeline.formats.yolo import label_rows, parse_rows

Bitmap = npt.NDArray[np.bool_]

SOURCE = Path("x.txt")
EIGHT = np.ones((3, 3))
shapes = st.tuples(st.integers(1, 24), st.integers(1, 24))
noise: st.SearchStrategy[Bitmap] = shapes.flatmap(lambda shape: arrays.arrays(np.bool_, shape))


@st.composite
def blobs(draw: st.DrawFn) -> Bitmap:
    """Overlapping ellipses, some of which take away: smooth outlines, holes, parts, cut by the border."""
    height, width = draw(shapes)
    canvas = np.zeros((height, width), dtype=np.uint8)
    for value in draw(st.lists(st.booleans(), min_size=1, max_size=6)):
        centre = draw(st.integers(0, width)), draw(st.integers(0, height))
        axes = draw(st.integers(0, 9)), draw(st.integers(0, 9))
        cv2.ellipse(canvas, centre, axes, draw(st.integers(0, 180)), 0, 360, int(value), -1)
    return canvas > 0


@st.composite
def lines(draw: st.DrawFn) -> Bitmap:
    """One pixel wide lines in any direction, which touch themselves, each other and the border."""
    height, width = draw(shapes)
    canvas = np.zeros((height, width), dtype=np.uint8)
    point = st.tuples(st.integers(0, width - 1), st.integers(0, height - 1))
    for start, end in draw(st.lists(st.tuples(point, point), min_size=1, max_size=5)):
        cv2.line(canvas, start, end, 1)
    return canvas > 0


bitmaps = st.one_of(noise, blobs(), lines())


def instance(mask: Mask) -> Instance:
    return imported("cat", None, mask, key="key", index=0, source=SOURCE)


@given(bitmaps)
def test_run_lengths_are_exact(bitmap: Bitmap) -> None:
    mask = Mask.from_bitmap(bitmap)
    assert np.array_equal(mask.bitmap(), bitmap)
    assert Mask.from_rle(mask.counts, mask.size_hw) == mask
    flat = bitmap.ravel(order="F")
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flat]))).tolist()
    runs = np.diff([0, *changes, flat.size]).tolist()
    assert Mask.from_runs(runs, mask.size_hw) == mask


@given(bitmaps)
def test_polygons_of_a_mask_without_holes_are_exact(bitmap: Bitmap) -> None:
    filled = Mask.from_bitmap(ndimage.binary_fill_holes(bitmap))
    assert Mask.from_polygons(filled.polygons(), filled.size_hw) == filled


@given(bitmaps)
def test_polygons_fill_holes_and_change_nothing_else(bitmap: Bitmap) -> None:
    mask = Mask.from_bitmap(bitmap)
    filled = Mask.from_bitmap(ndimage.binary_fill_holes(bitmap))
    assert Mask.from_polygons(mask.polygons(), mask.size_hw) == filled


@given(bitmaps, st.integers(0, 40), st.integers(0, 40))
def test_contours_move_with_the_object_in_its_frame(bitmap: Bitmap, top: int, left: int) -> None:
    frame = np.pad(bitmap, ((top, 3), (left, 5)))
    mask = Mask.from_bitmap(frame)
    for there, here in zip(mask.polygons(), Mask.from_bitmap(bitmap).polygons(), strict=True):
        assert np.array_equal(there, here + np.array([left, top]))
    corner, crop = mask.crop()
    assert np.array_equal(np.argwhere(crop) + corner[::-1], np.argwhere(frame))
    assert np.array_equal(mask.bitmap(), frame)


@given(bitmaps)
def test_rings_are_as_many_as_parts_and_holes(bitmap: Bitmap) -> None:
    """Counted by scipy: parts 8-connected, background 4-connected and less the part outside; and reversed."""
    mask = Mask.from_bitmap(bitmap)
    outer, holes = mask.outline()
    assert len(outer) == ndimage.label(bitmap, EIGHT)[1]
    background = np.pad(~bitmap, 1, constant_values=True)
    assert len(holes) == ndimage.label(background)[1] - 1
    outer, holes = mask.outline(connectivity=4)
    assert len(outer) == ndimage.label(bitmap)[1]
    assert len(holes) == ndimage.label(background, EIGHT)[1] - 1


@given(bitmaps)
def test_one_ring_is_exact_with_holes_and_parts(bitmap: Bitmap) -> None:
    mask = Mask.from_bitmap(bitmap)
    ring = one_ring(mask)
    if bitmap.any():
        assert Mask.from_polygons([ring], mask.size_hw) == mask
    else:
        assert ring.shape == (0, 2)


@given(bitmaps.filter(lambda bitmap: bool(bitmap.any())))
def test_one_ring_is_exact_for_readers_that_cut_to_whole_pixels(bitmap: Bitmap) -> None:
    """Of one part: between parts such readers also draw the seam, one pixel wide."""
    parts, _ = ndimage.label(ndimage.binary_fill_holes(bitmap))
    part = np.asarray(parts == 1)
    whole_pixels = one_ring(Mask.from_bitmap(ndimage.binary_fill_holes(part))).astype(np.int32)
    filled = cv2.fillPoly(np.zeros(bitmap.shape, np.uint8), [whole_pixels], 1)
    assert np.array_equal(filled > 0, ndimage.binary_fill_holes(part))


@given(bitmaps.filter(lambda bitmap: bool(bitmap.any())), st.integers(0, 3000), st.integers(0, 3000))
@settings(max_examples=60)
def test_yolo_rows_are_exact_anywhere_in_a_large_image(bitmap: Bitmap, top: int, left: int) -> None:
    placed = np.pad(bitmap, ((top, 7), (left, 5)))
    mask = Mask.from_bitmap(placed)
    text = label_rows([instance(mask)], ["cat"], mask.size_hw)
    (back,), problems = parse_rows(text, ["cat"], mask.size_hw, source=SOURCE, key="key")
    assert problems == ()
    assert back.mask == mask


@given(bitmaps.filter(lambda bitmap: bool(bitmap.any())))
def test_coco_run_lengths_are_exact_both_ways(bitmap: Bitmap) -> None:
    mask = Mask.from_bitmap(bitmap)
    segmentation = {"size": list(mask.size_hw), "counts": mask.counts.decode()}
    row = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}
    (back,) = CocoLabels(SOURCE, (row,), {1: "cat"}, mask.size_hw).read(mask.size_hw, "key").instances
    assert back.mask == mask


@given(bitmaps.filter(lambda bitmap: bool(bitmap.any())))
def test_coco_polygons_are_exact_with_holes_and_parts(bitmap: Bitmap) -> None:
    """Filled by pycocotools itself, from the numbers as they stand in the file."""
    mask = Mask.from_bitmap(bitmap)
    file = coco_bytes([LabelledImage("x.png", mask.size_hw, None, (instance(mask),))], ["cat"], "polygons")
    (row,) = json.loads(file)["annotations"]
    filled = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(row["segmentation"], *mask.size_hw)))
    assert np.array_equal(filled > 0, bitmap)


@given(st.lists(noise.map(lambda bitmap: np.resize(bitmap, (9, 11))), max_size=6))
def test_instance_maps_are_exact_whatever_overlaps(bitmaps: list[Bitmap]) -> None:
    masks = [Mask.from_bitmap(bitmap) for bitmap in bitmaps if bitmap.any()]
    planes, places = planes_of([instance(mask) for mask in masks], (9, 11))
    found = [Mask.from_bitmap(planes[plane - 1] == value) for plane, value in places]
    assert found == masks


@given(
    st.tuples(st.integers(16, 64), st.integers(16, 64)),
    arrays.arrays(np.float64, (6,), elements=st.floats(4, 14)),
    st.floats(0.3, 0.7),
    st.floats(0.3, 0.7),
)
def test_smooth_polygons_move_by_half_a_pixel_at_most(
    size_hw: tuple[int, int], radii: npt.NDArray[np.float64], row: float, column: float
) -> None:
    """A polygon, rasterised and outlined again: pixels farther than half a pixel from its edge do not change.

    A pixel's centre is compared with the exact polygon; only centres within half a pixel of it may differ.
    """
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    centre = np.array([column * size_hw[1], row * size_hw[0]])
    polygon = centre + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]
    bitmap = Mask.from_polygons(Mask.from_polygons([polygon], size_hw).polygons(), size_hw).bitmap()
    for y, x in np.ndindex(*size_hw):
        distance = cv2.pointPolygonTest(polygon.astype(np.float32)[:, None, :], (x + 0.5, y + 0.5), True)
        if abs(distance) > 0.5 + 1e-3:
            assert bitmap[y, x] == (distance > 0), (y, x, distance)
