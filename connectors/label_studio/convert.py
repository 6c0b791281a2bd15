"""Between Label Studio's rows and the house's nouns. Pure; percent and brush codes live on this page alone.

Label Studio's coordinates are percent of the upright image, and its brush masks have that image's size. Exact both
ways: brush masks, with holes and parts, and boxes. A polygon has no holes, and one part: see `polygon_rows`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from connectors.label_studio.labeling_config import Tags
from connectors.label_studio.rle import encode_rle, mask_of_rle
from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance
from pipeline.errors import BadFormat, DataError, ShapeMismatch

__all__ = [
    "Region",
    "brush_row",
    "instance_id",
    "polygon_loss",
    "polygon_rows",
    "prediction",
    "read_regions",
    "region_rows",
]

_KINDS: Mapping[str, Literal["brush", "polygon", "rectangle", "keypoint"]] = {
    "brushlabels": "brush",
    "polygonlabels": "polygon",
    "rectanglelabels": "rectangle",
    "keypointlabels": "keypoint",
}
_PART = "~"
"""Between an object's id and the number of one of its polygons."""
_MAX_POINTS = 100_000
_FARTHEST = 1e6
"""Percent: beyond that is no place, however far people drag a region over the edge."""


@dataclass(frozen=True)
class Region:
    """One row that was read: a mask (brush, polygon), a box (rectangle) or a point (key point), in pixels.

    `positive` is None where the row does not say; `score` and `origin` are Label Studio's.
    """

    id: str
    label: str
    kind: Literal["brush", "polygon", "rectangle", "keypoint"]
    mask: Mask | None = None
    box: Box | None = None
    point_xy: tuple[float, float] | None = None
    positive: bool | None = None
    score: float | None = None
    origin: str | None = None


def read_regions(rows: Sequence[Mapping[str, Any]], size_hw: SizeHW) -> list[Region]:
    """The rows of kinds that are known here, in their order; others, such as a choice or a text, are left out.

    A key point that holds a brush mask is left out too: the editor makes a copy of an accepted mask under a label
    that was still selected. Raises BadFormat for a row that cannot be read or belongs to a turned image, ShapeMismatch
    for one of an image of another size; both name the region.
    """
    regions = []
    for row in rows:
        if not isinstance(row, Mapping) or not isinstance(row.get("value"), Mapping):
            raise BadFormat("a region is no object with a value")
        kind = _KINDS.get(str(row.get("type")))
        if kind is None or (kind in {"keypoint", "rectangle"} and "rle" in row["value"]):
            continue
        try:
            regions.append(_region(row, kind, size_hw))
        except ShapeMismatch as exc:
            raise ShapeMismatch(f"region {row.get('id')!r:.60}: {exc.reason}") from exc
        except (DataError, KeyError, TypeError, ValueError, IndexError) as exc:
            reason = exc.reason if isinstance(exc, DataError) else f"{type(exc).__name__}: {exc}"
            raise BadFormat(f"region {row.get('id')!r:.60} cannot be read: {reason}") from exc
    return regions


def brush_row(region: Region, tags: Tags) -> dict[str, Any]:
    """The region's mask as it is. Raises BadFormat if the configuration has no brush, or the region no mask."""
    if tags.brush is None or region.mask is None:
        raise BadFormat("a brush region needs a mask, and <BrushLabels> in the labelling configuration")
    value = {"format": "rle", "rle": list(encode_rle(region.mask.bitmap())), "brushlabels": [region.label]}
    return _row(region, tags.brush, tags.image, "brushlabels", value)


def polygon_rows(region: Region, tags: Tags) -> list[dict[str, Any]]:
    """One polygon around each part of the mask, along pixel edges; the first has the id, others the id and a number.

    Lost are its holes, which a polygon cannot have: `polygon_loss` tells how much that is. Raises BadFormat if the
    configuration has no polygons, or the region no mask.
    """
    if tags.polygon is None or region.mask is None:
        raise BadFormat("polygons need a mask, and <PolygonLabels> in the labelling configuration")
    height, width = region.mask.size_hw
    rows = []
    for number, ring in enumerate(region.mask.polygons(), start=1):
        points = [[100 * float(x) / width, 100 * float(y) / height] for x, y in ring]
        value = {"points": points, "closed": True, "polygonlabels": [region.label]}
        part = region if number == 1 else replace(region, id=f"{region.id}{_PART}{number}")
        rows.append(_row(part, tags.polygon, tags.image, "polygonlabels", value))
    return rows


def polygon_loss(mask: Mask) -> float:
    """What a mask loses as polygons: 1 - IoU of the two, 0 for a mask without holes."""
    return 1.0 - mask.iou(Mask.from_polygons(mask.polygons(), mask.size_hw))


def region_rows(region: Region, tags: Tags) -> list[dict[str, Any]]:
    """By brush where the configuration has one, else by polygons; an empty mask, or none, is no row."""
    if region.mask is None or region.mask.area_px == 0:
        return []
    return [brush_row(region, tags)] if tags.brush is not None else polygon_rows(region, tags)


