"""Where a COCO dataset keeps its annotation files, images and splits.

    annotations.json     or     annotations/instances_{train,val}2017.json     or     train/_annotations.coco.json
    images/                     images/{train,val}2017/ or {train,val}2017/           train/*.jpg

A file of the second and third kind speaks for a split, where its images do not say one themselves, if there is one of
train among them: a set that is only called val or test may well be all that somebody has.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.domain.records import Split
from pipeline.errors import BadFormat
from pipeline.formats.coco import Crowd, find_coco
from pipeline.formats.labels import SPLIT_NAMES, Found, LabelProblem

__all__ = ["find_coco_dataset"]

_PREFIX = "instances_"
_IN_A_SPLIT = "_annotations.coco.json"


def find_coco_dataset(
    path: Path, images: Path | None = None, *, ignore: frozenset[str] = frozenset(), crowd: Crowd = "refuse"
) -> Iterator[Found | LabelProblem]:
    """The images of an annotation file, or of all those in a dataset's folder; they lie below `images`, if that is
    given. Raises BadFormat for a file that is broken as a whole, and for a folder that has none.
    """
    files = [path] if path.is_file() else _files(path)
    splits = [None if file == path else SPLIT_NAMES.get(_part(file).rstrip("0123456789")) for file in files]
    given: list[Split | None] = splits if "train" in splits else [None for _ in files]
    for file, split in zip(files, given, strict=True):
        folder = images or _images(file)
        yield from find_coco(file, folder, ignore=ignore, crowd=crowd, split=split, part=_part(file))


def _files(folder: Path) -> list[Path]:
    single = folder / "annotations.json"
    if single.is_file():
        return [single]
    files = sorted((folder / "annotations").glob(f"{_PREFIX}*.json")) or sorted(folder.glob(f"*/{_IN_A_SPLIT}"))
    files = files or sorted(folder.glob(_IN_A_SPLIT))
    if not files:
        places = f"annotations.json, no annotations/{_PREFIX}*.json, and no train/{_IN_A_SPLIT}"
        raise BadFormat(f"no {places}: name the annotation file itself", path=folder)
    return files


def _part(file: Path) -> str:
    """The part of the dataset that a file is about, as its folder of images is called."""
    return file.parent.name if file.name == _IN_A_SPLIT else file.stem.removeprefix(_PREFIX)


def _images(file: Path) -> Path:
    root = file.parent.parent if file.parent.name == "annotations" else file.parent
    return root / "images" if (root / "images").is_dir() else root
