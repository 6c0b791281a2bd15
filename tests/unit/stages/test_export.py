from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml

from pipeline.domain.dataset import DatasetEntry, manifest_bytes, parse_manifest
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Origin, OriginKind, State
from pipeline.errors import DataError
from pipeline.formats.coco import find_coco
from pipeline.formats.labels import Found
from pipeline.formats.yolo import parse_rows
from pipeline.stages.export import export_coco, export_yolo, tree_hash

CLASSES = ("disc", "star")
SIZE = (20, 30)
BOX = Box(2, 3, 12, 13)
MASK = Mask.from_box(BOX, SIZE)
A, B, C = (letter * 64 for letter in "abc")


def instance(name: str, label: str = "disc") -> Instance:
    return Instance(name, label, BOX, MASK, Origin(OriginKind.HUMAN, "x"), State.DRAWN)


ENTRIES = [
    DatasetEntry(B, SIZE, "val", B, 1, (instance("2", "star"), instance("1"))),
    DatasetEntry(A, SIZE, "train", A, 2, (instance("3"),)),
    DatasetEntry(C, SIZE, "train", C, 1, ()),
]
FORMATS = {A: "PNG", B: "JPEG", C: "BMP"}


@pytest.fixture
def images(tmp_path: Path) -> Callable[[str], Path]:
    """Image files whose names say nothing about what they are."""
    folder = tmp_path / "originals"
    folder.mkdir()
    for number, (sample_id, kind) in enumerate(FORMATS.items()):
        frame = np.full((*SIZE, 3), 40 * number, dtype=np.uint8)
        PIL.Image.fromarray(frame).save(folder / f"{sample_id[0]}.GIF", kind)
    return lambda sample_id: folder / f"{sample_id[0]}.GIF"


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_folder(images: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "version"
    export_yolo(ENTRIES, CLASSES, images, folder)
    a, b, c = (letter * 16 for letter in "abc")
    assert files(folder) == [
        "data.yaml",
        f"images/train/{a}.png",
        f"images/train/{c}.bmp",
        f"images/val/{b}.jpg",
        f"labels/train/{a}.txt",
        f"labels/train/{c}.txt",
        f"labels/val/{b}.txt",
        "manifest.jsonl",
    ]
    assert (folder / "images/test").is_dir()
    assert (folder / "labels/test").is_dir()
    assert (folder / f"labels/train/{c}.txt").read_bytes() == b"", "a negative image has an empty label file"
    text = (folder / f"labels/val/{b}.txt").read_text()
    read, problems = parse_rows(text, CLASSES, SIZE, source=Path("x"), key="x")
    assert [item.label for item in read] == ["disc", "star"], "rows are in the order of the instances' ids"
    assert [item.mask for item in read] == [MASK] * 2
    assert problems == ()
    described = yaml.safe_load((folder / "data.yaml").read_text())
    assert described == {"train": "images/train", "val": "images/val", "names": {0: "disc", 1: "star"}}
    classes, entries = parse_manifest((folder / "manifest.jsonl").read_bytes())
    assert classes == CLASSES
    assert [entry.sample_id for entry in entries] == [A, B, C]


def test_without_val_images_the_folder_is_there_all_the_same(
    images: Callable[[str], Path], tmp_path: Path
) -> None:
    export_yolo(ENTRIES[1:], CLASSES, images, tmp_path / "version")
    assert list((tmp_path / "version/images/val").iterdir()) == []
    assert yaml.safe_load((tmp_path / "version/data.yaml").read_text())["val"] == "images/val"


def test_same_entries_same_bytes_wherever_and_in_whatever_order(
    images: Callable[[str], Path], tmp_path: Path
) -> None:
    export_yolo(ENTRIES, CLASSES, images, tmp_path / "one")
    export_yolo(ENTRIES[::-1], CLASSES, images, tmp_path / "elsewhere" / "two")
    assert tree_hash(tmp_path / "one") == tree_hash(tmp_path / "elsewhere" / "two")
    text = b"".join((tmp_path / "one" / name).read_bytes() for name in ("data.yaml", "manifest.jsonl"))
    assert os.fsencode(tmp_path) not in text


def test_images_are_hard_links(images: Callable[[str], Path], tmp_path: Path) -> None:
    export_yolo(ENTRIES, CLASSES, images, tmp_path / "version")
    assert (tmp_path / f"version/images/train/{A[:16]}.png").samefile(images(A))
    assert (tmp_path / f"version/images/val/{B[:16]}.jpg").samefile(images(B))


def test_across_devices_they_are_copies_with_the_same_tree(
    images: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_yolo(ENTRIES, CLASSES, images, tmp_path / "linked")

    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "another device")

    monkeypatch.setattr(os, "link", refuse)
    export_yolo(ENTRIES, CLASSES, images, tmp_path / "copied")
    assert not (tmp_path / f"copied/images/train/{A[:16]}.png").samefile(images(A))
    assert tree_hash(tmp_path / "copied") == tree_hash(tmp_path / "linked")


def test_other_failures_to_link_are_not_hidden(
    images: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="no space left"):
        export_yolo(ENTRIES, CLASSES, images, tmp_path / "version")


def test_a_jpeg_with_trailing_bytes_is_given_an_end_and_the_original_is_left_alone(
    images: Callable[[str], Path], tmp_path: Path
) -> None:
    trailing = images(B).read_bytes() + b"camera notes"
    images(B).write_bytes(trailing)
    export_yolo(ENTRIES, CLASSES, images, tmp_path / "version")
    exported = tmp_path / f"version/images/val/{B[:16]}.jpg"
    assert exported.read_bytes() == trailing + b"\xff\xd9"
    assert images(B).read_bytes() == trailing
    with PIL.Image.open(exported) as ours, PIL.Image.open(images(B)) as original:
        assert ours.tobytes() == original.tobytes()


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file") as caught:
        export_yolo(ENTRIES[:1], CLASSES, lambda name: tmp_path / "gone.png", tmp_path / "version")
    assert caught.value.sample_id == B


def test_a_kind_that_trainers_do_not_read_is_named(images: Callable[[str], Path], tmp_path: Path) -> None:
    images(A).write_bytes(b"GIF89a and so on")
    with pytest.raises(DataError, match="not a JPEG, PNG"):
        export_yolo(ENTRIES, CLASSES, images, tmp_path / "version")


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (replace(instance("1"), mask=None), "has no mask"),
        (instance("1", "horse"), "'horse'"),
        (replace(instance("1"), mask=Mask.empty(SIZE)), "covers no pixel"),
    ],
)
def test_an_instance_that_cannot_be_written_is_named(
    wrong: Instance, complaint: str, images: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        export_yolo([replace(ENTRIES[1], instances=(wrong,))], CLASSES, images, tmp_path / "version")
    assert caught.value.sample_id == A


def test_two_ids_that_would_share_a_file_are_refused(images: Callable[[str], Path], tmp_path: Path) -> None:
    twin = replace(ENTRIES[1], sample_id=A[:16] + "f" * 48)
    with pytest.raises(DataError, match="first 16 digits"):
        export_yolo([ENTRIES[1], twin], CLASSES, images, tmp_path / "version")


def test_the_coco_folder(images: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "coco"
    export_coco(ENTRIES, CLASSES, images, folder)
    a, b, c = (letter * 16 for letter in "abc")
    assert files(folder) == [
        *(f"annotations/instances_{split}.json" for split in ("test", "train", "val")),
        f"images/train/{a}.png",
        f"images/train/{c}.bmp",
        f"images/val/{b}.jpg",
        "manifest.jsonl",
    ]
    content = json.loads((folder / "annotations/instances_val.json").read_text())
    assert [(image["file_name"], image["split"]) for image in content["images"]] == [(f"{b}.jpg", "val")]
    assert [row["segmentation"]["counts"].encode() for row in content["annotations"]] == [MASK.counts] * 2
    assert json.loads((folder / "annotations/instances_test.json").read_text())["annotations"] == []
    found = list(find_coco(folder / "annotations/instances_train.json", folder / "images/train"))
    assert len(found) == 2, "both images, the negative one too, are found again"
    assert all(isinstance(item, Found) for item in found)


def test_the_coco_folder_is_deterministic_and_names_what_it_cannot_write(
    images: Callable[[str], Path], tmp_path: Path
) -> None:
    export_coco(ENTRIES, CLASSES, images, tmp_path / "one")
    export_coco(ENTRIES[::-1], CLASSES, images, tmp_path / "two")
    assert tree_hash(tmp_path / "one") == tree_hash(tmp_path / "two")
    with pytest.raises(DataError, match="'star'") as caught:
        export_coco(ENTRIES, ("disc",), images, tmp_path / "three")
    assert caught.value.sample_id == B


def tree(folder: Path) -> Path:
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_text("one")
    (folder / "sub" / "b").write_text("two")
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a").write_text("One"),
        lambda folder: (folder / "a").rename(folder / "c"),
        lambda folder: (folder / "sub" / "b").rename(folder / "b"),
        lambda folder: (folder / "new").write_text(""),
        lambda folder: (folder / "a").unlink(),
        lambda folder: (folder / "link").symlink_to("a"),
        lambda folder: (folder / "link").symlink_to("sub"),
    ],
)
def test_tree_hash_sees_every_change(change: Callable[[Path], object], tmp_path: Path) -> None:
    before = tree_hash(tree(tmp_path / "tree"))
    change(tmp_path / "tree")
    assert tree_hash(tmp_path / "tree") != before


