"""What the codecs write, to the letter: other tools read these files, and dataset hashes are made of them."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from connectors.label_studio.files import write_tasks
from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance
from pipeline.formats.coco import coco_bytes
from pipeline.formats.labels import LabelledImage, imported
from pipeline.formats.planes import plane_bytes, planes_of, sidecar_bytes
from pipeline.formats.table import COLUMNS, open_table, write_table
from pipeline.formats.yolo import data_yaml, label_rows, parse_rows

HERE = Path(__file__).parent
CLASSES = ("cat", "größer")
SIZE_HW = (40, 60)
SQUARE_HW = (160, 160)


def instance(number: int, label: str, box: Box | None, mask: Mask | None) -> Instance:
    """With the id that the golden files have it under."""
    made = imported(label, box, mask, key="key", source=Path("golden"))
    return replace(made, id=hashlib.sha256(f"key:golden:{number}".encode()).hexdigest()[:32])


def instances() -> tuple[Instance, ...]:
    """A part with two holes beside another part; a diagonal line; a box."""
    parts = np.zeros(SIZE_HW, dtype=np.bool_)
    parts[5:30, 5:30] = True
    parts[10:15, 10:15] = False
    parts[20:25, 12:28] = False
    parts[33:38, 40:55] = True
    diagonal = np.eye(*SIZE_HW, k=10, dtype=np.bool_)
    masks = (Mask.from_bitmap(parts), Mask.from_bitmap(diagonal), None)
    boxes = (None, None, Box(1.5, 2.25, 9.0, 11.125))
    return tuple(
        instance(index, label, box, mask)
        for index, (label, box, mask) in enumerate(zip(("cat", "größer", "cat"), boxes, masks, strict=True))
    )


def written(name: str) -> bytes:
    match name:
        case "labels.txt":
            return label_rows(instances(), CLASSES, SIZE_HW).encode()
        case "seams.txt":
            return label_rows([seamed()], CLASSES, SQUARE_HW).encode()
        case "data.yaml":
            return data_yaml(CLASSES).encode()
        case "polygons.json":
            masked = instances()[:2]
            return coco_bytes([LabelledImage("a/x.png", SIZE_HW, "val", masked)], CLASSES, "polygons")
        case "tasks.json" | "labeling.xml":
            image = LabelledImage("images/val/x y.png", SIZE_HW, "val", instances()[:2])
            return write_tasks([image, LabelledImage("b.png", (8, 9), None, ())], CLASSES)[name]
        case "x.json":
            masked = overlapping()
            return sidecar_bytes("x.jpg", SIZE_HW, ["x.png", "x.2.png"], masked, planes_of(masked, SIZE_HW)[1])
        case _:
            image = LabelledImage("a/x.png", SIZE_HW, "val", instances())
            return coco_bytes([image, LabelledImage("b.png", (8, 9), None, ())], CLASSES)


def seamed() -> Instance:
    """Parts and holes, and seams of all kinds, in an image whose sides leave many a sixth decimal to rounding."""
    rows, columns = np.ogrid[: SQUARE_HW[0], : SQUARE_HW[1]]
    disc = (rows - 21) ** 2 + (columns - 27) ** 2 < 19**2
    stripes = ((3 * rows + 2 * columns) % 37 < 30) & ((rows * columns) % 61 > 0)
    return instance(9, "cat", None, Mask.from_bitmap(disc & stripes))


def overlapping() -> tuple[Instance, ...]:
    """The first two, of which the second crosses the first, and one that crosses the second."""
    parts, diagonal = instances()[:2]
    over = Mask.from_box(Box(40, 25, 58, 33), SIZE_HW)
    return parts, diagonal, instance(7, "cat", None, over)


def entry() -> DatasetEntry:
    return DatasetEntry("a" * 64, SIZE_HW, "val", "g", 3, instances(), 0.5, {instances()[0].id: 0.875})


@pytest.mark.parametrize(
    "name",
    [
        "labels.txt",
        "seams.txt",
        "data.yaml",
        "annotations.json",
        "polygons.json",
        "tasks.json",
        "labeling.xml",
        "x.json",
    ],
)
def test_it_is_written_to_the_letter(name: str) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        (HERE / name).write_bytes(written(name))
    assert written(name).decode() == (HERE / name).read_text(encoding="utf-8")


def test_the_golden_planes_are_the_masks() -> None:
    """PNG files are compared by their pixels: compression is another matter from one release to the next."""
    planes, places = planes_of(overlapping(), SIZE_HW)
    assert places == [(1, 1), (2, 2), (1, 3)]
    for name, plane in zip(("x.png", "x.2.png"), planes, strict=True):
        if os.environ.get("UPDATE_GOLDEN"):
            (HERE / name).write_bytes(plane_bytes(plane))
        with PIL.Image.open(HERE / name) as picture:
            assert picture.mode == "I;16"
            assert np.array_equal(np.asarray(picture), plane)


def test_the_golden_table_holds_the_rows(tmp_path: Path) -> None:
    """Parquet is compared by its rows; the golden file, of an older release, is read too."""
    entries = [entry(), replace(entry(), sample_id="b" * 64, instances=(), round_trip={})]
    write_table(entries, tmp_path / "instances.parquet", lambda sample_id: f"{sample_id[:4]}.png")
    if os.environ.get("UPDATE_GOLDEN"):
        shutil.copy(tmp_path / "instances.parquet", HERE / "instances.parquet")
    assert open_table(tmp_path / "instances.parquet").equals(open_table(HERE / "instances.parquet"))
    *rows, nothing = open_table(HERE / "instances.parquet").to_pylist()
    (first,) = (row for row in rows if row["instance"] == instances()[0].id)
    assert list(first) == list(COLUMNS)
    assert (first["label"], first["round_trip"]) == ("cat", 0.875)
    assert (first["file_name"], first["agreement"]) == ("aaaa.png", 0.5)
    assert Mask(first["counts"], (first["height"], first["width"])) == instances()[0].mask
    assert nothing["sample"] == "b" * 64
    assert nothing["instance"] is None


def test_the_golden_rows_mean_the_masks() -> None:
    text = (HERE / "labels.txt").read_text(encoding="utf-8")
    back, problems = parse_rows(text, CLASSES, SIZE_HW, source=Path("golden"), key="key")
    assert problems == ()
    assert [one.mask for one in back] == [one.mask for one in instances()]
