"""Damaged label files of every format: a clear error or a told problem, never a half import, and its neighbour lives.

Every case is one line of a table: the format, a name, what does the damage, what must be told, and whether the file
can still be used for its other image. The damage is always to what the file says of `bad.png`, or to the whole.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.label_studio.files import write_tasks
from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance
from pipeline.formats.coco import coco_bytes
from pipeline.formats.labels import LabelledImage, imported
from pipeline.formats.planes import plane_bytes, planes_of, sidecar_bytes
from pipeline.formats.table import write_table
from pipeline.formats.yolo import data_yaml, label_rows
from pipeline.store.workspace import Workspace
from pipeline.wiring import open_house
from tests.integration.commands import TINY, pipeline

SIZE_HW = (32, 48)
CLASSES = ("coin", "ring", "leaf", "star")
NAMES = ("bad.png", "good.png")
DEEP = "[" * 200_000
HUGE = 10**400

Damage = Callable[[Path], object]
Case = tuple[str, str, Damage, str, bool]


# --- a good folder of each format -----------------------------------------------------------------------------


def picture(name: str) -> bytes:
    pixels = np.random.default_rng(NAMES.index(name)).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1].tobytes())


def instances(name: str) -> tuple[Instance, ...]:
    bitmaps = [np.zeros(SIZE_HW, dtype=np.bool_) for _ in range(2)]
    bitmaps[0][3:20, 4:20] = True
    bitmaps[0][6:9, 7:12] = False
    bitmaps[1][22:30, 30:44] = True
    return tuple(
        imported(label, None, Mask.from_bitmap(bitmap), key=name, index=index, source=Path("x"))
        for index, (label, bitmap) in enumerate(zip(("coin", "star"), bitmaps, strict=True))
    )


def good(kind: str, folder: Path) -> Path:
    """A folder that is imported whole; the images lie in it too."""
    images = [LabelledImage(name, SIZE_HW, None, instances(name)) for name in NAMES]
    (folder / "images").mkdir(parents=True)
    for name in NAMES:
        (folder / "images" / name).write_bytes(picture(name))
    match kind:
        case "yolo":
            (folder / "labels").mkdir()
            for name in NAMES:
                (folder / "labels" / name).with_suffix(".txt").write_text(
                    label_rows(instances(name), CLASSES, SIZE_HW)
                )
            text = data_yaml(CLASSES).replace("images/train", "images").replace("val: images/val\n", "")
            (folder / "data.yaml").write_text(text)
        case "coco":
            (folder / "annotations.json").write_bytes(coco_bytes(images, CLASSES))
        case "label_studio":
            (folder / "tasks.json").write_bytes(write_tasks(images, CLASSES)["tasks.json"])
        case "masks":
            (folder / "masks").mkdir()
            for image in images:
                planes, places = planes_of(image.instances, SIZE_HW)
                target = folder / "masks" / image.file_name
                target.write_bytes(plane_bytes(planes[0]))
                sidecar = sidecar_bytes(image.file_name, SIZE_HW, [target.name], image.instances, places)
                target.with_suffix(".json").write_bytes(sidecar)
        case "table":
            entries = [DatasetEntry(name, SIZE_HW, "train", name, 1, instances(name)) for name in NAMES]
            write_table(entries, folder / "instances.parquet", lambda name: name)
    return folder


# --- what does the damage -------------------------------------------------------------------------------------


def content(name: str, data: bytes | str) -> Damage:
    return lambda folder: (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def cut(name: str, share: float) -> Damage:
    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])

    return damage


def gone(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def as_folder(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def edited(name: str, change: Callable[[Any], object]) -> Damage:
    """A JSON file, changed in place; what `change` returns takes its place, if that is anything."""

    def damage(folder: Path) -> None:
        value = json.loads((folder / name).read_text())
        changed = change(value)
        (folder / name).write_text(json.dumps(value if changed is None else changed))

    return damage


def coco(change: Callable[[Any], object]) -> Damage:
    return edited("annotations.json", change)


def row(**values: Any) -> Damage:
    """The first annotation of `bad.png`."""
    return coco(lambda file: file["annotations"][0].update(values))


def rings(*rows: Any) -> Damage:
    return row(segmentation=list(rows))


def lengths(counts: Any, size: Any = SIZE_HW) -> Damage:
    return row(segmentation={"size": list(size) if isinstance(size, tuple) else size, "counts": counts})


def task(change: Callable[[Any], object]) -> Damage:
    return edited("tasks.json", lambda tasks: change(tasks[0]) and None)


def region(**values: Any) -> Damage:
    return task(lambda one: one["annotations"][0]["result"][0].update(values))


def brush(rle: Any) -> Damage:
    return region(value={"format": "rle", "rle": rle, "brushlabels": ["coin"]})


def polygon(points: Any) -> Damage:
    return region(type="polygonlabels", value={"points": points, "polygonlabels": ["coin"]})


def point() -> Damage:
    return region(type="keypointlabels", value={"x": 1, "y": 1, "keypointlabels": ["coin"]})


def no_sidecars(folder: Path) -> None:
    for path in folder.glob("masks/*.json"):
        path.unlink()


def sidecar(change: Callable[[Any], object]) -> Damage:
    return edited("masks/bad.json", change)


def spot(**values: Any) -> Damage:
    return sidecar(lambda file: file["instances"][0].update(values))


def column(name: str, values: Callable[[list[Any]], Any]) -> Damage:
    """A column of the table, made anew; None takes it out."""

    def damage(folder: Path) -> None:
        path = folder / "instances.parquet"
        table = pq.read_table(path)
        index = table.schema.get_field_index(name)
        made = values(table.column(name).to_pylist())
        table = table.remove_column(index)
        if made is not None:
            table = table.add_column(index, name, made if isinstance(made, pa.Array) else pa.array(made))
        pq.write_table(table, path)

    return damage


def first(value: Any) -> Callable[[list[Any]], Any]:
    """A new value in the first row."""
    return lambda values: [value, *values[1:]]


def rows(text: str) -> Damage:
    return content("labels/bad.txt", text)


def yaml(text: str) -> Damage:
    return content("data.yaml", text)


def huge_png() -> bytes:
    """Of a few kilobytes, and of 60,000 x 60,000 pixels when it is decoded."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 16, 0, 0, 0, 0)
    body = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