def test_tree_hash_ignores_times_places_and_empty_folders(tmp_path: Path) -> None:
    before = tree_hash(tree(tmp_path / "one"))
    other = tree(tmp_path / "two")
    os.utime(other / "a", (0, 0))
    (other / "empty").mkdir()
    assert tree_hash(other) == before


def test_tree_hash_never_follows_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tree(tmp_path / "tree")
    (folder / "link").symlink_to(outside)
    (folder / "dangling").symlink_to("nowhere")
    before = tree_hash(folder)
    (outside / "secret").write_text("changes")
    assert tree_hash(folder) == before


def test_a_large_tiff_is_a_tiff(tmp_path: Path) -> None:
    path = tmp_path / "c"
    PIL.Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(path, "TIFF", big_tiff=True)
    export_yolo([ENTRIES[2]], CLASSES, lambda _: path, tmp_path / "version")
    assert (tmp_path / f"version/images/train/{C[:16]}.tiff").is_file()


def test_a_version_shares_with_the_one_before_what_has_not_changed(
    images: Callable[[str], Path], tmp_path: Path
) -> None:
    blob = tmp_path / "blob"
    export_yolo(ENTRIES, CLASSES, images, tmp_path / "one")
    changed = [replace(ENTRIES[1], instances=(instance("3", "star"),)), ENTRIES[0], ENTRIES[2]]
    blob.write_bytes(manifest_bytes(changed, CLASSES))
    export_yolo(changed, CLASSES, images, tmp_path / "two", before=tmp_path / "one", manifest=blob)
    export_yolo(changed, CLASSES, images, tmp_path / "alone")
    assert tree_hash(tmp_path / "two") == tree_hash(tmp_path / "alone")
    assert tree_hash(tmp_path / "one") != tree_hash(tmp_path / "two")
    same, other = f"labels/val/{B[:16]}.txt", f"labels/train/{A[:16]}.txt"
    assert (tmp_path / "two" / same).samefile(tmp_path / "one" / same)
    assert not (tmp_path / "two" / other).samefile(tmp_path / "one" / other)
    assert (tmp_path / "two" / "manifest.jsonl").samefile(blob)
    shared = [path for path in (tmp_path / "two" / "labels").rglob("*.txt") if path.stat().st_nlink > 1]
    assert {path.stat().st_mode & 0o222 for path in [*shared, blob]} == {0}
    assert shared


