"""COCO files: what is read, and that what is written is read back."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance
from pipeline.errors import BadFormat, DataError
from pipeline.formats.coco import Segmentation, coco_bytes, find_coco
from pipeline.formats.labels import Found, LabelledImage, Labels, imported


def coco_file(folder: Path, rows: list[dict[str, Any]], **image: Any) -> Path:
    content = {
        "images": [{"id": 7, "file_name": "a/x.png", "width": 30, "height": 20} | image],
        "annotations": [{"id": number, "image_id": 7, "category_id": 4} | row for number, row in enumerate(rows)],
        "categories": [{"id": 4, "name": "cat"}, {"id": 9, "name": "dog"}],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return path


def read(path: Path) -> tuple[Found, Labels]:
    (found,) = find_coco(path, path.parent)
    assert isinstance(found, Found)
    assert found.labels is not None
    return found, found.labels.read((20, 30), "key")


def test_polygons_run_lengths_and_boxes(tmp_path: Path) -> None:
    mask = Mask.from_box(Box(2, 3, 12, 9), (20, 30))
    plain = [63, *[6, 14] * 9, 6]
    path = coco_file(
        tmp_path,
        [
            {"segmentation": [[2, 3, 12, 3, 12, 9, 2, 9]]},
            {"segmentation": {"size": [20, 30], "counts": mask.counts.decode()}, "bbox": [0, 0, 1, 1]},
            {"segmentation": {"size": [20, 30], "counts": [*plain, 600 - sum(plain)]}},
            {"bbox": [2, 3, 10, 6], "segmentation": [], "category_id": 9},
        ],
    )
    found, labels = read(path)
    assert found.image == tmp_path / "a/x.png"
    assert labels.complete
    assert labels.problems == ()
    assert [one.mask for one in labels.instances[:2]] == [mask, mask]
    assert labels.instances[2].mask == Mask.from_box(Box(3, 3, 13, 9), (20, 30))
    assert [one.label for one in labels.instances] == ["cat", "cat", "cat", "dog"]
    assert all(one.box == Box(2, 3, 12, 9) for one in (*labels.instances[:2], labels.instances[3]))


def test_an_image_without_annotations_is_empty_and_looked_at(tmp_path: Path) -> None:
    _, labels = read(coco_file(tmp_path, []))
    assert labels == Labels((), ())


@pytest.mark.parametrize(("named", "split"), [("train", "train"), ("valid", "val"), (None, None)])
def test_splits_are_taken_from_the_image_entry(named: str | None, split: str | None, tmp_path: Path) -> None:
    found, _ = read(coco_file(tmp_path, [], split=named))
    assert found.split == split


def test_ids_do_not_depend_on_where_the_file_lies(tmp_path: Path) -> None:
    ids = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        _, labels = read(coco_file(tmp_path / name, [{"bbox": [1, 1, 5, 5]}, {"bbox": [2, 2, 5, 5]}]))
        ids.append([one.id for one in labels.instances])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2


def labelled() -> list[LabelledImage]:
    bitmap = np.zeros((20, 30), dtype=np.bool_)
    bitmap[2:12, 3:20] = True
    bitmap[5:8, 6:9] = False
    masks = [Mask.from_bitmap(bitmap), None]
    boxes = [None, Box(1.5, 2.0, 9.0, 11.25)]
    instances: tuple[Instance, ...] = tuple(
        imported(label, box, mask, key="key", source=Path("annotations.json"))
        for label, box, mask in zip(("dog", "cat"), boxes, masks, strict=True)
    )
    return [LabelledImage("a.png", (20, 30), "val", instances), LabelledImage("b.png", (8, 8), None, ())]


def test_what_is_written_is_read_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "annotations.json"
    path.write_bytes(coco_bytes(labelled(), ["cat", "dog"]))
    first, second = (one for one in find_coco(path, tmp_path) if isinstance(one, Found))
    assert first.labels is not None
    assert second.labels is not None
    assert first.labels.read((20, 30), "key").instances == labelled()[0].instances
    assert (first.split, second.split) == ("val", None)
    assert second.labels.read((8, 8), "key") == Labels((), ())


@pytest.mark.parametrize("segmentation", ["rle", "polygons"])
def test_the_reference_reader_agrees(segmentation: Segmentation, tmp_path: Path) -> None:
    path = tmp_path / "annotations.json"
    path.write_bytes(coco_bytes(labelled(), ["cat", "dog"], segmentation))
    reference = COCO(str(path))
    row = reference.loadAnns([1])[0]
    mask = labelled()[0].instances[0].mask
    assert mask is not None
    assert np.array_equal(reference.annToMask(row).astype(bool), mask.bitmap())
    assert row["area"] == mask.area_px


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(DataError, match="'dog' is not among"):
        coco_bytes(labelled(), ["cat"])
    with pytest.raises(DataError, match="size"):
        coco_bytes([LabelledImage("a.png", None, None, ())], ["cat"])


# --- what other tools write ------------------------------------------------------------------------------------


RING = {"segmentation": [[2, 3, 12, 3, 12, 9, 2, 9]]}


def test_crowds_are_objects_only_where_somebody_says_so(tmp_path: Path) -> None:
    path = coco_file(tmp_path, [RING | {"iscrowd": 1}, RING, RING | {"iscrowd": 1, "id": 8}])
    _, refused = read(path)
    assert len(refused.instances) == 1
    (problem,) = refused.problems
    assert problem.reason.startswith("annotation 0 and 1 more: a crowd region")
    assert "`--crowd objects`" in problem.reason
    (found,) = find_coco(path, tmp_path, crowd="objects")
    assert isinstance(found, Found)
    assert found.labels is not None
    labels = found.labels.read((20, 30), "key")
    assert labels.complete
    assert len(labels.instances) == 3


def test_a_crowd_that_nobody_asks_for_is_no_problem(tmp_path: Path) -> None:
    path = coco_file(tmp_path, [RING, RING | {"iscrowd": 1, "category_id": 9}])
    (found,) = find_coco(path, tmp_path, ignore=frozenset({"dog"}))
    assert isinstance(found, Found)
    assert found.labels is not None
    assert found.labels.read((20, 30), "key").complete


def with_categories(folder: Path, *used: int) -> Path:
    """Two categories of one name; objects of the categories `used`."""
    path = coco_file(folder, [RING | {"category_id": number} for number in used])
    content = json.loads(path.read_text())
    content["categories"] = [{"id": 0, "name": "cat"}, {"id": 1, "name": "cat", "supercategory": "cat"}]
    path.write_text(json.dumps(content))
    return path


def test_a_category_that_only_groups_another_of_its_name(tmp_path: Path) -> None:
    _, labels = read(with_categories(tmp_path, 1, 1))
    assert [one.label for one in labels.instances] == ["cat", "cat"]
    with pytest.raises(BadFormat, match="'cat' is there twice, and annotations use both"):
        read(with_categories(tmp_path, 0, 1))


@pytest.mark.parametrize("number", ["4", 4.0])
def test_numbers_that_a_tool_wrote_as_text_or_with_a_point(number: object, tmp_path: Path) -> None:
    path = coco_file(tmp_path, [RING | {"category_id": number}, RING], width=30.0, height=20.0)
    content = json.loads(path.read_text())
    content["categories"][0]["id"] = number
    path.write_text(json.dumps(content))
    _, labels = read(path)
    assert labels.complete
    assert [one.label for one in labels.instances] == ["cat", "cat"]
    assert not read(coco_file(tmp_path, [RING], width=31.0, height=20.0))[1].complete


@pytest.mark.parametrize(
    ("named", "path"),
    [
        ("C:\\data\\x.png", "x.png"),
        ("\\\\server\\share\\x.png", "x.png"),
        ("/home/anna/x.png", "x.png"),
        ("sub\\x.png", "sub/x.png"),
        ("sub/x.png", "sub/x.png"),
        ("odd\\name.png", "odd\\name.png"),
        ("..\\x.png", None),
        ("../x.png", None),
        ("C:\\", None),
    ],
)
def test_paths_of_another_machine(named: str, path: str | None, tmp_path: Path) -> None:
    (tmp_path / "odd\\name.png").touch()
    (found,) = find_coco(coco_file(tmp_path, [], file_name=named), tmp_path)
    assert (found.image if isinstance(found, Found) else None) == (tmp_path / path if path else None)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_name_whose_accents_are_apart(backwards: bool, tmp_path: Path) -> None:
    spellings = [unicodedata.normalize("NFC", "Größe.png"), unicodedata.normalize("NFD", "Größe.png")]
    named, there = reversed(spellings) if backwards else spellings
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / there).touch()
    assert read(coco_file(tmp_path, [], file_name=f"a/{named}"))[0].image == tmp_path / "a" / there