LAUGHS = "a: &a [x, x, x]\n"
LAUGHS += "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefghijklmno", "bcdefghijklmnop", strict=True)
)
FAR = "../../../../etc/passwd"
RING = "0.1 0.1 0.4 0.1 0.4 0.4"

CASES: list[Case] = [
    ("yolo", "a row of letters", rows("zero one two\n"), "is not a number", True),
    ("yolo", "NaN", rows(f"0 nan {RING}\n"), "numbers after the class", True),
    ("yolo", "NaN as a coordinate", rows("0 nan 0.1 0.4 0.1 0.4 0.4\n"), "not a finite number", True),
    ("yolo", "infinity", rows("0 0.1 inf 0.4 0.1 0.4 0.4\n"), "not a finite number", True),
    ("yolo", "pixels for fractions", rows("0 10 10 40 10 40 40\n"), "fractions of the image", True),
    ("yolo", "a class too many", rows(f"9 {RING}\n"), "out of range", True),
    ("yolo", "half a class", rows(f"0.5 {RING}\n"), "out of range", True),
    ("yolo", "a class of 400 digits", rows(f"{HUGE} {RING}\n"), "finite", True),
    ("yolo", "an odd coordinate", rows(f"0 {RING} 0.2\n"), "numbers after the class", True),
    ("yolo", "two points", rows("0 0.1 0.1 0.2\n"), "numbers after the class", True),
    ("yolo", "an outline of no pixel", rows("0 0.1 0.1 0.1 0.1 0.1 0.1\n"), "covers no pixel", True),
    ("yolo", "one good row, one bad", rows(f"0 {RING}\n1 x\n"), "numbers after the class", True),
    ("yolo", "a box of no area", rows("0 0.5 0.5 0 0\n"), "has no area", True),
    ("yolo", "UTF-16", content("labels/bad.txt", f"0 {RING}\n".encode("utf-16")), "not UTF-8", True),
    ("yolo", "bytes", content("labels/bad.txt", bytes(range(256))), "not UTF-8", True),
    ("yolo", "a folder for a file", as_folder("labels/bad.txt"), "cannot be read", True),
    ("yolo", "names twice", yaml("train: images\nnames: [coin, coin]\n"), "a class name twice", False),
    ("yolo", "no names", yaml("train: images\n"), "'names' must be", False),
    ("yolo", "names that are lists", yaml("train: images\nnames: {0: [a]}\n"), "'names' must map", False),
    ("yolo", "another folder", yaml("train: /nowhere\nnames: [coin]\n"), "does not exist", False),
    ("yolo", "no YAML", yaml("train: [\n"), "not plain YAML", False),
    ("yolo", "code in YAML", yaml("train: !!python/object/apply:os.getcwd []\n"), "not plain YAML", False),
    ("yolo", "a bomb of aliases", yaml(LAUGHS + "train: images\nnames: *p\n"), "'names' must map", False),
    ("yolo", "deep YAML", yaml("train: " + "[" * 20_000), "", False),
    ("yolo", "classes that nobody knows", yaml("train: images\nnames: [a, b, c, d]\n"), "--rename OLD=NEW", False),
    ("coco", "cut", cut("annotations.json", 0.6), "not JSON", False),
    ("coco", "empty", content("annotations.json", ""), "not JSON", False),
    ("coco", "gone", gone("annotations.json"), "no annotations.json", False),
    ("coco", "a list", coco(lambda file: [file]), "is an object", False),
    ("coco", "no categories", coco(lambda file: file.pop("categories") and None), "categories", False),
    ("coco", "annotations of no kind", coco(lambda file: file.update(annotations={})), "annotations", False),
    ("coco", "deep", content("annotations.json", '{"images":' + DEEP), "not JSON", False),
    ("coco", "UTF-16", content("annotations.json", "{}".encode("utf-16")), "not UTF-8", False),
    ("coco", "a number of 5000 digits", content("annotations.json", "1" * 5000), "not JSON", False),
    ("coco", "a category twice", coco(lambda file: file["categories"].append(file["categories"][0])), "twice", False),
    ("coco", "a category without a name", coco(lambda file: file["categories"][0].pop("name") and None), "name", False),
    ("coco", "an image id twice", coco(lambda file: file["images"].append(file["images"][0])), "stands for 2", True),
    ("coco", "an annotation id twice", coco(lambda f: f["annotations"][1].update(id=1)), "is there 2 times", True),
    ("coco", "nobody's category", row(category_id=77), "unknown category", True),
    ("coco", "a category of another type", row(category_id=[1]), "unknown category", True),
    ("coco", "a crowd", row(iscrowd=1), "`--crowd objects`", True),
    ("coco", "the root for a name", coco(lambda f: f["images"][0].update(file_name="C:\\")), "lies outside", True),
    ("coco", "a name outside", coco(lambda f: f["images"][0].update(file_name=FAR)), "lies outside", True),
    ("coco", "an absolute name", coco(lambda f: f["images"][0].update(file_name="/etc/passwd")), "no image of", True),
    ("coco", "NUL in a name", coco(lambda f: f["images"][0].update(file_name="bad\0.png")), "needs an 'id'", True),
    ("coco", "a name too long", coco(lambda f: f["images"][0].update(file_name="x" * 5000)), "cannot be read", True),
    ("coco", "a name that is a number", coco(lambda f: f["images"][0].update(file_name=7)), "file_name", True),
    ("coco", "an image of another size", coco(lambda f: f["images"][0].update(height=31)), "labels are for", True),
    ("coco", "NaN", rings([float("nan"), 1, 9, 1, 9, 9]), "pairs of numbers", True),
    ("coco", "a huge coordinate", rings([HUGE, 1, 9, 1, 9, 9]), "pairs of numbers", True),
    ("coco", "an odd ring", rings([1, 1, 9, 1, 9]), "pairs of numbers", True),
    ("coco", "two points", rings([1, 1, 9, 1]), "three vertices", True),
    ("coco", "text for a ring", rings("1, 1, 9, 1, 9, 9"), "list of polygons", True),
    ("coco", "a ring outside", rings([900, 900, 950, 900, 950, 950]), "covers no pixel", True),
    ("coco", "run lengths that do not fit", lengths([5, 5]), "runs cover", True),
    ("coco", "negative run lengths", lengths([-5, 1541]), "runs cover", True),
    ("coco", "huge run lengths", lengths([10**30, 1]), "runs cover", True),
    ("coco", "run lengths of text", lengths("ÿÿ"), "run-length string", True),
    ("coco", "run lengths without an end", lengths("oooooooooooooooooooo"), "run-length string", True),
    ("coco", "run lengths of an enormous image", lengths([4 * 10**18], (2 * 10**9,) * 2), "run lengths are", True),
    ("coco", "a size that is none", lengths([1536], "32x48"), "run lengths are", True),
    ("coco", "a box of text", row(segmentation=[], bbox="1 1 5 5"), "bbox must be", True),
    ("coco", "an inverted box", row(segmentation=[], bbox=[9, 9, -5, -5]), "has no area", True),
    ("label_studio", "cut", cut("tasks.json", 0.7), "not JSON", False),
    ("label_studio", "gone", gone("tasks.json"), "cannot be read", False),
    ("label_studio", "deep", content("tasks.json", DEEP), "not JSON", False),
    ("label_studio", "an object", content("tasks.json", "{}"), "list of tasks", False),
    ("label_studio", "a task that is text", edited("tasks.json", lambda t: ["task", t[1]]), "no object with", True),
    ("label_studio", "a task without data", task(lambda one: one.pop("data")), "no object with 'data'", True),
    ("label_studio", "JSON-MIN", edited("tasks.json", lambda t: [{"image": "bad.png"}, t[1]]), "JSON-MIN", True),
    ("label_studio", "no image", task(lambda one: one["data"].update(image="page.html")), "0 images", True),
    ("label_studio", "annotations that are none", task(lambda one: one.update(annotations={"a": 1})), "be lists", True),
    ("label_studio", "a result of text", task(lambda o: o["annotations"][0].update(result="x")), "list 'result'", True),
    ("label_studio", "a region of text", task(lambda o: o["annotations"][0].update(result=["x"])), "no object", True),
    ("label_studio", "no label", region(value={"format": "rle", "rle": [0]}), "has no label", True),
    ("label_studio", "two labels", region(value={"rle": [0], "brushlabels": ["coin", "ring"]}), "2 labels", True),
    ("label_studio", "another size", region(original_width=49), "is of an image", True),
    ("label_studio", "a turned image", region(image_rotation=90), "turned", True),
    ("label_studio", "no id", region(id=None), "has no id", True),
    ("label_studio", "a brush of noise", brush([255] * 40), "brush mask", True),
    ("label_studio", "a brush of too few", brush([0, 0, 24]), "brush mask", True),
    ("label_studio", "a brush of large numbers", brush([HUGE]), "0 to 255", True),
    ("label_studio", "a brush of text", brush("AAAA"), "is no list", True),
    ("label_studio", "a polygon of NaN", polygon([[float("nan"), 1], [5, 5], [9, 1]]), "coordinate", True),
    ("label_studio", "a polygon far away", polygon([[1e300, 1], [5, 5], [9, 1]]), "coordinate", True),
    ("label_studio", "a polygon of words", polygon(["ab", "cd", "ef"]), "coordinate", True),
    ("label_studio", "a point", point(), "point is no object", True),
    ("masks", "no sidecars", no_sidecars, "no instance maps", False),
    ("masks", "a cut sidecar", cut("masks/bad.json", 0.5), "not JSON", True),
    ("masks", "a sidecar of a list", sidecar(lambda _: []), "not an object", True),
    ("masks", "a deep sidecar", content("masks/bad.json", DEEP), "not JSON", True),
    ("masks", "a plane outside", sidecar(lambda file: file.update(planes=[FAR])), "name of a file beside it", True),
    ("masks", "an image outside", sidecar(lambda file: file.update(image=FAR)), "name of a file beside it", True),
    ("masks", "a plane that is gone", gone("masks/bad.png"), "cannot be read", True),
    ("masks", "a plane that is no PNG", content("masks/bad.png", b"GIF89a" + bytes(60)), "not a PNG", True),
    ("masks", "a cut plane", cut("masks/bad.png", 0.6), "damaged", True),
    ("masks", "a bomb", content("masks/bad.png", huge_png()), "not a grey picture", True),
    ("masks", "a plane in colour", lambda f: (f / "masks/bad.png").write_bytes(picture("bad.png")), "colours", True),
    ("masks", "another size", sidecar(lambda file: file.update(size_hw=[48, 32])), "is of an image of", True),
    ("masks", "a size of text", sidecar(lambda file: file.update(size_hw="32x48")), "is of an image of", True),
    ("masks", "no label", spot(label=None), "no label", True),
    ("masks", "a plane too many", spot(plane=2), "no place", True),
    ("masks", "a value of text", spot(value="1"), "no place", True),
    ("masks", "a value twice", spot(value=2), "another's too", True),
    ("masks", "a value that nobody has", spot(value=9), "take it out of bad.json", True),
    ("masks", "pixels of nobody", sidecar(lambda file: file["instances"].pop() and None), "nobody has", True),
    ("table", "cut", cut("instances.parquet", 0.5), "not a Parquet table", False),
    ("table", "gone", gone("instances.parquet"), "not a Parquet table", False),
    ("table", "text", content("instances.parquet", "sample,label\n"), "not a Parquet table", False),
    ("table", "a damaged page", lambda f: _flip(f / "instances.parquet"), "", False),
    ("table", "a column that is missing", column("counts", lambda _: None), "is missing", False),
    ("table", "a column of another type", column("counts", lambda v: list(range(len(v)))), "not binary", False),
    ("table", "boxes of text", column("x1", lambda v: ["x"] * len(v)), "not double", False),
    ("table", "a name outside", column("file_name", lambda v: [FAR, FAR, *v[2:]]), "lies outside", True),
    ("table", "no name", column("file_name", lambda v: [None, None, *v[2:]]), "has no name", True),
    ("table", "rows that are apart", column("sample", lambda v: [v[0], v[2], v[0], v[2]]), "rows are apart", False),
    ("table", "counts of noise", column("counts", first(b"\xff\xff")), "run-length string", True),
    ("table", "counts of another size", column("counts", first(b"0")), "runs cover", True),
    ("table", "another height", column("height", lambda v: pa.array([7, *v[1:]], pa.int32())), "is of an image", True),
    ("table", "no label", column("label", first(None)), "has no label", True),
]  # fmt: skip


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for place in range(20, 220):
        data[place] ^= 0xFF
    path.write_bytes(data)


