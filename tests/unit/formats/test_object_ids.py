"""An imported object's id, whatever the format: from what it is, and never from its row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.label_studio.files import read_tasks, write_tasks
from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Annotation, Instance, Origin, OriginKind, State
from pipeline.formats.coco import coco_bytes, find_coco
from pipeline.formats.labels import Found, LabelledImage, LabelProblem
from pipeline.formats.planes import find_planes, plane_bytes, planes_of, sidecar_bytes
from pipeline.formats.table import find_table, write_table
from pipeline.formats.tasks import find_tasks
from pipeline.formats.yolo import data_yaml, label_rows
from pipeline.formats.yolo_layout import find_yolo
from pipeline.stages.merge import MergeSettings, opinion_of
from tests.fakes.store import NOON, sample_id

SIZE_HW = (30, 40)
CLASSES = ["cat", "dog"]
BOXES = (Box(1, 1, 8, 8), Box(10, 1, 18, 9), Box(20, 3, 29, 12), Box(4, 15, 15, 28))


def objects(*numbers: int) -> list[Instance]:
    """A cat or a dog in each of these boxes, in this order; an order gives rows other ids."""
    return [
        Instance(
            f"{row}",
            CLASSES[number % 2],
            BOXES[number],
            Mask.from_box(BOXES[number], SIZE_HW),
            Origin(OriginKind.HUMAN, "anna"),
            State.DRAWN,
        )
        for row, number in enumerate(numbers)
    ]


def coco(rows: Sequence[Instance], folder: Path) -> Iterator[Found | LabelProblem]:
    image = LabelledImage("x.png", SIZE_HW, None, tuple(rows))
    (folder / "labels.json").write_bytes(coco_bytes([image], CLASSES))
    return find_coco(folder / "labels.json", folder)


def coco_boxes(rows: Sequence[Instance], folder: Path) -> Iterator[Found | LabelProblem]:
    return coco([replace(row, mask=None) for row in rows], folder)


def yolo(rows: Sequence[Instance], folder: Path) -> Iterator[Found | LabelProblem]:
    for name in ("images/train", "images/val", "labels/train"):
        (folder / name).mkdir(parents=True)
    (folder / "data.yaml").write_text(data_yaml(CLASSES))
    (folder / "images/train/x.png").touch()
    (folder / "labels/train/x.txt").write_text(label_rows(rows, CLASSES, SIZE_HW))
    return find_yolo(folder, CLASSES)


def tasks(rows: Sequence[Instance], folder: Path) -> Iterator[Found | LabelProblem]:
    image = LabelledImage("x.png", SIZE_HW, None, tuple(rows))
    (folder / "tasks.json").write_bytes(write_tasks([image], CLASSES)["tasks.json"])
    return find_tasks(folder / "tasks.json", folder, read_tasks)


def planes(rows: Sequence[Instance], folder: Path) -> Iterator[Found | LabelProblem]:
    (folder / "masks").mkdir()
    drawn, places = planes_of(rows, SIZE_HW)
    names = [f"x.{number}.png" for number in range(len(drawn))]
    for name, plane in zip(names, drawn, strict=True):
        (folder / "masks" / name).write_bytes(plane_bytes(plane))
    (folder / "masks/x.json").write_bytes(sidecar_bytes("x.png", SIZE_HW, names, rows, places))
    return find_planes(folder, folder)


def table(rows: Sequence[Instance], folder: Path) -> Iterator[Found | LabelProblem]:
    entry = DatasetEntry(sample_id(0), SIZE_HW, "train", "g", 1, tuple(rows))
    write_table([entry], folder / "t.parquet", lambda _: "x.png")
    return find_table(folder / "t.parquet", folder)


FORMATS = [coco, coco_boxes, yolo, tasks, planes, table]
Format = Callable[[Sequence[Instance], Path], Iterator[Found | LabelProblem]]


def read(write: Format, folder: Path, *numbers: int) -> tuple[Instance, ...]:
    folder.mkdir()
    (found,) = write(objects(*numbers), folder)
    assert isinstance(found, Found)
    assert found.labels is not None
    labels = found.labels.read(SIZE_HW, sample_id(0))
    assert labels.problems == ()
    return labels.instances


@pytest.mark.parametrize("write", FORMATS, ids=lambda one: one.__name__)
def test_rows_that_come_go_or_change_places_leave_the_others_their_ids(write: Format, tmp_path: Path) -> None:
    ids = {item.box: item.id for item in read(write, tmp_path / "all", 0, 1, 2, 3)}
    assert len(set(ids.values())) == len(BOXES)
    for name, numbers in {"less": (0, 2, 3), "back": (3, 2, 1, 0), "moved": (2, 0, 3)}.items():
        assert {item.box: item.id for item in read(write, tmp_path / name, *numbers)} == {
            BOXES[number]: ids[BOXES[number]] for number in numbers
        }


@pytest.mark.parametrize("write", [coco, coco_boxes, tasks, planes, table], ids=lambda one: one.__name__)
def test_equal_objects_have_ids_of_their_own(write: Format, tmp_path: Path) -> None:
    one, other = read(write, tmp_path / "two", 0, 0)
    first, other_again, between = read(write, tmp_path / "three", 0, 0, 1)
    assert one.id != other.id
    assert {first.id, other_again.id} == {one.id, other.id}
    assert between.id not in (one.id, other.id)


def test_what_a_person_rejected_stays_rejected_when_the_file_loses_a_row(tmp_path: Path) -> None:
    """The rejection is of an object, and not of the row that it once stood in."""
    before, after = read(coco, tmp_path / "before", 0, 1, 2), read(coco, tmp_path / "after", 1, 2)
    label_file, anna = Origin(OriginKind.IMPORTED, "labels.json"), Origin(OriginKind.HUMAN, "anna")
    rejected = replace(before[1], state=State.REJECTED)
    history = [
        Annotation(sample_id(0), 1, before, label_file, 0, NOON),
        Annotation(sample_id(0), 2, (rejected,), anna, 1, NOON, partial=True),
        Annotation(sample_id(0), 3, after, label_file, 0, NOON),
    ]
    opinion = opinion_of(history, MergeSettings())
    assert opinion is not None
    assert [item.box for item in opinion.present] == [BOXES[2]]


def test_a_box_and_its_mask_are_two_things(tmp_path: Path) -> None:
    (masked,) = read(coco, tmp_path / "mask", 0)
    (boxed,) = read(coco_boxes, tmp_path / "box", 0)
    assert masked.id != boxed.id
    content = json.loads((tmp_path / "box/labels.json").read_text())
    content["annotations"][0]["bbox"] = [float(side) for side in content["annotations"][0]["bbox"]]
    (tmp_path / "box/labels.json").write_text(json.dumps(content))
    (found,) = find_coco(tmp_path / "box/labels.json", tmp_path)
    assert isinstance(found, Found)
    assert found.labels is not None
    assert found.labels.read(SIZE_HW, sample_id(0)).instances[0].id == boxed.id, "1 and 1.0 are one number"
