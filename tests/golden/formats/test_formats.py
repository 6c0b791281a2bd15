"""What the codecs write, to the letter: other tools read these files, and dataset hashes are made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance
from pipeline.formats.coco import coco_bytes
from pipeline.formats.labels import LabelledImage, imported
from pipeline.formats.yolo import data_yaml, label_rows, parse_rows

HERE = Path(__file__).parent
CLASSES = ("cat", "größer")
SIZE_HW = (40, 60)


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
        imported(label, box, mask, key="key", index=index, source=Path("golden"))
        for index, (label, box, mask) in enumerate(zip(("cat", "größer", "cat"), boxes, masks, strict=True))
    )


def written(name: str) -> bytes:
    match name:
        case "labels.txt":
            return label_rows(instances(), CLASSES, SIZE_HW).encode()
        case "data.yaml":
            return data_yaml(CLASSES).encode()
        case _:
            image = LabelledImage("a/x.png", SIZE_HW, "val", instances())
            return coco_bytes([image, LabelledImage("b.png", (8, 9), None, ())], CLASSES)


@pytest.mark.parametrize("name", ["labels.txt", "data.yaml", "annotations.json"])
def test_it_is_written_to_the_letter(name: str) -> None:
    assert written(name).decode() == (HERE / name).read_text(encoding="utf-8")


def test_the_golden_rows_mean_the_masks() -> None:
    text = (HERE / "labels.txt").read_text(encoding="utf-8")
    back, problems = parse_rows(text, CLASSES, SIZE_HW, source=Path("golden"), key="key")
    assert problems == ()
    assert [one.mask for one in back] == [one.mask for one in instances()]
