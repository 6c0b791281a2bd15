"""YOLO label rows: a class index, then a box (centre, size) or a polygon, in fractions of the image.

The row format is Ultralytics' (docs.ultralytics.com, "Instance Segmentation Datasets"): one row an object.
Holes and further parts are joined to the ring by seams, so an object stays one row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance
from pipeline.errors import DataError
from pipeline.formats.labels import LabelProblem, Labels, imported, read_text, told_apart
from pipeline.formats.seams import one_ring

__all__ = ["DECIMALS", "YoloLabels", "data_yaml", "label_rows", "parse_rows"]

DECIMALS = 6
"""Of a coordinate in a row: exact on sides up to 100,000 pixels."""

TOLERANCE = 1e-3
"""How far outside [0, 1] a coordinate may lie, for writers that round; it is clipped."""


@dataclass(frozen=True)
class YoloLabels:
    """The labels of one image: a text file, empty where there is nothing in the image."""

    path: Path
    classes: Mapping[int, str]
    ignore: frozenset[str] = frozenset()

    def read(self, size_hw: SizeHW, key: str) -> Labels:
        """Raises BadFormat if the file cannot be read as text."""
        instances, problems = parse_rows(
            read_text(self.path), self.classes, size_hw, source=self.path, key=key, ignore=self.ignore
        )
        return Labels(instances, problems)


def label_rows(instances: Sequence[Instance], classes: Sequence[str], size_hw: SizeHW) -> str:
    """The text of one image's label file, one row an instance, in the given order; "" for none.

    An instance with a mask becomes one closed ring, holes and parts by seams (see `seams`); six decimals keep it
    exact on sides up to 100,000 pixels. One without a mask becomes a box row of five numbers:
    segmentation trainers want masks for all instances of an image or for none.
    Raises DataError for a label that is not among `classes` and for a mask that covers nothing.
    """
    index_of = {name: index for index, name in enumerate(classes)}
    rows = []
    for instance in instances:
        if instance.label not in index_of:
            raise DataError(f"instance {instance.id}: {instance.label!r} is not among {list(classes)}")
        rows.append(f"{index_of[instance.label]} {' '.join(_numbers(instance, size_hw))}\n")
    return "".join(rows)


def parse_rows(
    text: str,
    classes: Mapping[int, str] | Sequence[str],
    size_hw: SizeHW,
    *,
    source: Path,
    key: str,
    ignore: frozenset[str] = frozenset(),
) -> tuple[tuple[Instance, ...], tuple[LabelProblem, ...]]:
    """Rows into instances of an image of `size_hw`, and a problem for each row that cannot be used.

    Five numbers are a box, an odd number from seven on a polygon. `key`, the image's id, makes the ids.
    Blank rows are skipped, a row that is there twice is taken once, names in `ignore` are passed over.
    """
    names = classes if isinstance(classes, Mapping) else dict(enumerate(classes))
    instances: list[Instance] = []
    problems: list[LabelProblem] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(text.splitlines(), start=1):
        fields = row.split()
        if not fields:
            continue
        first = seen.setdefault(" ".join(fields), number)
        if first != number:
            problems.append(LabelProblem(source, number, f"the same row as line {first}, taken once", lost=False))
            continue
        try:
            label = _label(fields[0], names)
            if label not in ignore:
                box, mask = _shape(fields[1:], size_hw)
                instances.append(imported(label, box, mask, key=key, source=source))
        except DataError as exc:
            problems.append(LabelProblem(source, number, exc.reason))
    return told_apart(instances, key=key, source=source), tuple(problems)


def data_yaml(classes: Sequence[str]) -> str:
    """A dataset description beside `images/` and `labels/`: it holds no path of this machine and no URL."""
    content = {"train": "images/train", "val": "images/val", "names": dict(enumerate(classes))}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _numbers(instance: Instance, size_hw: SizeHW) -> list[str]:
    height, width = size_hw
    if instance.mask is not None:
        values = (one_ring(instance.mask) / (width, height)).ravel().tolist()
        if not values:
            raise DataError(f"instance {instance.id}: its mask covers no pixel")
    else:
        x1, y1, x2, y2 = instance.box
        values = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
    return [f"{value:.{DECIMALS}f}" for value in values]


def _label(field: str, names: Mapping[int, str]) -> str:
    index = _number(field)
    if index != int(index) or int(index) not in names:
        known = f"0 to {max(names)}" if names else "none"
        raise DataError(f"class {field} is out of range (known: {known})")
    return names[int(index)]


def _shape(fields: Sequence[str], size_hw: SizeHW) -> tuple[Box | None, Mask | None]:
    if len(fields) != 4 and (len(fields) < 6 or len(fields) % 2):
        raise DataError(f"{len(fields)} numbers after the class: a box has 4, a polygon an even number from 6 on")
    values = [_number(field) for field in fields]
    outside = [value for value in values if not -TOLERANCE <= value <= 1 + TOLERANCE]
    if outside:
        raise DataError(f"{outside[0]:g} lies outside [0, 1]: coordinates are fractions of the image")
    height, width = size_hw
    if len(values) == 4:
        x, y, w, h = values
        box = Box((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
        return box.checked(size_hw), None
    ring = np.clip(np.array(values).reshape(-1, 2), 0, 1) * (width, height)
    mask = Mask.from_polygons([ring], size_hw)
    return mask.box, mask


def _number(field: str) -> float:
    try:
        value = float(field)
    except ValueError as exc:
        raise DataError(f"{field[:40]!r} is not a number") from exc
    if not math.isfinite(value):
        raise DataError(f"{field} is not a finite number")
    return value
