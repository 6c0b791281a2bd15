"""A COCO file, checked as a whole and sorted by image; single annotations are judged when they are read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.domain.geometry import SizeHW
from pipeline.domain.records import Split
from pipeline.errors import BadFormat
from pipeline.formats.labels import SPLIT_NAMES, LabelProblem, read_text

__all__ = ["CocoImage", "CocoIndex", "index_coco", "whole"]

_DIGITS = 19


@dataclass(frozen=True)
class CocoImage:
    """One image entry with its annotations; `problems` are known before any of them is read."""

    file_name: str
    size_hw: SizeHW | None
    split: Split | None
    rows: tuple[Mapping[str, Any], ...]
    problems: tuple[LabelProblem, ...]


@dataclass(frozen=True)
class CocoIndex:
    """The file's categories by id, its images in order, and the problems that belong to no image of it."""

    categories: Mapping[int, str]
    images: tuple[CocoImage, ...]
    problems: tuple[LabelProblem, ...]


def index_coco(path: Path) -> CocoIndex:
    """Raises BadFormat if the file is not JSON of COCO's outer shape."""
    content = _content(path)
    categories = _categories(content, path)
    _check_names(categories, content["annotations"], path)
    problems: list[LabelProblem] = []
    rows = _rows_by_image(content, path, problems)
    entries = [entry for entry in content["images"] if _is_entry(entry, path, problems)]
    uses = Counter(entry["id"] for entry in entries)
    images = tuple(_image(entry, rows.pop(entry["id"], ()), uses, path) for entry in entries)
    if rows:
        count, first = sum(map(len, rows.values())), next(iter(rows))
        reason = f"{count} annotations are for image ids that the file does not list (the first is {first!r:.80})"
        problems.append(LabelProblem(path, None, reason))
    return CocoIndex(categories, images, tuple(problems))


def _content(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as exc:
        raise BadFormat(f"not JSON: {exc.msg}", path=path, line=exc.lineno) from exc
    except (RecursionError, ValueError) as exc:
        raise BadFormat(f"not JSON that can be read: {exc}", path=path) from exc
    if not isinstance(content, dict):
        raise BadFormat(f"a COCO file is an object, not {type(content).__name__}", path=path)
    missing = [key for key in ("images", "annotations", "categories") if not isinstance(content.get(key), list)]
    if missing:
        raise BadFormat(f"COCO keys are missing, or are not lists: {', '.join(missing)}", path=path)
    return content


def _categories(content: Mapping[str, Any], path: Path) -> Mapping[int, str]:
    categories: dict[int, str] = {}
    for entry in content["categories"]:
        number = whole(entry.get("id")) if isinstance(entry, dict) else None
        if number is None or not isinstance(entry.get("name"), str):
            raise BadFormat(f"a category needs a whole number 'id' and a 'name': {entry!r:.120}", path=path)
        if number in categories:
            raise BadFormat(f"category {number} {entry['name']!r} is there twice", path=path)
        categories[number] = entry["name"]
    return categories


def _check_names(categories: Mapping[int, str], rows: Sequence[Any], path: Path) -> None:
    """Roboflow lists a class also as the group of itself; what counts is that annotations use one of the two."""
    if len(set(categories.values())) == len(categories):
        return
    used = {whole(row.get("category_id")) for row in rows if isinstance(row, dict)}
    names = Counter(name for number, name in categories.items() if number in used)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise BadFormat(f"category {twice[0]!r} is there twice, and annotations use both", path=path)


def _rows_by_image(
    content: Mapping[str, Any], path: Path, problems: list[LabelProblem]
) -> dict[int | str, tuple[Mapping[str, Any], ...]]:
    rows: dict[int | str, list[Mapping[str, Any]]] = {}
    for number, row in enumerate(content["annotations"], start=1):
        if isinstance(row, dict) and _is_key(row.get("image_id")):
            rows.setdefault(row["image_id"], []).append(row)
        else:
            problems.append(LabelProblem(path, None, f"annotation entry {number} has no image_id"))
    return {image_id: tuple(found) for image_id, found in rows.items()}


def _is_entry(entry: Any, path: Path, problems: list[LabelProblem]) -> bool:
    good = isinstance(entry, dict) and _is_key(entry.get("id")) and isinstance(entry.get("file_name"), str)
    if not good or "\0" in entry["file_name"] or not entry["file_name"].strip():
        problems.append(LabelProblem(path, None, f"an image needs an 'id' and a 'file_name': {entry!r:.120}"))
        return False
    return True


def _image(
    entry: Mapping[str, Any], rows: tuple[Mapping[str, Any], ...], uses: Counter[int | str], path: Path
) -> CocoImage:
    problems = []
    if uses[entry["id"]] > 1:
        reason = f"image id {entry['id']!r} stands for {uses[entry['id']]} images: whose labels are these?"
        problems.append(LabelProblem(path, None, reason))
        rows = ()
    ids = Counter(row["id"] for row in rows if _is_key(row.get("id")))
    twice = [number for number, count in ids.items() if count > 1]
    if twice:
        problems.append(LabelProblem(path, None, f"annotation id {twice[0]!r} is there {ids[twice[0]]} times"))
    named = entry.get("split")
    split = SPLIT_NAMES.get(named) if isinstance(named, str) else None
    if named is not None and split is None:
        problems.append(LabelProblem(path, None, f"split {named!r:.80} is not train, val or test", lost=False))
    return CocoImage(entry["file_name"], _size(entry), split, rows, tuple(problems))


def _size(entry: Mapping[str, Any]) -> SizeHW | None:
    height, width = whole(entry.get("height")), whole(entry.get("width"))
    return (height, width) if height is not None and width is not None else None


def whole(value: Any) -> int | None:
    """A category's id, also where a tool wrote it as `1.0` or `"1"`; None for what is no whole number."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _DIGITS:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_key(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)
