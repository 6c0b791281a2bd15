"""export: a dataset version as a folder that other tools read. What each format loses: `pipeline/formats/losses.py`.

The content depends on the entries and the images' bytes alone: no time, no outside path. Every export but the table
places the images below images/{train,val,test}, and has manifest.jsonl, which knows everything.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pipeline.domain.dataset import DatasetEntry, manifest_bytes
from pipeline.domain.records import Instance
from pipeline.errors import DataError
from pipeline.formats.coco import Segmentation, coco_bytes
from pipeline.formats.labels import LabelledImage
from pipeline.formats.placing import SPLITS, image_stem, make_folders, named_images, place_image, write_or_link
from pipeline.formats.planes import plane_bytes, planes_of, sidecar_bytes
from pipeline.formats.table import write_table
from pipeline.formats.yolo import data_yaml, label_rows

__all__ = [
    "WriteTasks",
    "export_coco",
    "export_label_studio",
    "export_masks",
    "export_names",
    "export_table",
    "export_yolo",
    "tree_hash",
]

WriteTasks = Callable[[Iterable[LabelledImage], Sequence[str]], dict[str, bytes]]
"""Images, whose names are paths below the folder, and class names, as Label Studio's files by name."""


def export_yolo(
    entries: Iterable[DatasetEntry],
    classes: Sequence[str],
    image_path: Callable[[str], Path],
    folder: Path,
    *,
    link: bool = True,
    before: Path | None = None,
    manifest: Path | None = None,
) -> None:
    """Fill `folder` with images/{train,val,test}, labels/{train,val,test}, data.yaml and manifest.jsonl.

    The content depends on the entries and the images' bytes alone: no time, no outside path. Every split has
    its folders and data.yaml always names images/val, even if no image is in it: a trainer must not validate
    on it without looking. A file is called by the first 16 digits of its sample id, with the suffix of what
    it really is; an image without instances gets an empty label file.

    Images are hard links, copies where the file system allows none or with `link=False`: for folders that other
    tools may write into (see `placing`).

    Where files are linked, those that have the same bytes in `before`, the folder of an earlier version, are links to
    it, and manifest.jsonl is one to the file `manifest` if that has its bytes: many versions cost little more than
    one. What several folders share is read-only.

    Raises DataError, naming the sample, for an image that is missing or of a kind that trainers do not read,
    and for an instance without a mask or with a label that is not among the classes.
    """
    rows = list(entries)
    make_folders(folder, [f"{kind}/{split}" for kind in ("images", "labels") for split in SPLITS])
    earlier = before if link else None
    for entry, name in named_images(rows, image_path):
        image, label = f"images/{entry.split}/{name}", f"labels/{entry.split}/{Path(name).stem}.txt"
        place_image(image_path(entry.sample_id), folder / image, link=link, twin=earlier and earlier / image)
        write_or_link(_label_text(entry, classes).encode(), folder / label, earlier and earlier / label)
    (folder / "data.yaml").write_bytes(data_yaml(classes).encode())
    write_or_link(manifest_bytes(rows, classes), folder / "manifest.jsonl", manifest if link else None)


def export_coco(
    entries: Iterable[DatasetEntry],
    classes: Sequence[str],
    image_path: Callable[[str], Path],
    folder: Path,
    *,
    link: bool = True,
    segmentation: Segmentation = "rle",
) -> None:
    """Fill `folder` with images, annotations/instances_{train,val,test}.json and manifest.jsonl.

    File names in the annotations are relative to the split's folder of images, and every image carries its
    `split`. Raises DataError, naming the sample, for an image that is missing or of a kind that trainers do not
    read, and for a label that is not among the classes.
    """
    rows = list(entries)
    make_folders(folder, ["annotations"])
    images: dict[str, list[LabelledImage]] = {split: [] for split in SPLITS}
    for entry, name in _placed(rows, classes, image_path, folder, link=link):
        images[entry.split].append(LabelledImage(name, entry.size_hw, entry.split, _sorted(entry)))
    for split, labelled in images.items():
        content = coco_bytes(labelled, classes, segmentation)
        (folder / "annotations" / f"instances_{split}.json").write_bytes(content)
    (folder / "manifest.jsonl").write_bytes(manifest_bytes(rows, classes))


def export_label_studio(
    entries: Iterable[DatasetEntry],
    classes: Sequence[str],
    image_path: Callable[[str], Path],
    folder: Path,
    *,
    write_tasks: WriteTasks,
    link: bool = True,
) -> None:
    """Fill `folder` with images, manifest.jsonl and the files that `write_tasks` makes. Raises as `export_coco`."""
    rows = list(entries)
    images = [
        LabelledImage(f"images/{entry.split}/{name}", entry.size_hw, entry.split, _sorted(entry))
        for entry, name in _placed(rows, classes, image_path, folder, link=link)
    ]
    for name, content in write_tasks(images, classes).items():
        (folder / name).write_bytes(content)
    (folder / "manifest.jsonl").write_bytes(manifest_bytes(rows, classes))