def test_damage_is_not_passed_on_to_the_next_version(images: Callable[[str], Path], tmp_path: Path) -> None:
    export_yolo(ENTRIES, CLASSES, images, tmp_path / "one")
    wanted, label = tree_hash(tmp_path / "one"), tmp_path / f"one/labels/val/{B[:16]}.txt"
    label.write_bytes(label.read_bytes().replace(b"1", b"2"))
    (tmp_path / f"one/labels/train/{A[:16]}.txt").unlink()
    export_yolo(ENTRIES, CLASSES, images, tmp_path / "two", before=tmp_path / "one")
    assert tree_hash(tmp_path / "two") == wanted


def test_copies_share_nothing(images: Callable[[str], Path], tmp_path: Path) -> None:
    export_yolo(ENTRIES, CLASSES, images, tmp_path / "one")
    export_yolo(ENTRIES, CLASSES, images, tmp_path / "two", link=False, before=tmp_path / "one")
    assert tree_hash(tmp_path / "two") == tree_hash(tmp_path / "one")
    for path in (tmp_path / "two").rglob("*.*"):
        assert path.is_dir() or (path.stat().st_nlink == 1 and path.stat().st_mode & 0o200)


def test_a_mended_jpeg_is_shared_too(tmp_path: Path) -> None:
    path = tmp_path / "torn.jpg"
    PIL.Image.fromarray(np.zeros((*SIZE, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes() + b"more")
    for name, before in (("one", None), ("two", tmp_path / "one")):
        export_yolo([ENTRIES[2]], CLASSES, lambda _: path, tmp_path / name, before=before)
    mended = f"images/train/{C[:16]}.jpg"
    assert (tmp_path / "two" / mended).samefile(tmp_path / "one" / mended)
    assert path.read_bytes().endswith(b"more")
