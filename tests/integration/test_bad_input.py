"""Bad input: each kind of damage gets a clear error or a quarantine row with its reason, and its neighbours live.

Every case is one line of a table: a name, what makes the damage, and what must come of it. `Refused` means a
quarantine row whose reason holds the words; `Raises` an error of our tree; `Accepted` a sample, with what must
be true of it.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from connectors.executors import serial
from pipeline.domain.ingested import IngestedSample, Quarantined
from pipeline.errors import BadFormat, ConfigError, PipelineError
from pipeline.ports import Executor
from pipeline.stages.ingest import SourceSettings, SplitSettings, ingest
from tests.fakes.people import resources

CLASSES = ("cat", "dog")
GOOD = ("aaa.png", "zzz.png")
"""Neighbours of every damaged file, read before it and after it."""


@dataclass(frozen=True)
class Refused:
    words: str


@dataclass(frozen=True)
class Raises:
    error: type[PipelineError]
    words: str


@dataclass(frozen=True)
class Accepted:
    """The damaged file becomes a sample of `size_hw`, with `labels` instances (None: no annotation)."""

    size_hw: tuple[int, int] = (48, 64)
    labels: int | None = None
    copied: bool = False
    note: str | None = None


Outcome: TypeAlias = Refused | Raises | Accepted
Damage: TypeAlias = Callable[[Path], None]
Case: TypeAlias = tuple[str, str, Damage, Outcome]


# --- what makes the damage ------------------------------------------------------------------------------------


def picture(seed: int = 0, *, height: int = 48, width: int = 64) -> Pillow.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Pillow.fromarray(pixels)


def encoded(image: Pillow.Image, kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def content(data: bytes) -> Damage:
    return lambda path: _write(path, data)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def saved(image: Pillow.Image, kind: str = "PNG", **options: Any) -> Damage:
    return content(encoded(image, kind, **options))


def cut(kind: str, keep: float) -> Damage:
    data = encoded(picture(), kind)
    return content(data[: int(len(data) * keep)])


def flat_png(width: int, height: int) -> bytes:
    """A PNG that claims to be huge and is small: one bit a pixel, all zero."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compressobj()
    row = bytes((width + 7) // 8 + 1)
    data = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def rotated() -> Damage:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    return saved(picture(), "JPEG", exif=exif)


def animated(kind: str) -> Damage:
    return saved(picture(), kind, save_all=True, append_images=[picture(1)])


def opencv(suffix: str, array: np.ndarray[Any, Any]) -> Damage:
    return content(cv2.imencode(suffix, array)[1].tobytes())


def grey(dtype: type[np.generic]) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 200, (48, 64)).astype(dtype)


def named_pipe(path: Path) -> None:
    os.mkfifo(path)


def folder_named_like_an_image(path: Path) -> None:
    path.mkdir()
    picture(5).save(path / "inside.png")


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.parent / "gone.png")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def loop_of_folders(path: Path) -> None:
    picture(7).save(path)
    (path.parent / "round").symlink_to(path.parent, target_is_directory=True)


def unreadable(path: Path) -> None:
    """Tests may run as root, whom no permission stops: the fixture `refusing` plays the refusal."""
    picture().save(path)


