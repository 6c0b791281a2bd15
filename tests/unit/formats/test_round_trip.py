"""The round trip's figure is that of Ultralytics' own loader, on the masks that are hardest for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.roundtrip import generated, iou
from connectors.ultralytics.runtime import load
from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.formats.labels import imported
from pipeline.formats.round_trip import read_back, under_floor, yolo_round_trip, yolo_round_trip_in_training
from pipeline.formats.seams import one_ring
from pipeline.formats.yolo import data_yaml, label_rows

HARD = ("rings", "c", "parts", "thin", "twins", "border", "tiny")
SIZE_HW = (200, 260)


def masks_of(name: str) -> list[Mask]:
    """Each once: the loader takes a row that is there twice once."""
    found = [Mask.from_bitmap(bitmap) for pair in generated(name, 12) for bitmap in pair if bitmap.any()]
    return list(dict.fromkeys(found))


def dataset_of(masks: list[Mask], folder: Path, side: int, **settings: Any) -> Any:
    """Ultralytics' dataset of one image that holds all the masks, without augmentation."""
    load("the test")
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import YOLODataset

    for kind in ("images", "labels"):
        (folder / kind / "train").mkdir(parents=True)
    cv2.imwrite(str(folder / "images/train/x.png"), np.zeros((*masks[0].size_hw, 3), np.uint8))
    rows = [imported("cat", None, mask, key="x", index=n, source=Path("x")) for n, mask in enumerate(masks)]
    (folder / "labels/train/x.txt").write_text(label_rows(rows, ["cat"], masks[0].size_hw))
    (folder / "data.yaml").write_text(data_yaml(["cat"]))
    return YOLODataset(
        img_path=str(folder / "images/train"),
        imgsz=side,
        augment=False,
        hyp=get_cfg(overrides={"overlap_mask": False, "task": "segment", **settings}),
        data={"names": {0: "cat"}, "nc": 1, "channels": 3},
        task="segment",
    )


@pytest.mark.parametrize("name", HARD)
def test_it_is_that_of_the_dataset_that_trains(name: str, tmp_path: Path) -> None:
    """At the image's own size, which the loader pads to a square, and with masks as large as it."""
    masks = masks_of(name)
    seen = dataset_of(masks, tmp_path, max(SIZE_HW), mask_ratio=1)[0]["masks"].numpy() > 0
    assert len(seen) == len(masks), "no instance is lost or split"
    top = (max(SIZE_HW) - SIZE_HW[0]) // 2
    for mask, padded in zip(masks, seen, strict=True):
        theirs = padded[top : top + SIZE_HW[0]]
        assert yolo_round_trip(mask) == iou(theirs, mask.bitmap())
        assert np.array_equal(read_back(mask).bitmap(), theirs)


@pytest.mark.parametrize("name", HARD)
def test_in_training_it_is_that_of_the_loaders_own_functions(name: str, tmp_path: Path) -> None:
    # A ring of a thousand vertices would bring the others in its image to more points than they get alone.
    masks, size_hw = [mask for mask in masks_of(name) if len(one_ring(mask)) < 999], (493, 640)
    instances = dataset_of(masks, tmp_path, 640).get_image_and_label(0)["instances"]
    from ultralytics.data.utils import polygons2masks

    instances.denormalize(*size_hw[::-1])
    for mask, drawn in zip(masks, polygons2masks(size_hw, instances.segments, 1, 4), strict=True):
        large = cv2.resize(mask.bitmap().astype(np.uint8), size_hw[::-1], interpolation=cv2.INTER_NEAREST)
        true = cv2.resize(large, (160, 123)) > 0
        assert yolo_round_trip_in_training(mask) == iou(drawn > 0, true)


def test_what_is_exact_and_what_is_not() -> None:
    assert {yolo_round_trip(mask) for name in ("rings", "c", "border") for mask in masks_of(name)} == {1.0}
    frame = np.zeros((40, 60), dtype=np.bool_)
    frame[4:6, 4:6] = frame[4:6, 50:52] = True
    mask = Mask.from_bitmap(frame)
    seam = yolo_round_trip(mask)
    assert seam == 8 / read_back(mask).area_px < 0.25, "the seam between the parts is longer than they are large"
    assert yolo_round_trip(Mask.empty((5, 6))) == yolo_round_trip_in_training(Mask.empty((5, 6))) == 1.0


def test_a_mask_of_the_whole_image_and_one_of_one_pixel() -> None:
    pixel = np.ones((1, 1), dtype=np.bool_)
    for height, width in ((1, 1), (3, 5000), (2160, 3840)):
        assert yolo_round_trip(Mask.from_bitmap(np.ones((height, width), dtype=np.bool_))) == 1.0
        assert yolo_round_trip(Mask.from_crop(pixel, width - 1, height - 1, (height, width))) == 1.0
    assert yolo_round_trip_in_training(Mask.from_bitmap(np.ones((2160, 3840), dtype=np.bool_))) == 1.0


def test_the_worst_come_first_and_known_figures_are_taken() -> None:
    frame = np.zeros((40, 60), dtype=np.bool_)
    frame[4:6, 4:6] = frame[4:6, 50:52] = True
    mask = Mask.from_bitmap(frame)
    far = imported("cat", None, mask, key="x", index=1, source=Path("x"))
    whole = imported("cat", None, Mask.from_box(Box(4, 4, 9, 9), (40, 60)), key="x", index=2, source=Path("x"))
    box = imported("cat", Box(1, 1, 5, 5), None, key="x", index=3, source=Path("x"))
    entries = [
        DatasetEntry("a", (40, 60), "train", "a", 1, (far, whole, box)),
        DatasetEntry("b", (40, 60), "train", "b", 1, (far, whole), round_trip={far.id: 0.94, whole.id: 0.01}),
    ]
    found = [(one.sample_id, one.instance.id, round(one.iou, 2)) for one in under_floor(entries)]
    assert found == [("b", whole.id, 0.01), ("a", far.id, round(yolo_round_trip(mask), 2)), ("b", far.id, 0.94)]
    assert [one.sample_id for one in under_floor(entries, 0.02)] == ["b"]
