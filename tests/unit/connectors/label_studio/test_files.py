"""Label Studio's own JSON: what is written is read back to the pixel, also by Label Studio's own converter."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors.label_studio.files import TaskLabels, read_tasks, write_tasks
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Origin, OriginKind, State
from pipeline.errors import BadFormat

PYTHON = Path(__file__).resolve().parents[4] / ".venv-label-studio" / "bin" / "python"
SIZE_HW = (30, 44)
CLASSES = ("cat", "größer / dog")


@dataclass(frozen=True)
class Pictured:
    file_name: str
    instances: tuple[Instance, ...]


def instance(seed: int, label: str = "cat", state: State = State.DRAWN) -> Instance:
    mask = Mask.from_bitmap(np.random.default_rng(seed).random(SIZE_HW) < 0.3)
    kind = OriginKind.MODEL if state is State.PROPOSED else OriginKind.HUMAN
    return Instance(f"i{seed}", label, mask.box or Box(0, 0, 1, 1), mask, Origin(kind, "x"), state, confidence=0.5)


PICTURES = (
    Pictured("images/train/a b.png", (instance(1), instance(2, CLASSES[1]), instance(3, state=State.REJECTED))),
    Pictured("images/val/nothing.png", ()),
    Pictured("images/val/guess.png", (instance(4, state=State.PROPOSED),)),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in write_tasks(PICTURES, CLASSES).items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def shapes(labels: TaskLabels | str) -> list[tuple[str, Box | None, Mask | None]]:
    assert isinstance(labels, TaskLabels)
    found = list(labels.shapes(SIZE_HW))
    assert not any(isinstance(one, str) for one in found), found
    return [(one.label, one.box, one.mask) for one in found if not isinstance(one, str)]


def test_masks_come_back_and_guesses_do_not(folder: Path) -> None:
    read = read_tasks(folder / "tasks.json")
    full, empty = read.tasks
    assert shapes(full) == [(item.label, None, item.mask) for item in PICTURES[0].instances[:2]]
    assert shapes(empty) == []
    assert isinstance(full, TaskLabels)
    assert full.image == "a b.png"
    assert (read.predictions, read.skipped) == (1, 1), "a prediction is no annotation"


def test_label_studios_own_converter_sees_the_masks(folder: Path) -> None:
    if not PYTHON.is_file():
        pytest.skip("Label Studio's kit is not installed here: `make label-studio`")
    out = folder / "out"
    out.mkdir()
    script = (
        "import sys\nfrom label_studio_sdk.converter import Converter\n"
        "Converter(sys.argv[1], None, download_resources=False)"
        ".convert(sys.argv[2], sys.argv[3], 'BRUSH_TO_NUMPY', is_dir=False)"
    )
    told = [str(folder / "labeling.xml"), str(folder / "tasks.json"), str(out)]
    subprocess.run([PYTHON, "-c", script, *told], check=True, capture_output=True)
    seen = {path.stem: np.load(path) > 127 for path in out.iterdir()}
    wanted = {
        "task-1-annotation-1-by--brush-cat-0": PICTURES[0].instances[0].mask,
        "task-1-annotation-1-by--brush-größer - dog-0": PICTURES[0].instances[1].mask,
    }
    assert seen.keys() == wanted.keys()
    for name, mask in wanted.items():
        assert mask is not None
        assert np.array_equal(seen[name], mask.bitmap())


def tasks(folder: Path, *rows: Any) -> Path:
    path = folder / "t.json"
    path.write_text(json.dumps(rows))
    return path


def task(address: Any, *annotations: Any) -> dict[str, Any]:
    return {"data": {"image": address}, "annotations": list(annotations)}


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/local-files/?d=a/b%20c/x%2By.png", "x+y.png"),
        ("/data/upload/12/0a1b2c3d-x.jpg", "x.jpg"),
        ("/data/local-files/?d=0a1b2c3d-x.jpg", "0a1b2c3d-x.jpg"),
        ("https://example.org/pictures/x.png?version=3", "x.png"),
        ("s3://bucket/a/x.JPEG", "x.JPEG"),
        ("a\\b\\x.png", "x.png"),
        ("../../etc/x.png", "x.png"),
    ],
)
def test_an_image_is_called_by_the_end_of_its_address(address: str, name: str, tmp_path: Path) -> None:
    (found,) = read_tasks(tasks(tmp_path, task(address, {"result": []}))).tasks
    assert isinstance(found, TaskLabels)
    assert found.image == name


@pytest.mark.parametrize("data", [{"a": "x.png", "b": "y.png"}, {"text": "no image"}, {"image": 7}, {}])
def test_a_task_without_one_image_is_told(data: dict[str, Any], tmp_path: Path) -> None:
    (found,) = read_tasks(tasks(tmp_path, {"data": data, "annotations": [{"result": []}]})).tasks
    assert isinstance(found, str)
    assert "images, not one" in found


def test_a_task_of_ours_names_its_sample(tmp_path: Path) -> None:
    row = {"data": {"image": "x.png", "maskloop_sample": "a" * 64}, "annotations": [{"result": []}]}
    (found,) = read_tasks(tasks(tmp_path, row)).tasks
    assert isinstance(found, TaskLabels)
    assert found.image == "a" * 64


def region(name: str, kind: str, value: dict[str, Any], label: str = "cat") -> dict[str, Any]:
    height, width = SIZE_HW
    size = {"original_width": width, "original_height": height}
    return {"id": name, "type": kind, "value": value | {kind: [label]}, **size}


def test_the_newest_answer_counts_and_a_skipped_one_does_not(tmp_path: Path) -> None:
    old = {"updated_at": "2026-01-01T00:00:00Z", "result": [region("r", "rectanglelabels", {})]}
    new = {"updated_at": "2026-01-02T00:00:00Z", "result": []}
    skipped = {"updated_at": "2026-01-03T00:00:00Z", "result": [], "was_cancelled": True}
    read = read_tasks(tasks(tmp_path, task("x.png", old, new, skipped), task("y.png", skipped)))
    (found,) = read.tasks
    assert shapes(found) == []
    assert read.skipped == 1
    assert read.notes == ("task 1: 2 annotations, of which the newest is taken",)


def test_rectangles_are_boxes_and_polygons_of_one_object_one_mask(tmp_path: Path) -> None:
    square = {"x": 0, "y": 0, "width": 50, "height": 50}
    one, other = [[0, 0], [20, 0], [20, 50], [0, 50]], [[50, 0], [70, 0], [70, 50], [50, 50]]
    rows = [
        region("b", "rectanglelabels", square),
        region("p", "polygonlabels", {"points": one}),
        region("p~2", "polygonlabels", {"points": other}),
    ]
    (found,) = read_tasks(tasks(tmp_path, task("x.png", {"result": rows}))).tasks
    (_, box, nothing), (_, _, mask) = shapes(found)
    assert (box, nothing) == (Box(0, 0, 22, 15), None)
    points = [np.array(ring) * np.array(SIZE_HW[::-1]) / 100 for ring in (one, other)]
    assert mask == Mask.from_polygons(points, SIZE_HW)


def test_what_cannot_be_an_object_is_told(tmp_path: Path) -> None:
    brush = write_tasks(PICTURES[:1], CLASSES)["tasks.json"]
    first = json.loads(brush)[0]["annotations"][0]["result"][0]
    rows = [
        region("k", "keypointlabels", {"x": 1, "y": 1}),
        region("n", "brushlabels", {"rle": [1, 2, 3], "format": "rle"}),
        first,
        first,
    ]
    (found,) = read_tasks(tasks(tmp_path, task("x.png", {"result": rows}))).tasks
    assert isinstance(found, TaskLabels)
    told = [one for one in found.shapes(SIZE_HW) if isinstance(one, str)]
    assert ["no object" in told[0], "'n' cannot be read" in told[1], "there twice" in told[2]] == [True] * 3
    other = [one for one in found.shapes((31, 44)) if isinstance(one, str)]
    assert all("image" in one for one in other[1:]), "of an image of another size"


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"{}", "list of tasks"), (b"[", "not JSON"), (b"\xff", "not UTF-8"), (b"[" * 100_000, "not JSON")],
)
def test_what_is_no_file_of_tasks(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(content)
    with pytest.raises(BadFormat, match=words):
        read_tasks(path)


def test_a_mask_of_nothing_is_no_region() -> None:
    nothing = replace(instance(1), mask=Mask.empty(SIZE_HW))
    assert json.loads(write_tasks([Pictured("x.png", (nothing,))], CLASSES)["tasks.json"])[0]["annotations"] == [
        {"id": 1, "result": []}
    ]
