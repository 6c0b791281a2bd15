"""Where a YOLO dataset keeps its images, labels, splits and class names.

    data.yaml                     or       images/{train,val,test}/    or     train/{images,labels}/
      train: images/train                  labels/{train,val,test}/           valid/{images,labels}/
      names: {0: cat}                      classes.txt (optional)

A label file is the image's path with the last folder `images` read as `labels`, and `.txt` as its suffix.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from pipeline.domain.records import Split
from pipeline.errors import BadFormat
from pipeline.formats.folder import find_images
from pipeline.formats.labels import SPLIT_NAMES, Found, LabelProblem, exists, read_text, spelled
from pipeline.formats.yolo import YoloLabels

__all__ = ["find_yolo", "numbered_as"]

_LISTING = "classes.txt"
_WHOLE = re.compile(r"[0-9]{1,9}")
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2  # a few lines of YAML aliases can mean more than can ever be printed


@dataclass(frozen=True)
class _Part:
    """A folder of images, or a text file that lists them, and the split it stands for."""

    images: Path
    split: Split | None


def find_yolo(
    path: Path, classes: Sequence[str], *, ignore: frozenset[str] = frozenset()
) -> Iterator[Found | LabelProblem]:
    """Images and labels of a dataset folder or of its `data.yaml`.

    Class names come from `data.yaml`, else from `classes.txt`, else they are `classes` in order. A `download`
    key, which other tools execute, is never followed. Raises BadFormat where the layout cannot be understood.
    """
    description = _description(path)
    problems: list[LabelProblem] = []
    if description is not None:
        names, parts = _described(description, problems)
    else:
        names, parts = _folder_names(path, classes), _folder_parts(path)
    yield from problems
    labels = YoloLabels(path, names, ignore)
    for part in parts:
        for found in _images(part):
            yield found if isinstance(found, LabelProblem) else _labelled(found, part.split, labels)


def numbered_as(path: Path, classes: Sequence[str]) -> str | None:
    """What class numbers mean where the dataset at `path` does not say it, for a person to look at; else None."""
    if _description(path) is not None or (path / _LISTING).is_file():
        return None
    numbers = ", ".join(f"{number} {name}" for number, name in enumerate(classes))
    return (
        f"class numbers were taken as {numbers}, by project.classes: neither data.yaml nor {_LISTING} names them"
    )


def _description(path: Path) -> Path | None:
    if path.is_file():
        return path
    return _first(path / "data.yaml", path / "data.yml", path / "dataset.yaml")


def _described(path: Path, problems: list[LabelProblem]) -> tuple[Mapping[int, str], list[_Part]]:
    try:
        content = yaml.safe_load(read_text(path))
    except RecursionError as exc:
        raise BadFormat("nested too deeply", path=path) from exc
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = mark.line + 1 if mark is not None else None
        raise BadFormat(f"not plain YAML: {getattr(exc, 'problem', exc)}", path=path, line=line) from exc
    if not isinstance(content, dict):
        raise BadFormat("a dataset description is a mapping with the keys train, val and names", path=path)
    if "download" in content:
        reason = "the key 'download' is ignored: it is never executed"
        problems.append(LabelProblem(path, None, reason, lost=False))
    names = _names(content.get("names"), path)
    parts = _parts(content, path, problems)
    if not parts:
        raise BadFormat("names no images: add the keys train and val", path=path)
    return names, parts


def _parts(content: Mapping[Any, Any], path: Path, problems: list[LabelProblem]) -> list[_Part]:
    """The places of images. A test set that is not there is told; exporters name one that they did not write."""
    roots = _roots(content.get("path"), path)
    parts: list[_Part] = []
    for key, split in SPLIT_NAMES.items():
        values = content.get(key) or []
        for folder in values if isinstance(values, list) else [values]:
            try:
                parts.append(_Part(_resolved(folder, roots, path, key), split))
            except BadFormat as exc:
                if split != "test" or not parts:
                    raise
                problems.append(LabelProblem(path, None, exc.reason, lost=False))
    return parts


def _names(value: Any, path: Path) -> Mapping[int, str]:
    table = dict(enumerate(value)) if isinstance(value, list) else value
    if not isinstance(table, dict) or not table:
        raise BadFormat("'names' must be a list of class names, or a mapping from index to name", path=path)
    if not all(isinstance(name, str | int) for name in table.values()) or any(map(_not_whole, table)):
        raise BadFormat(f"'names' must map whole numbers to names, not {_SHORT.repr(table)}", path=path)
    names = {int(index): str(name) for index, name in table.items()}
    if len(names) != len(table):
        raise BadFormat("'names' holds a class number twice", path=path)
    if len(set(names.values())) != len(names):
        raise BadFormat("'names' holds a class name twice", path=path)
    return names


def _not_whole(index: Any) -> bool:
    """Not even as text: some tools put quotation marks around numbers."""
    return not isinstance(index, int) and not (isinstance(index, str) and _WHOLE.fullmatch(index))


def _roots(value: Any, path: Path) -> list[Path]:
    """Where relative folders may start: the key `path`, often another machine's, then the file's own folder."""
    if value is not None and not isinstance(value, str):
        raise BadFormat(f"'path' must be a folder, not {_SHORT.repr(value)}", path=path)
    return [path.parent / value, path.parent] if value else [path.parent]


def _resolved(value: Any, roots: Sequence[Path], path: Path, key: str) -> Path:
    if not isinstance(value, str):
        raise BadFormat(f"{key!r} must name folders or list files, not {_SHORT.repr(value)}", path=path)
    # A widespread exporter writes '../train/images' for a folder beside the file.
    places = [root / name for root in roots for name in (value, value.removeprefix("../"))]
    found = _first(*places)
    if found is None:
        searched = ", ".join(str(place) for place in dict.fromkeys(places))
        raise BadFormat(f"{key!r} names {value!r}, which does not exist (searched: {searched})", path=path)
    return found


def _folder_names(folder: Path, classes: Sequence[str]) -> Mapping[int, str]:
    listing = folder / _LISTING
    if not listing.is_file():
        return dict(enumerate(classes))
    lines = [line.strip() for line in read_text(listing).splitlines()]
    return _names([line for line in lines if line], listing)


def _folder_parts(folder: Path) -> list[_Part]:
    images = folder / "images"
    nested = [_Part(images / name, split) for name, split in SPLIT_NAMES.items() if (images / name).is_dir()]
    beside = [_Part(folder / name / "images", split) for name, split in SPLIT_NAMES.items()]
    parts = nested or [part for part in beside if part.images.is_dir()]
    if parts:
        return parts
    if images.is_dir():
        return [_Part(images, None)]
    raise BadFormat("no YOLO dataset: expected data.yaml, images/ with labels/, or train/images/", path=folder)


def _images(part: _Part) -> Iterator[Found | LabelProblem]:
    if part.images.is_dir():
        yield from find_images(part.images)
        return
    for line in read_text(part.images).splitlines():
        if line.strip():
            yield Found(part.images.parent / line.strip())


def _labelled(found: Found, split: Split | None, labels: YoloLabels) -> Found:
    """A missing label file means no annotation; an empty one that there is nothing in the image."""
    folders = list(found.image.parts)
    for index in range(len(folders) - 2, -1, -1):
        if folders[index] == "images":
            folders[index] = "labels"
            break
    path = spelled(Path(*folders).with_suffix(".txt"))
    return Found(found.image, split, replace(labels, path=path) if path.exists() else None)


def _first(*places: Path) -> Path | None:
    return next((place for place in places if exists(place)), None)
