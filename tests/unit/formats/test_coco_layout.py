"""The folders in which COCO datasets come."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.errors import BadFormat
from pipeline.formats.coco_layout import find_coco_dataset
from pipeline.formats.labels import Found


def put(root: Path, file: str, folder: str, name: str, said: str = "") -> None:
    """One image, called `said` in its annotation file."""
    for path in (root / file, root / folder / name):
        path.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": [{"id": 1, "file_name": said or name}], "annotations": [], "categories": []}
    (root / file).write_text(json.dumps(content))
    (root / folder / name).touch()


def found(path: Path, images: Path | None = None) -> dict[str, tuple[bool, str | None]]:
    """Name -> whether the image is there, and its split."""
    rows = [one for one in find_coco_dataset(path, images) if isinstance(one, Found)]
    return {one.image.name: (one.image.is_file(), one.split) for one in rows}


THREE = {"a.png": (True, "train"), "b.png": (True, "val"), "c.png": (True, "test")}


def test_roboflow(tmp_path: Path) -> None:
    for name, split in (("a.png", "train"), ("b.png", "valid"), ("c.png", "test")):
        put(tmp_path, f"{split}/_annotations.coco.json", split, name)
    assert found(tmp_path) == THREE
    assert found(tmp_path / "valid") == {"b.png": (True, None)}, "a folder by itself is no split"


def test_as_published_with_years(tmp_path: Path) -> None:
    for name, split in (("a.png", "train2017"), ("b.png", "val2017"), ("c.png", "test2017")):
        put(tmp_path, f"annotations/instances_{split}.json", split, name)
    assert found(tmp_path) == THREE
    assert found(tmp_path / "annotations/instances_val2017.json") == {"b.png": (True, None)}


@pytest.mark.parametrize("said", ["{}", "train/{}"])
def test_as_exported_and_by_names_with_the_folder(said: str, tmp_path: Path) -> None:
    put(tmp_path, "annotations/instances_train.json", "images/train", "a.png", said.format("a.png"))
    assert found(tmp_path) == {"a.png": (True, "train")}


def test_images_elsewhere(tmp_path: Path) -> None:
    put(tmp_path, "d/train/_annotations.coco.json", "pictures/train", "a.png")
    put(tmp_path, "d/valid/_annotations.coco.json", "pictures", "b.png")
    assert found(tmp_path / "d", tmp_path / "pictures") == {"a.png": (True, "train"), "b.png": (True, "val")}


def test_a_set_that_is_only_called_val_is_somebodys_pool(tmp_path: Path) -> None:
    put(tmp_path, "annotations/instances_val2017.json", "images", "a.png")
    assert found(tmp_path) == {"a.png": (True, None)}


def test_a_single_file_goes_first(tmp_path: Path) -> None:
    put(tmp_path, "annotations.json", "images", "a.png")
    put(tmp_path, "annotations/instances_train.json", "images", "b.png")
    assert found(tmp_path) == {"a.png": (True, None)}


def test_a_folder_without_any_is_told_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BadFormat, match="name the annotation file itself"):
        found(tmp_path)
