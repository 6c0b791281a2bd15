"""COCO instance annotations (https://cocodataset.org/#format-data): polygons, run lengths, or boxes only.

An image entry may carry `split`. An image without annotations has been looked at: there is nothing in it.
Crowd regions stand for several objects: an image that has some is not fully labelled. But there are tools that mark
so whatever has run lengths (CVAT does, with masks of the brush): then each is an object.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Split
from pipeline.domain.segmentation import is_number, segmentation_mask
from pipeline.errors import DataError
from pipeline.formats.coco_index import CocoIndex, index_coco, whole
from pipeline.formats.labels import (
    Found,
    LabelledImage,
    LabelProblem,
    Labels,
    exists,
    imported,
    spelled,
    told_apart,
)
from pipeline.formats.seams import one_ring

__all__ = ["CocoLabels", "Crowd", "Segmentation", "coco_bytes", "find_coco"]

Segmentation = Literal["rle", "polygons"]
Crowd = Literal["refuse", "objects"]
"""What becomes of annotations with `iscrowd`."""


@dataclass(frozen=True)
class CocoLabels:
    """The annotations of one image, as they stand in the file; `size_hw` is what the file says."""

    path: Path
    rows: tuple[Mapping[str, Any], ...]
    categories: Mapping[int, str]
    size_hw: SizeHW | None
    ignore: frozenset[str] = frozenset()
    problems: tuple[LabelProblem, ...] = ()
    crowd: Crowd = "refuse"

    def read(self, size_hw: SizeHW, key: str) -> Labels:
        """Instances in the frame of `size_hw`; if the file speaks of another size, none and a problem."""
        if self.size_hw is not None and self.size_hw != size_hw:
            reason = f"labels are for height x width {self.size_hw}, but the upright image has {size_hw}"
            return Labels((), (*self.problems, LabelProblem(self.path, None, reason)))
        instances: list[Instance] = []
        problems = list(self.problems)
        crowds: list[Any] = []
        for row in self.rows:
            try:
                label = _label(row, self.categories)
                if label in self.ignore:
                    continue
                if row.get("iscrowd") and self.crowd == "refuse":
                    crowds.append(row.get("id"))
                    continue
                box, mask = _shape(row, size_hw)
                instances.append(imported(label, box, mask, key=key, source=self.path))
            except DataError as exc:
                problems.append(LabelProblem(self.path, None, f"annotation {row.get('id')}: {exc.reason}"))
        problems += [LabelProblem(self.path, None, _refusal(crowds))] if crowds else []
        return Labels(told_apart(instances, key=key, source=self.path), tuple(problems))


def find_coco(
    path: Path,
    images: Path,
    *,
    ignore: frozenset[str] = frozenset(),
    crowd: Crowd = "refuse",
    split: Split | None = None,
    part: str = "",
) -> Iterator[Found | LabelProblem]:
    """The images of the annotation file `path`, which lie under the folder `images`, in the file's order.

    Names in `ignore` are categories that nobody asks for. `split` is that of images of which the file says none; those
    that lie in the sub-folder `part` may be named without it.
    Raises BadFormat if the file as a whole is broken.
    """
    index: CocoIndex = index_coco(path)
    yield from index.problems
    for entry in index.images:
        name = _below(entry.file_name, images)
        if name is None:
            yield LabelProblem(path, None, f"{entry.file_name!r} lies outside the folder of images")
            continue
        labels = CocoLabels(path, entry.rows, index.categories, entry.size_hw, ignore, entry.problems, crowd)
        inside = spelled(images / part / name)
        image = inside if part and exists(inside) else spelled(images / name)
        yield Found(image, entry.split or split, labels)


def coco_bytes(
    images: Iterable[LabelledImage], classes: Sequence[str], segmentation: Segmentation = "rle"
) -> bytes:
    """Images with known sizes as a COCO file; equal input gives equal bytes.

    Masks are compressed run lengths, or polygons: one along the pixel edges of each part, or a single one with seams
    where there are holes. pycocotools fills either to the very mask.
    Raises DataError for an image without a size, and for a label that is not among `classes`.
    """
    category = {name: number for number, name in enumerate(classes, start=1)}
    entries: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, start=1):
        if image.size_hw is None:
            raise DataError("COCO wants every image's size", path=image.file_name)
        height, width = image.size_hw
        entry = {"id": image_id, "file_name": image.file_name, "width": width, "height": height}
        entries.append(entry | ({"split": image.split} if image.split else {}))
        for instance in image.instances:
            if instance.label not in category:
                raise DataError(f"{instance.label!r} is not among {list(classes)}", path=image.file_name)
            row = {"id": len(rows) + 1, "image_id": image_id, "category_id": category[instance.label]}
            rows.append(row | _row(instance, segmentation))
    categories = [{"id": number, "name": name} for name, number in category.items()]
    content = {"images": entries, "annotations": rows, "categories": categories}
    return (json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode()


def _row(instance: Instance, segmentation: Segmentation) -> dict[str, Any]:
    box, mask = instance.box, instance.mask
    row: dict[str, Any] = {"bbox": [box.x1, box.y1, box.width, box.height], "area": box.area_px, "iscrowd": 0}
    if mask is None:
        return row
    if segmentation == "polygons":
        return row | {"area": mask.area_px, "segmentation": _rings(mask)}
    return row | {
        "area": mask.area_px,
        "segmentation": {"size": list(mask.size_hw), "counts": mask.counts.decode()},
    }


def _below(name: str, images: Path) -> Path | None:
    """The file's path under the folder: of a path that only another machine has, the last part; None if it leads out.

    A backslash parts folders where no file has it in its name.
    """
    path = Path(name)
    if "\\" in name and not exists(images / path):
        windows = PureWindowsPath(name)
        path = Path(windows.name if windows.anchor else windows.as_posix())
    path = Path(path.name) if path.is_absolute() else path
    return None if ".." in path.parts or not path.name else path


def _rings(mask: Mask) -> list[list[float]]:
    """Polygons `x1, y1, x2, …` that fill to the mask; two decimals are far finer than what filling sees."""
    rings = mask.polygons()
    if Mask.from_polygons(rings, mask.size_hw) != mask:
        rings = [one_ring(mask)]
    return [[round(float(value), 2) for value in ring.ravel()] for ring in rings]


def _label(row: Mapping[str, Any], categories: Mapping[int, str]) -> str:
    number = whole(row.get("category_id"))
    if number is None or number not in categories:
        raise DataError(f"unknown category id {row.get('category_id')!r:.80}")
    return categories[number]


def _refusal(crowds: Sequence[Any]) -> str:
    more = f" and {len(crowds) - 1} more" if len(crowds) > 1 else ""
    return (
        f"annotation {crowds[0]!r:.40}{more}: a crowd region (iscrowd) stands for several objects; where each is one, "
        "as in CVAT's files, say so: `--crowd objects` of an import, `crowd: objects` of a source"
    )


def _shape(row: Mapping[str, Any], size_hw: SizeHW) -> tuple[Box | None, Mask | None]:
    """The mask, and the box that goes with it; the box alone where the file has no segmentation."""
    segmentation = row.get("segmentation")
    if not segmentation:
        return _box(row.get("bbox")).checked(size_hw), None
    mask = segmentation_mask(segmentation, size_hw)
    return mask.box, mask


def _box(value: Any) -> Box:
    if not isinstance(value, list) or len(value) != 4 or not all(is_number(item) for item in value):
        raise DataError(f"bbox must be four numbers x, y, width, height, not {value!r:.120}")
    x, y, width, height = (float(item) for item in value)
    return Box(x, y, x + width, y + height)
