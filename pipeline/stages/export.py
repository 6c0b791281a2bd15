"""export: a dataset version as a folder that other tools read."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pipeline.domain.dataset import DatasetEntry, manifest_bytes
from pipeline.errors import DataError
from pipeline.formats.coco import coco_bytes
from pipeline.formats.labels import LabelledImage
from pipeline.formats.yolo import data_yaml, label_rows

__all__ = ["export_coco", "export_yolo", "tree_hash"]

SPLITS = ("train", "val", "test")
STEM_LENGTH = 16
SIGNATURES = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG": ".png",
    b"RIFF": ".webp",
    b"BM": ".bmp",
    b"II*\x00": ".tiff",
    b"MM\x00*": ".tiff",
    b"II+\x00": ".tiff",
    b"MM\x00+": ".tiff",
}
JPEG_END = b"\xff\xd9"
READ_ONLY = 0o444
CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}


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
    tools may write into. A JPEG without its end marker becomes a
    copy with one: Ultralytics would otherwise encode the file anew, and with it the version would change.

    Where files are linked, those that have the same bytes in `before`, the folder of an earlier version, are links to
    it, and manifest.jsonl is one to the file `manifest` if that has its bytes: many versions cost little more than
    one. What several folders share is read-only.

    Raises DataError, naming the sample, for an image that is missing or of a kind that trainers do not read,
    and for an instance without a mask or with a label that is not among the classes.
    """
    rows = list(entries)
    _make_folders(folder, [f"{kind}/{split}" for kind in ("images", "labels") for split in SPLITS])
    earlier = before if link else None
    for entry, name in _named(rows, image_path):
        image, label = f"images/{entry.split}/{name}", f"labels/{entry.split}/{Path(name).stem}.txt"
        _place(image_path(entry.sample_id), folder / image, link=link, twin=earlier and earlier / image)
        _write(_label_text(entry, classes).encode(), folder / label, earlier and earlier / label)
    (folder / "data.yaml").write_bytes(data_yaml(classes).encode())
    _write(manifest_bytes(rows, classes), folder / "manifest.jsonl", manifest if link else None)


def export_coco(
    entries: Iterable[DatasetEntry],
    classes: Sequence[str],
    image_path: Callable[[str], Path],
    folder: Path,
    *,
    link: bool = True,
) -> None:
    """Fill `folder` with images/{train,val,test}, annotations/instances_{train,val,test}.json and manifest.jsonl.

    File names in the annotations are relative to the split's folder of images, and every image carries its
    `split`. Masks are compressed run lengths, so nothing is lost. Images are placed as `export_yolo` does, and
    the content is as independent of time and place. Raises DataError, naming the sample, for an image that is
    missing or of a kind that trainers do not read, and for a label that is not among the classes.
    """
    rows = list(entries)
    _make_folders(folder, ["annotations", *(f"images/{split}" for split in SPLITS)])
    images: dict[str, list[LabelledImage]] = {split: [] for split in SPLITS}
    for entry, name in _named(rows, image_path):
        unknown = {instance.label for instance in entry.instances} - set(classes)
        if unknown:
            raise DataError(f"labels {sorted(unknown)} are not among the classes", sample_id=entry.sample_id)
        _place(image_path(entry.sample_id), folder / "images" / entry.split / name, link=link)
        instances = tuple(sorted(entry.instances, key=lambda instance: instance.id))
        images[entry.split].append(LabelledImage(name, entry.size_hw, entry.split, instances))
    for split, labelled in images.items():
        (folder / "annotations" / f"instances_{split}.json").write_bytes(coco_bytes(labelled, classes))
    (folder / "manifest.jsonl").write_bytes(manifest_bytes(rows, classes))


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


def _make_folders(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)


def _named(
    entries: Iterable[DatasetEntry], image_path: Callable[[str], Path]
) -> Iterator[tuple[DatasetEntry, str]]:
    """Every entry with its image's file name, sorted by sample id."""
    taken: dict[str, str] = {}
    for entry in sorted(entries, key=lambda entry: entry.sample_id):
        stem = entry.sample_id[:STEM_LENGTH]
        if stem in taken:
            raise DataError(f"shares its first {STEM_LENGTH} digits with {taken[stem]}", sample_id=entry.sample_id)
        taken[stem] = entry.sample_id
        yield entry, stem + _suffix(entry.sample_id, image_path(entry.sample_id))


def _label_text(entry: DatasetEntry, classes: Sequence[str]) -> str:
    instances = sorted(entry.instances, key=lambda instance: instance.id)
    for instance in instances:
        if instance.mask is None:
            raise DataError(f"instance {instance.id} has no mask to export", sample_id=entry.sample_id)
    try:
        return label_rows(instances, classes, entry.size_hw)
    except DataError as exc:
        raise DataError(exc.reason, sample_id=entry.sample_id) from exc


def _suffix(sample_id: str, path: Path) -> str:
    """By content: a name may lie, and two files of one sample may be called differently."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as exc:
        raise DataError(f"its image {path} cannot be read: {exc.strerror}", sample_id=sample_id) from exc
    for signature, suffix in SIGNATURES.items():
        if head.startswith(signature):
            return suffix
    raise DataError(f"its image {path} is not a JPEG, PNG, WebP, BMP or TIFF file", sample_id=sample_id)


def _place(source: Path, target: Path, *, link: bool, twin: Path | None = None) -> None:
    if target.suffix == ".jpg" and not _ends_as_jpeg(source):
        _write(source.read_bytes() + JPEG_END, target, twin)
    elif not (link and _linked(source, target)):
        shutil.copyfile(source, target)


def _write(data: bytes, target: Path, twin: Path | None) -> None:
    """A link to `twin` if that has the bytes; an empty file takes no room, and needs none."""
    if twin is None:
        target.write_bytes(data)
        return
    if not (data and _holds(twin, data) and _linked(twin, target)):
        target.write_bytes(data)
    target.chmod(READ_ONLY)


def _holds(path: Path, data: bytes) -> bool:
    """Whether a file is there and has these bytes: one that was damaged is not passed on."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


def _linked(source: Path, target: Path) -> bool:
    """Whether `target` is now a hard link to `source`; False where the file system allows none."""
    try:
        os.link(source, target)
    except OSError as exc:
        if exc.errno not in CANNOT_LINK:
            raise
        return False
    return True


def _ends_as_jpeg(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-len(JPEG_END), os.SEEK_END)
        return file.read() == JPEG_END