def prediction(
    instances: Sequence[Instance], tags: Tags, *, model_version: str, score: float | None = None
) -> dict[str, Any]:
    """What the machine found, as Label Studio imports and stores it; regions have the instances' ids.

    An instance without a mask cannot be shown by brush or polygon, and is left out. `score`, in [0, 1], is that of
    the whole image; without it the mean of what is known of the instances' confidences.
    """
    rows: list[dict[str, Any]] = []
    confidences = []
    for instance in instances:
        if instance.confidence is not None:
            confidences.append(instance.confidence)
        region = Region(instance.id, instance.label, "brush", instance.mask, score=instance.confidence)
        rows += region_rows(region, tags)
    if score is None:
        score = sum(confidences) / len(confidences) if confidences else 0.0
    return {"model_version": model_version, "score": round(float(score), 6), "result": rows}


def instance_id(region_id: str) -> str:
    """The object that a region belongs to: polygons of one object share it."""
    return region_id.partition(_PART)[0]


def _row(region: Region, name: str, image: str, kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
    height, width = region.mask.size_hw if region.mask is not None else (0, 0)
    row: dict[str, Any] = {
        "id": region.id,
        "from_name": name,
        "to_name": image,
        "type": kind,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": dict(value),
    }
    if region.score is not None:
        row["score"] = round(float(region.score), 6)
    return row


def _region(
    row: Mapping[str, Any], kind: Literal["brush", "polygon", "rectangle", "keypoint"], size_hw: SizeHW
) -> Region:
    """Raises what reading a strange row raises."""
    value = row["value"]
    width, height = row.get("original_width", size_hw[1]), row.get("original_height", size_hw[0])
    if (height, width) != size_hw:
        raise ShapeMismatch(f"it is of an image of height x width {(height, width)}, the image is {size_hw}")
    if row.get("image_rotation") or 0:
        raise BadFormat(f"its image was turned by {row['image_rotation']!r:.10} degrees: turn it back and update")
    positive = row.get("is_positive", value.get("positive"))
    return Region(
        id=_name(row),
        label=_label(value.get(str(row["type"]))),
        kind=kind,
        mask=_mask(value, kind, size_hw),
        box=_box(value, size_hw) if kind == "rectangle" else None,
        point_xy=_pixel(value["x"], value["y"], size_hw) if kind == "keypoint" else None,
        positive=positive if isinstance(positive, bool) else None,
        score=float(row["score"]) if _is_number(row.get("score")) else None,
        origin=row["origin"] if isinstance(row.get("origin"), str) else None,
    )


def _name(row: Mapping[str, Any]) -> str:
    name = row.get("id")
    if not isinstance(name, str) or not name:
        raise BadFormat("it has no id")
    return name


def _label(labels: Any) -> str:
    """An object is of one class. The editor leaves the list out where somebody took the label away."""
    if not isinstance(labels, list) or not labels or not isinstance(labels[0], str):
        raise BadFormat("it has no label: choose one and update")
    if len(labels) > 1:
        raise BadFormat(f"it has {len(labels)} labels: choose one and update")
    return labels[0]


def _is_number(value: Any) -> bool:
    """Finite, and not so large an integer that no float can hold it."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _mask(value: Mapping[str, Any], kind: str, size_hw: SizeHW) -> Mask | None:
    if kind == "brush":
        if value.get("format", "rle") != "rle":
            raise BadFormat(f"its mask has the format {value['format']!r:.20}, not rle")
        if not isinstance(value["rle"], list):
            raise BadFormat("its mask is no list")
        return mask_of_rle(value["rle"], size_hw)
    if kind == "polygon":
        if len(value["points"]) > _MAX_POINTS:
            raise BadFormat(f"its polygon has {len(value['points'])} points; {_MAX_POINTS} are read")
        return Mask.from_polygons([[_pixel(x, y, size_hw) for x, y in value["points"]]], size_hw)
    return None


def _pixel(x: Any, y: Any, size_hw: SizeHW) -> tuple[float, float]:
    """From percent. Raises BadFormat for what is no number, or no place in or near an image."""
    for number in (x, y):
        if not _is_number(number) or abs(number) > _FARTHEST:
            raise BadFormat(f"{number!r:.20} is no coordinate")
    return x * size_hw[1] / 100, y * size_hw[0] / 100


def _box(value: Mapping[str, Any], size_hw: SizeHW) -> Box:
    """The upright box around a rectangle, which may be turned by `rotation` degrees about its top left corner."""
    left, top = _pixel(value["x"], value["y"], size_hw)
    across, down = _pixel(value["width"], value["height"], size_hw)
    angle = math.radians(_pixel(value.get("rotation", 0), 0, (100, 100))[0])
    corners = [(0.0, 0.0), (across, 0.0), (0.0, down), (across, down)]
    xs = [left + x * math.cos(angle) - y * math.sin(angle) for x, y in corners]
    ys = [top + x * math.sin(angle) + y * math.cos(angle) for x, y in corners]
    return Box(min(xs), min(ys), max(xs), max(ys))