IMAGES: list[Case] = [
    ("empty file", "x.jpg", content(b""), Refused("empty")),
    ("text", "x.jpg", content(b"this is no image\n" * 9), Refused("text")),
    ("random bytes", "x.png", content(bytes(range(256)) * 9), Refused("not JPEG")),
    ("JPEG signature alone", "x.jpg", content(b"\xff\xd8\xff\xe0"), Refused("damaged")),
    ("JPEG cut in half", "x.jpg", cut("JPEG", 0.5), Refused("truncated")),
    ("JPEG without its end", "x.jpg", cut("JPEG", 0.99), Refused("truncated")),
    ("PNG cut in half", "x.png", cut("PNG", 0.5), Refused("truncated")),
    ("WEBP cut in half", "x.webp", cut("WEBP", 0.5), Refused("damaged")),
    ("BMP cut in half", "x.bmp", cut("BMP", 0.5), Refused("truncated")),
    ("TIFF cut in half", "x.tif", cut("TIFF", 0.5), Refused("damaged")),
    ("one pixel", "x.png", saved(picture(height=1, width=1)), Refused("1 x 1")),
    ("one row", "x.png", saved(picture(height=1, width=500)), Refused("500 x 1")),
    ("400 megapixels in a small file", "x.png", content(flat_png(20_000, 20_000)), Refused("pixels")),
    ("120 megapixels", "x.png", content(flat_png(12_000, 10_000)), Refused("limit of 100,000,000")),
    ("GIF named jpg", "x.jpg", saved(picture().quantize(8), "GIF"), Refused("a GIF")),
    ("animated GIF", "x.gif", saved(picture().quantize(8), "GIF", save_all=True), Refused("a GIF")),
    ("animated PNG", "x.png", animated("PNG"), Refused("2 frames")),
    ("animated WEBP", "x.webp", animated("WEBP"), Refused("2 frames")),
    ("TIFF of two pages", "x.tiff", animated("TIFF"), Refused("2 frames")),
    ("HEIC", "x.heic", content(b"\0\0\0\x18ftypheic" + bytes(99)), Refused("HEIF")),
    ("PDF named png", "x.png", content(b"%PDF-1.7\n" + bytes(99)), Refused("a PDF")),
    ("float TIFF", "x.tif", saved(Pillow.fromarray(grey(np.float32)), "TIFF"), Refused("floats")),
    ("32-bit TIFF", "x.tif", saved(Pillow.fromarray(grey(np.int32)), "TIFF"), Refused("32-bit")),
    ("named pipe", "x.jpg", named_pipe, Refused("not a regular file")),
    ("link to nothing", "x.jpg", link_to_nothing, Refused("link to nothing")),
    ("link to itself", "x.jpg", link_to_itself, Refused("cannot be read")),
    ("no permission", "refused.png", unreadable, Refused("Permission denied")),
    ("name that is not UTF-8", os.fsdecode(b"x\xff.png"), saved(picture()), Refused("not valid UTF-8")),
    ("PNG named jpg", "x.jpg", saved(picture()), Accepted()),
    ("upper case suffix", "X.JPG", saved(picture(), "JPEG"), Accepted()),
    ("two photographs in an MPO", "x.jpg", animated("MPO"), Accepted()),
    ("rotated by EXIF", "x.jpg", rotated(), Accepted((64, 48), copied=True)),
    ("grey", "x.png", saved(picture().convert("L")), Accepted()),
    ("bilevel", "x.png", saved(picture().convert("1")), Accepted()),
    ("palette", "x.png", saved(picture().quantize(16)), Accepted()),
    ("transparent", "x.png", saved(Pillow.new("RGBA", (64, 48), (9, 9, 9, 0))), Accepted(copied=True)),
    ("CMYK", "x.jpg", saved(picture().convert("CMYK"), "JPEG"), Accepted(copied=True)),
    ("16-bit colour", "x.png", opencv(".png", np.full((48, 64, 3), 40_000, np.uint16)), Accepted()),
    ("16-bit grey", "x.png", opencv(".png", grey(np.uint16) * 300), Accepted()),
    ("broken EXIF", "x.jpg", saved(picture(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"), Accepted()),
    ("folder named like an image", "x.jpg", folder_named_like_an_image, Accepted()),
    ("folders that link in a circle", "x.png", loop_of_folders, Accepted()),
]


def coco(**changes: Any) -> Damage:
    """A COCO file about the neighbours and x.png, whose one annotation has these changes; None drops a key."""
    row = {"id": 3, "image_id": 3, "category_id": 1, "bbox": [5, 5, 20, 10], "iscrowd": 0} | changes
    return lambda path: _dataset(path, rows=[{key: value for key, value in row.items() if value is not None}])


def _dataset(
    path: Path, *, rows: list[dict[str, Any]], image: Mapping[str, Any] | None = None, save: bool = True
) -> None:
    names = [*GOOD, path.name]
    images = [{"id": n, "file_name": name, "width": 64, "height": 48} for n, name in enumerate(names, start=1)]
    images[-1] |= image or {}
    good = [{"id": n, "image_id": n, "category_id": 1, "bbox": [1, 2, 30, 20]} for n in (1, 2)]
    categories = [{"id": n, "name": name} for n, name in enumerate((*CLASSES, "bird"), start=1)]
    text = json.dumps({"images": images, "annotations": good + rows, "categories": categories})
    (path.parent.parent / "annotations.json").write_text(text)
    if save:
        picture(9).save(path)


def coco_rows(rows: list[dict[str, Any]]) -> Damage:
    return lambda path: _dataset(path, rows=rows)


def coco_image(*, save: bool = True, **image: Any) -> Damage:
    row = {"id": 3, "image_id": 3, "category_id": 1, "bbox": [5, 5, 20, 10]}
    return lambda path: _dataset(path, rows=[row], image=image, save=save)


def coco_text(text: str | bytes) -> Damage:
    data = text.encode() if isinstance(text, str) else text
    return lambda path: _write(path.parent.parent / "annotations.json", data)


def runs(counts: Any, size: tuple[int, int] = (48, 64)) -> dict[str, Any]:
    return {"segmentation": {"size": list(size), "counts": counts}}


CROSSING = [[10, 10, 40, 40, 40, 10, 10, 40]]
TWICE = [{"id": 3, "image_id": 3, "category_id": 1, "bbox": [5, 5, n, 10]} for n in (20, 30)]

NOTHING = '{"images":[],"annotations":[],"categories":[]}'

COCO: list[Case] = [
    ("missing image file", "x.png", coco_image(save=False), Refused("no such file")),
    ("unknown category", "x.png", coco(category_id=77), Refused("unknown category id 77")),
    ("category id of the wrong type", "x.png", coco(category_id=[1]), Refused("unknown category id [1]")),
    ("class that the project lacks", "x.png", coco(category_id=3), Refused("class 'bird'")),
    ("crowd region", "x.png", coco(iscrowd=1), Refused("crowd")),
    ("run lengths of another size", "x.png", coco(**runs([100], (10, 10))), Refused("[10, 10]")),
    ("run lengths that do not fit", "x.png", coco(**runs([5, 5])), Refused("runs cover 10 pixels")),
    ("run lengths beyond all memory", "x.png", coco(**runs([10**30])), Refused("runs cover")),
    ("negative run length", "x.png", coco(**runs([-1, 48 * 64 + 1])), Refused("runs cover")),
    ("run-length string with foreign letters", "x.png", coco(**runs("~~é")), Refused("run-length string")),
    ("run-length string cut short", "x.png", coco(**runs("P")), Refused("run-length string ends")),
    ("run lengths that are no numbers", "x.png", coco(**runs(["a"])), Refused("counts must be")),
    ("run lengths of nothing", "x.png", coco(**runs([48 * 64])), Refused("covers no pixel")),
    ("polygon of two points", "x.png", coco(segmentation=[[1, 1, 9, 9]]), Refused("three vertices")),
    ("polygon with half a point", "x.png", coco(segmentation=[[1, 1, 9, 9, 1, 9, 4]]), Refused("x, y pairs")),
    ("polygon with NaN", "x.png", coco(segmentation=[[1, 1, 9, float("nan"), 1, 9]]), Refused("x, y pairs")),
    ("polygon with infinity", "x.png", coco(segmentation=[[1, 1, float("inf"), 2, 1, 9]]), Refused("x, y pairs")),
    ("polygon that is text", "x.png", coco(segmentation="1,1,9,9"), Refused("list of polygons")),
    ("polygon outside the image", "x.png", coco(segmentation=[[90, 90, 99, 90, 99, 99]]), Refused("no pixel")),
    ("box outside the image", "x.png", coco(bbox=[100, 100, 20, 20]), Refused("outside the image")),
    ("box of negative width", "x.png", coco(bbox=[20, 20, -5, 5]), Refused("has no area")),
    ("box of three numbers", "x.png", coco(bbox=[1, 2, 3]), Refused("bbox must be four numbers")),
    ("box with NaN", "x.png", coco(bbox=[1, 2, float("nan"), 3]), Refused("bbox must be four numbers")),
    ("neither box nor outline", "x.png", coco(bbox=None), Refused("bbox must be four numbers")),
    ("annotation id used twice", "x.png", coco_rows(TWICE), Refused("id 3 is there 2 times")),
    ("labels for another size", "x.png", coco_image(width=640, height=480), Refused("labels are for")),
    ("file name outside the folder", "x.png", coco_image(file_name="../x.png"), Refused("outside the folder")),
    ("image without a file name", "x.png", coco_image(file_name=None), Refused("needs an 'id' and a 'file_name'")),
    ("annotation of an unlisted image", "x.png", coco(image_id=99), Accepted(labels=0, note="does not list")),
    ("annotation of no image", "x.png", coco(image_id=None), Accepted(labels=0, note="no image_id")),
    ("split of an unknown name", "x.png", coco_image(split="holdout"), Accepted(labels=1, note="holdout")),
    ("polygon that crosses itself", "x.png", coco(segmentation=CROSSING), Accepted(labels=1)),
    ("polygon half outside", "x.png", coco(segmentation=[[50, 10, 90, 10, 90, 30, 50, 30]]), Accepted(labels=1)),
    ("box half outside", "x.png", coco(bbox=[50, 40, 500, 500]), Accepted(labels=1)),
    ("not JSON", "x.png", coco_text("{'images': []}"), Raises(BadFormat, "line 1: not JSON")),
    ("JSON cut short", "x.png", coco_text('{"images": [\n{"id": 1'), Raises(BadFormat, "line 2: not JSON")),
    ("JSON nested without end", "x.png", coco_text("[" * 100_000), Raises(BadFormat, "not JSON")),
    ("JSON that is a list", "x.png", coco_text("[]"), Raises(BadFormat, "a COCO file is an object, not list")),
    ("keys missing", "x.png", coco_text('{"images": []}'), Raises(BadFormat, "annotations, categories")),
    ("not UTF-8", "x.png", coco_text(b'{"images": "\xff"}'), Raises(BadFormat, "not UTF-8")),
    ("no images", "x.png", coco_text(NOTHING), Raises(ConfigError, "no images")),
    (
        "category twice",
        "x.png",
        coco_text('{"images":[],"annotations":[],"categories":[{"id":1,"name":"a"},{"id":1,"name":"b"}]}'),
        Raises(BadFormat, "category 1 'b' is there twice"),
    ),
]


def yolo(text: str | bytes) -> Damage:
    """A YOLO dataset of folders in which x.png has this label file."""

    def make(path: Path) -> None:
        picture(9).save(path)
        label = path.parent.parent / "labels" / "x.txt"
        label.write_bytes(text.encode() if isinstance(text, str) else text)

    return make


def description(text: str) -> Damage:
    return lambda path: _write(path.parent.parent / "data.yaml", text.encode())


def described_images(text: str) -> Damage:
    def make(path: Path) -> None:
        yolo("0 0.5 0.5 0.2 0.2")(path)
        description(text)(path)

    return make


YOLO: list[Case] = [
    ("NaN", "x.png", yolo("0 nan 0.5 0.2 0.2"), Refused("x.txt line 1: nan is not a finite number")),
    ("infinity", "x.png", yolo("0 0.5 inf 0.2 0.2"), Refused("inf is not a finite number")),
    ("too few numbers", "x.png", yolo("0 0.5 0.5 0.2"), Refused("3 numbers after the class")),
    ("polygon of two points", "x.png", yolo("0 0.1 0.1 0.5 0.5 0.9"), Refused("5 numbers after the class")),
    ("half a point", "x.png", yolo("0 0.1 0.1 0.5 0.5 0.9 0.1 0.2"), Refused("7 numbers after the class")),
    ("class alone", "x.png", yolo("0"), Refused("0 numbers after the class")),
    ("class out of range", "x.png", yolo("7 0.5 0.5 0.2 0.2"), Refused("class 7 is out of range")),
    ("negative class", "x.png", yolo("-1 0.5 0.5 0.2 0.2"), Refused("class -1 is out of range")),
    ("class that is no whole number", "x.png", yolo("0.5 0.5 0.5 0.2 0.2"), Refused("class 0.5 is out of range")),
    ("class by name", "x.png", yolo("cat 0.5 0.5 0.2 0.2"), Refused("'cat' is not a number")),
    ("pixels for fractions", "x.png", yolo("0 32 24 10 10"), Refused("32 lies outside [0, 1]")),
    ("box without area", "x.png", yolo("0 0.5 0.5 0 0.2"), Refused("has no area")),
    ("polygon without area", "x.png", yolo("0 0.1 0.1 0.1 0.1 0.1 0.1"), Refused("covers no pixel")),
    ("second row of two", "x.png", yolo("0 0.5 0.5 0.2 0.2\n1 0.5 x 0.2 0.2"), Refused("line 2")),
    ("not text", "x.png", yolo(b"\xff\xfe0 0.5"), Refused("not UTF-8")),
    ("empty label file", "x.png", yolo(""), Accepted(labels=0)),
    ("blank rows and Windows ends", "x.png", yolo("\r\n0 0.5 0.5 0.2 0.2\r\n\r\n"), Accepted(labels=1)),
    ("byte order mark", "x.png", yolo(b"\xef\xbb\xbf0 0.5 0.5 0.2 0.2"), Accepted(labels=1)),
    ("a row twice", "x.png", yolo("0 0.5 0.5 0.2 0.2\n" * 2), Accepted(labels=1, note="taken once")),
    ("just outside by rounding", "x.png", yolo("0 0.5 0.5 1.0005 1"), Accepted(labels=1)),
    ("no label file", "x.png", saved(picture(9)), Accepted(labels=None)),
    (
        "download key",
        "x.png",
        described_images("train: images\nnames: [cat, dog]\ndownload: touch EXECUTED"),
        Accepted(labels=1, note="never executed"),
    ),
    ("YAML that runs code", "x.png", description("!!python/object/apply:os.abort []"), Raises(BadFormat, "plain")),
    ("broken YAML", "x.png", description("train: [images\nnames: x: y"), Raises(BadFormat, "not plain YAML")),
    ("YAML that is text", "x.png", description("images"), Raises(BadFormat, "a mapping")),
    ("no names", "x.png", description("train: images"), Raises(BadFormat, "'names' must be")),
    ("names: a number", "x.png", description("train: images\nnames: 3"), Raises(BadFormat, "'names' must be")),
    ("a name twice", "x.png", description("train: images\nnames: [a, a]"), Raises(BadFormat, "twice")),
    ("missing folder", "x.png", description("train: nowhere\nnames: [a]"), Raises(BadFormat, "does not exist")),
    ("no folders", "x.png", description("names: [a]"), Raises(BadFormat, "names no images")),
]


# --- the tests ------------------------------------------------------------------------------------------------


def take(kind: str, root: Path) -> tuple[dict[str, IngestedSample], dict[str, Quarantined]]:
    """Ingest the source under `root`: samples and quarantine rows by file name."""
    source = SourceSettings.model_validate({"kind": kind, "path": root / "images" if kind == "images" else root})
    executor: Executor = serial.build(serial.Settings(), resources(root))

    def store_image(png: bytes) -> Path:
        copy = root / "copies" / f"{zlib.crc32(png):08x}.png"
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(png)
        return copy

    found = list(
        ingest(
            [source],
            SplitSettings(),
            CLASSES,
            known={},
            quarantined={},
            executor=executor,
            store_image=store_image,
            scenes_folder=root / "scenes",
            pool={},
            looks=dict,
        )
    )
    samples = {one.source.name: one for one in found if isinstance(one, IngestedSample)}
    return samples, {one.path.name: one for one in found if isinstance(one, Quarantined)}


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files called refused.* cannot be opened, as if their permissions forbade it."""
    read_bytes = Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self.stem == "refused":
            raise PermissionError(13, "Permission denied", str(self))
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)


TABLE = [(kind, *case) for kind, cases in (("images", IMAGES), ("coco", COCO), ("yolo", YOLO)) for case in cases]


@pytest.mark.usefixtures("refusing")
# Pillow warns of the EXIF block that one case damages; the image itself is whole and is taken.
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize(
    ("kind", "file_name", "damage", "outcome"),
    [pytest.param(kind, *case, id=f"{kind}: {name}") for kind, name, *case in TABLE],
)
def test_bad_input(kind: str, file_name: str, damage: Damage, outcome: Outcome, tmp_path: Path) -> None:
    root = tmp_path.resolve()
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    for seed, name in enumerate(GOOD, start=100):
        picture(seed).save(root / "images" / name)
        (root / "labels" / name).with_suffix(".txt").write_text("0 0.5 0.5 0.25 0.25\n")
    damage(root / "images" / file_name)

    if isinstance(outcome, Raises):
        with pytest.raises(outcome.error) as raised:
            take(kind, root)
        assert outcome.words in str(raised.value)
        return
    samples, rows = take(kind, root)
    assert set(GOOD) <= set(samples), "a good neighbour was lost"
    if kind != "images":
        assert [len(samples[name].labels or ()) for name in GOOD] == [1, 1]
    told = " | ".join(row.reason for row in rows.values())
    if isinstance(outcome, Refused):
        assert outcome.words in told
        damaged = samples.keys() - set(GOOD)
        assert all(samples[name].labels is None for name in damaged), "incomplete labels were used"
    else:
        _check_accepted(outcome, samples, told, root)


def _check_accepted(wanted: Accepted, samples: Mapping[str, IngestedSample], told: str, root: Path) -> None:
    (name,) = samples.keys() - set(GOOD)
    taken = samples[name]
    assert (taken.labels is None) == (wanted.labels is None)
    assert len(taken.labels or ()) == (wanted.labels or 0)
    assert (wanted.note or "") in told
    assert bool(told) == (wanted.note is not None)
    assert taken.sample.size_hw == wanted.size_hw
    assert (taken.sample.path != taken.source) == wanted.copied
    frame = cv2.imread(str(taken.sample.path))
    assert frame is not None
    assert frame.shape[:2] == wanted.size_hw
    assert not (Path.cwd() / "EXECUTED").exists()
    assert not (root / "EXECUTED").exists()


def test_the_table_is_long_enough() -> None:
    assert len(TABLE) >= 100
    assert len({(kind, name) for kind, name, *_ in TABLE}) == len(TABLE)
