"""YOLO rows and layouts."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Origin, OriginKind, State
from pipeline.errors import BadFormat, DataError
from pipeline.formats.labels import Found, LabelProblem, imported
from pipeline.formats.yolo import YoloLabels, data_yaml, label_rows, parse_rows
from pipeline.formats.yolo_layout import find_yolo, numbered_as

SOURCE = Path("labels/x.txt")


def instance(mask: Mask | None = None, box: Box | None = None, label: str = "cat") -> Instance:
    return imported(label, box, mask, key="key", index=0, source=SOURCE)


def ring_with_gap() -> Mask:
    """Two parts, one of them with two holes."""
    bitmap = np.zeros((40, 60), dtype=np.bool_)
    bitmap[5:30, 5:30] = True
    bitmap[10:15, 10:15] = False
    bitmap[20:25, 12:28] = False
    bitmap[33:38, 40:55] = True
    return Mask.from_bitmap(bitmap)


def test_holes_and_parts_are_one_row_and_come_back_exactly() -> None:
    mask = ring_with_gap()
    text = label_rows([instance(mask)], ["cat"], mask.size_hw)
    assert text.count("\n") == 1
    (back,), problems = parse_rows(text, ["cat"], mask.size_hw, source=SOURCE, key="key")
    assert problems == ()
    assert back.mask == mask
    assert back.box == mask.box
    assert (back.origin, back.state) == (Origin(OriginKind.IMPORTED, "x.txt"), State.ACCEPTED)


def test_a_box_without_a_mask_is_five_numbers() -> None:
    text = label_rows([instance(box=Box(10, 5, 30, 25))], ["dog", "cat"], (50, 100))
    assert text == "1 0.200000 0.300000 0.200000 0.400000\n"
    (back,), _ = parse_rows(text, ["dog", "cat"], (50, 100), source=SOURCE, key="key")
    assert (back.label, back.mask) == ("cat", None)
    assert tuple(back.box) == pytest.approx((10, 5, 30, 25))


def test_a_large_image_comes_back_exactly_too() -> None:
    mask = Mask.from_box(Box(4_001, 2_999, 4_002, 3_000), (3_000, 7_331))
    (back,), _ = parse_rows(
        label_rows([instance(mask)], ["cat"], mask.size_hw), ["cat"], mask.size_hw, source=SOURCE, key="k"
    )
    assert back.mask == mask


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(DataError, match="'cat' is not among"):
        label_rows([instance(ring_with_gap())], ["dog"], (40, 60))


def test_ids_depend_on_image_and_object_only() -> None:
    text = "0 0.5 0.5 0.2 0.2\n0 0.4 0.4 0.1 0.1\n"
    first, _ = parse_rows(text, ["cat"], (50, 50), source=SOURCE, key="one")
    again, _ = parse_rows(text, ["cat"], (50, 50), source=Path("elsewhere") / SOURCE, key="one")
    other, _ = parse_rows(text, ["cat"], (50, 50), source=SOURCE, key="two")
    assert first == again
    assert len({one.id for one in (*first, *other)}) == 4


def test_ignored_names_are_neither_instances_nor_problems() -> None:
    text = "0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n"
    found, problems = parse_rows(text, ["cat", "dog"], (50, 50), source=SOURCE, key="k", ignore=frozenset({"cat"}))
    assert [one.label for one in found] == ["dog"]
    assert problems == ()


def test_data_yaml_holds_no_path_of_a_machine() -> None:
    content = yaml.safe_load(data_yaml(["cat", "größer"]))
    assert content == {"train": "images/train", "val": "images/val", "names": {0: "cat", 1: "größer"}}


def lay_out(root: Path, *files: str) -> None:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")


def found(path: Path, classes: tuple[str, ...] = ("cat",)) -> dict[str, tuple[str | None, str | None]]:
    """Image (below the root) -> split, and the label file."""
    root = path if path.is_dir() else path.parent
    table: dict[str, tuple[str | None, str | None]] = {}
    for one in find_yolo(path, classes):
        assert isinstance(one, Found)
        label = str(one.labels.path.relative_to(root)) if one.labels is not None else None
        table[str(one.image.relative_to(root))] = (one.split, label)
    return table


def test_folders_of_splits(tmp_path: Path) -> None:
    lay_out(tmp_path, "images/train/a.jpg", "labels/train/a.txt", "images/val/b.jpg")
    assert found(tmp_path) == {
        "images/train/a.jpg": ("train", "labels/train/a.txt"),
        "images/val/b.jpg": ("val", None),
    }


def test_splits_of_folders(tmp_path: Path) -> None:
    lay_out(tmp_path, "train/images/a.jpg", "train/labels/a.txt", "valid/images/b.jpg", "valid/labels/b.txt")
    assert found(tmp_path) == {
        "train/images/a.jpg": ("train", "train/labels/a.txt"),
        "valid/images/b.jpg": ("val", "valid/labels/b.txt"),
    }


def test_one_flat_folder_has_no_split_and_its_own_names(tmp_path: Path) -> None:
    lay_out(tmp_path, "images/a.jpg", "labels/a.txt")
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    assert found(tmp_path) == {"images/a.jpg": (None, "labels/a.txt")}
    (one,) = find_yolo(tmp_path, ("cat",))
    assert isinstance(one, Found)
    assert isinstance(one.labels, YoloLabels)
    assert one.labels.classes == {0: "dog", 1: "cat"}


@pytest.mark.parametrize("path", [None, ".", "/somewhere/else/data"])
@pytest.mark.parametrize("prefix", ["", "../", "./"])
def test_a_description_finds_its_folders(path: str | None, prefix: str, tmp_path: Path) -> None:
    lay_out(tmp_path, "train/images/a.jpg", "train/labels/a.txt", "valid/images/b.jpg")
    folders = {"train": f"{prefix}train/images", "val": [f"{prefix}valid/images"]}
    content = {"path": path, **folders, "names": {3: "cat"}}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(content))
    for start in (tmp_path, tmp_path / "data.yaml"):
        assert found(start) == {
            "train/images/a.jpg": ("train", "train/labels/a.txt"),
            "valid/images/b.jpg": ("val", None),
        }


def test_a_description_may_name_a_list(tmp_path: Path) -> None:
    lay_out(tmp_path, "images/a.jpg", "images/b.jpg", "labels/a.txt")
    (tmp_path / "train.txt").write_text("./images/a.jpg\n\nimages/b.jpg\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [cat]\n")
    assert found(tmp_path) == {"images/a.jpg": ("train", "labels/a.txt"), "images/b.jpg": ("train", None)}


def test_a_download_is_told_and_never_run(tmp_path: Path) -> None:
    lay_out(tmp_path, "images/a.jpg")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat]\ndownload: https://example.org/x.zip\n")
    problem, _ = find_yolo(tmp_path, ("cat",))
    assert isinstance(problem, LabelProblem)
    assert not problem.lost


def test_a_test_set_that_nobody_wrote_is_told(tmp_path: Path) -> None:
    """As Roboflow's data.yaml has it; a training set that is missing is a mistake."""
    lay_out(tmp_path, "train/images/a.jpg", "valid/images/b.jpg")
    text = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [cat]\n"
    (tmp_path / "data.yaml").write_text(text)
    problem, *images = find_yolo(tmp_path, ("cat",))
    assert isinstance(problem, LabelProblem)
    assert not problem.lost
    assert "'../test/images', which does not exist" in problem.reason
    assert len(images) == 2
    for missing in (text.replace("../train", "../gone"), "test: ../test/images\nnames: [cat]\n"):
        (tmp_path / "data.yaml").write_text(missing)
        with pytest.raises(BadFormat, match="does not exist"):
            list(find_yolo(tmp_path, ("cat",)))