@dataclass(frozen=True)
class Project:
    """One for all cases: none of them may leave anything of `bad.png` in it."""

    config: Path
    root: Path
    workspace: Workspace

    def spoken_of(self) -> set[str]:
        """The names of the images that have labels."""
        ledger = self.workspace.ledger
        names = {sample.id: sample.path.name for sample in ledger.samples.all()}
        return {names[said.sample_id] for said in ledger.annotations.history()}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("bad-imports")
    images = good("coco", root / "source") / "images"
    source = f"  sources:\n    - {{kind: images, path: {images}}}\n  split:"
    text = TINY.read_text()
    begin, end = text.index("  sources:"), text.index("  split:")
    config = root / "config.yaml"
    config.write_text(text[:begin] + source + text[end + len("  split:") :])
    assert pipeline("ingest", config, "--workspace", root / "ws").exit_code == 0
    return Project(config, root / "ws", open_house(config, workspace=root / "ws", create=False)[1])


@pytest.mark.parametrize(
    ("kind", "name", "damage", "words", "neighbour"), CASES, ids=[f"{kind}-{name}" for kind, name, *_ in CASES]
)
def test_damage(
    kind: str, name: str, damage: Damage, words: str, neighbour: bool, project: Project, tmp_path: Path
) -> None:
    folder = good(kind, tmp_path / "in")
    damage(folder)
    before = project.spoken_of()
    place = ("--workspace", project.root, "--format", kind)
    result = pipeline("import", project.config, folder, *place)
    output = result.stdout + result.stderr
    assert words in output
    assert "Traceback" not in output
    assert len(output) < 4000, "what is told is for a person to read"
    if neighbour:
        assert result.exit_code == 0
        assert "not used" in output
        assert "good.png" in project.spoken_of()
    else:
        assert result.exit_code in (1, 2)
        assert project.spoken_of() == before
    assert "bad.png" not in project.spoken_of(), "never a half import"


def test_there_are_many() -> None:
    assert len(CASES) > 100
    assert len({(kind, name) for kind, name, *_ in CASES}) == len(CASES)


@pytest.mark.parametrize("kind", ["yolo", "coco", "label_studio", "masks", "table"])
def test_undamaged_they_are_good(kind: str, project: Project, tmp_path: Path) -> None:
    """In a workspace of its own: or the cases above would prove nothing."""
    config, own = project.config, tmp_path / "ws"
    assert pipeline("ingest", config, "--workspace", own).exit_code == 0
    result = pipeline("import", config, good(kind, tmp_path / "in"), "--workspace", own, "--format", kind)
    assert result.stdout == "4 objects in 2 images imported\n"
