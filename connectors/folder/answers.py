"""The COCO file of an answer, which may hold anything: read with care, or refused with what to put right."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeGuard

from connectors.folder.coco import annotation_ids
from connectors.tasks import Task
from connectors.verdicts import Outline
from pipeline.domain.geometry import SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.segmentation import is_number, segmentation_mask
from pipeline.errors import DataError

__all__ = ["Answer", "parse_answer", "parse_json"]

_NAME_CHARACTERS = 100


@dataclass(frozen=True)
class _Page:
    """What the rows of a file are read against."""

    image_id: object
    size_hw: SizeHW
    labels: Mapping[int, str]
    classes: Sequence[str]
    shown: Mapping[int, str]


@dataclass(frozen=True)
class Answer:
    """What a file says; `author` and `seconds` are None where it does not say."""

    outlines: tuple[Outline, ...]
    author: str | None
    seconds: float | None


def parse_json(data: bytes) -> Any:
    """Strict JSON in any Unicode encoding. Raises ValueError with the reason: no JSON (yet), or too deep."""

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is not JSON")

    try:
        return json.loads(data, parse_constant=refuse)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def parse_answer(content: Any, task: Task, classes: Sequence[str]) -> Answer:
    """The answer to `task` from parsed JSON of unknown origin. Raises DataError with what to put right.

    Paths that it may contain are not looked at. `iscrowd` is not either: pycocotools, and tools built on it,
    set it for every mask that is kept as run lengths, also for single objects.
    """
    if not isinstance(content, dict):
        raise DataError(f"a COCO file is an object, not {type(content).__name__}")
    missing = [key for key in ("images", "annotations", "categories") if not _are_objects(content.get(key))]
    if missing:
        raise DataError(f"COCO keys are missing, or are not lists of objects: {', '.join(missing)}")
    page = _Page(
        _image_id(content["images"], task.size_hw),
        task.size_hw,
        _labels(content["categories"]),
        classes,
        dict(zip(annotation_ids(task), (instance.id for instance in task.instances), strict=True)),
    )
    outlines = []
    for row in content["annotations"]:
        try:
            outlines.append(_outline(row, page))
        except DataError as exc:
            raise DataError(f"annotation {row.get('id')!r:.40}: {exc.reason}") from exc
    return Answer(tuple(outlines), _author(content), _seconds(content))


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _image_id(images: Sequence[Mapping[str, Any]], size_hw: SizeHW) -> object:
    if len(images) != 1:
        raise DataError(f"the file must be about one image, the task's; it lists {len(images)}")
    said = images[0].get("height"), images[0].get("width")
    if said not in (size_hw, (None, None)):
        raise DataError(f"the file says height x width {said!r:.80}, the image has {size_hw}")
    return images[0].get("id")


def _labels(categories: Sequence[Mapping[str, Any]]) -> Mapping[int, str]:
    labels: dict[int, str] = {}
    for entry in categories:
        number, name = entry.get("id"), entry.get("name")
        if not _is_whole(number) or not isinstance(name, str):
            raise DataError(f"a category needs a whole number 'id' and a 'name': {entry!r:.120}")
        if number in labels:
            raise DataError(f"category id {number} is there twice")
        labels[number] = name
    return labels


def _outline(row: Mapping[str, Any], page: _Page) -> Outline:
    if row.get("image_id") != page.image_id:
        raise DataError(f"image_id {row.get('image_id')!r:.40} is not the image of this file")
    number = row.get("category_id")
    if not _is_whole(number) or number not in page.labels:
        raise DataError(f"unknown category id {number!r:.40}")
    label = page.labels[number]
    if label not in page.classes:
        raise DataError(f"category {label!r:.80} is no class of this project ({', '.join(page.classes)})")
    mask = _mask(row, page.size_hw)
    if mask.box is None:
        raise DataError("it covers no pixel of the image: draw it again, or delete it")
    return Outline(_claim(row, page.shown), label, mask, mask.box)


def _claim(row: Mapping[str, Any], shown: Mapping[int, str]) -> str | None:
    """The shown instance that a row says it is: by its attribute, else by its number."""
    attributes = row.get("attributes")
    said = {**row, **(attributes if isinstance(attributes, dict) else {})}.get("maskloop_id")
    if isinstance(said, str) and said in shown.values():
        return said
    number = row.get("id")
    return shown.get(number) if _is_whole(number) else None


def _mask(row: Mapping[str, Any], size_hw: SizeHW) -> Mask:
    segmentation = row.get("segmentation")
    if not segmentation:
        raise DataError("it is a box only: draw its outline (polygon or mask), or delete it")
    return segmentation_mask(segmentation, size_hw)


def _author(content: Mapping[str, Any]) -> str | None:
    author = content.get("annotator")
    if author is None or author == "":
        return None
    if not isinstance(author, str) or not author.strip() or not author.isprintable():
        raise DataError("'annotator' must be a name")
    if len(author) > _NAME_CHARACTERS:
        raise DataError(f"'annotator' must be a name of at most {_NAME_CHARACTERS} characters")
    return author.strip()


def _seconds(content: Mapping[str, Any]) -> float | None:
    seconds = content.get("seconds")
    if seconds is None:
        return None
    if not is_number(seconds) or seconds < 0:
        raise DataError(f"'seconds' must be the time spent, not {seconds!r:.40}")
    return float(seconds)


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