def test_numbers_of_names_may_be_text(tmp_path: Path) -> None:
    lay_out(tmp_path, "images/a.jpg", "labels/a.txt")
    description = tmp_path / "data.yaml"
    description.write_text("train: images\nnames: {'0': dog, '10': cat}\n")
    (one,) = find_yolo(tmp_path, ("cat",))
    assert isinstance(one, Found)
    assert isinstance(one.labels, YoloLabels)
    assert one.labels.classes == {0: "dog", 10: "cat"}
    for names in ("{'0': dog, 0: cat}", "{'x': dog}", "{'-1': dog}", "{0.5: dog}"):
        description.write_text(f"train: images\nnames: {names}\n")
        with pytest.raises(BadFormat, match="'names'"):
            list(find_yolo(tmp_path, ("cat",)))


def test_a_label_file_whose_accents_are_apart(tmp_path: Path) -> None:
    apart, together = (unicodedata.normalize(form, "Größe") for form in ("NFD", "NFC"))
    lay_out(tmp_path, f"images/{apart}.jpg", f"labels/{together}.txt")
    assert found(tmp_path) == {f"images/{apart}.jpg": (None, f"labels/{together}.txt")}


def test_what_numbers_mean_is_told_where_only_the_project_says_it(tmp_path: Path) -> None:
    told = numbered_as(tmp_path, ("coin", "ring"))
    assert told is not None
    assert "0 coin, 1 ring" in told
    (tmp_path / "classes.txt").write_text("ring\n")
    assert numbered_as(tmp_path, ("coin", "ring")) is None
    (tmp_path / "classes.txt").rename(tmp_path / "data.yaml")
    assert numbered_as(tmp_path, ("coin", "ring")) is None
    assert numbered_as(tmp_path / "data.yaml", ("coin", "ring")) is None


def test_a_yaml_bomb_stays_small(tmp_path: Path) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in pairwise("abcdefghi")]
    (tmp_path / "data.yaml").write_text("\n".join([*lines, "names: *i", "train: x"]))
    with pytest.raises(BadFormat, match="'names' must map"):
        list(find_yolo(tmp_path, ("cat",)))