def export_masks(
    entries: Iterable[DatasetEntry],
    classes: Sequence[str],
    image_path: Callable[[str], Path],
    folder: Path,
    *,
    link: bool = True,
) -> None:
    """Fill `folder` with images, masks/{train,val,test} (see `planes`) and manifest.jsonl. Raises as `export_coco`, and
    DataError for an instance without a mask.
    """
    rows = list(entries)
    make_folders(folder, [f"masks/{split}" for split in SPLITS])
    for entry, name in _placed(rows, classes, image_path, folder, link=link):
        below, stem = folder / "masks" / entry.split, Path(name).stem
        instances = _sorted(entry)
        pictures, places = planes_of(instances, entry.size_hw)
        names = [f"{stem}.png", *(f"{stem}.{number}.png" for number in range(2, len(pictures) + 1))]
        for picture, plane in zip(names, pictures, strict=True):
            (below / picture).write_bytes(plane_bytes(plane))
        sidecar = sidecar_bytes(name, entry.size_hw, names, instances, places)
        (below / f"{stem}.json").write_bytes(sidecar)
    (folder / "manifest.jsonl").write_bytes(manifest_bytes(rows, classes))


def export_table(
    entries: Iterable[DatasetEntry], classes: Sequence[str], image_path: Callable[[str], Path], folder: Path
) -> None:
    """Fill `folder` with instances.parquet alone (see `table`); its rows name the images' files. Raises DataError for
    a label that is not among the classes.
    """
    rows = list(entries)
    for entry in rows:
        _check_labels(entry, classes)
    write_table(rows, folder / "instances.parquet", lambda sample_id: image_path(sample_id).name)


def export_names(entries: Iterable[DatasetEntry], name_of: Callable[[str], str], folder: Path) -> None:
    """Add names.csv to an exported `folder`: of each of its images the file, the sample id and, by `name_of`, what the
    file was called that came in.
    """
    ids = {image_stem(entry.sample_id): entry.sample_id for entry in entries}
    with (folder / "names.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "sample", "original_name"))
        for path in sorted((folder / "images").glob("*/*")):
            sample_id = ids[path.stem]
            writer.writerow((path.relative_to(folder).as_posix(), sample_id, name_of(sample_id)))


def tree_hash(folder: Path) -> str:
    """SHA-256 over the sorted lines `relative path, size, SHA-256` of every file, in hexadecimal.

    Empty folders do not count. A symbolic link stands for its own text and is never followed.
    """
    lines = []
    for root, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        for path in (Path(root) / name for name in (*files, *links)):
            size, digest = _fingerprint(path)
            lines.append(f"{path.relative_to(folder).as_posix()}\0{size}\0{digest}\n")
    return hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def _fingerprint(path: Path) -> tuple[int, str]:
    if path.is_symlink():
        content = os.fsencode(path.readlink())
        return len(content), f"link {hashlib.sha256(content).hexdigest()}"
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _placed(
    entries: Iterable[DatasetEntry],
    classes: Sequence[str],
    image_path: Callable[[str], Path],
    folder: Path,
    *,
    link: bool,
) -> Iterator[tuple[DatasetEntry, str]]:
    """Every entry with its image's name, once the image is there."""
    make_folders(folder, [f"images/{split}" for split in SPLITS])
    for entry, name in named_images(entries, image_path):
        _check_labels(entry, classes)
        place_image(image_path(entry.sample_id), folder / "images" / entry.split / name, link=link)
        yield entry, name


def _check_labels(entry: DatasetEntry, classes: Sequence[str]) -> None:
    unknown = {instance.label for instance in entry.instances} - set(classes)
    if unknown:
        raise DataError(f"labels {sorted(unknown)} are not among the classes", sample_id=entry.sample_id)


def _sorted(entry: DatasetEntry) -> tuple[Instance, ...]:
    return tuple(sorted(entry.instances, key=lambda instance: instance.id))


def _label_text(entry: DatasetEntry, classes: Sequence[str]) -> str:
    instances = sorted(entry.instances, key=lambda instance: instance.id)
    for instance in instances:
        if instance.mask is None:
            raise DataError(f"instance {instance.id} has no mask to export", sample_id=entry.sample_id)
    try:
        return label_rows(instances, classes, entry.size_hw)
    except DataError as exc:
        raise DataError(exc.reason, sample_id=entry.sample_id) from exc
