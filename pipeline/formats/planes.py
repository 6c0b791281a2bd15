"""PNG instance maps: one 16-bit picture an image, in which an instance's pixels have its number; 0 is nothing.

Where instances overlap, the later one goes to the first further plane, a picture of its own, that has room for it: so
no pixel is lost. A JSON file beside the pictures tells which number on which plane is whose:

    masks/train/x.json     {"image": "x.jpg", "size_hw": [480, 640], "planes": ["x.png", "x.2.png"],
    masks/train/x.png       "instances": [{"id": "…", "label": "cat", "plane": 1, "value": 1, "state": "drawn", …}]}
    masks/train/x.2.png
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.domain.dataset import instance_row
from pipeline.domain.geometry import SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Split
from pipeline.errors import BadFormat, DataError
from pipeline.formats.labels import (
    SPLIT_NAMES,
    Found,
    LabelProblem,
    Labels,
    check_proposal,
    imported,
    read_text,
    told_apart,
)

__all__ = ["PlaneLabels", "find_planes", "plane_bytes", "planes_of", "sidecar_bytes"]

Plane = npt.NDArray[np.uint16]
"""`uint16 (h, w)`: instance numbers, 0 where there is none."""

_MOST = 65_535
_PNG = b"\x89PNG\r\n\x1a\n"
_GEOMETRY = ("box", "counts", "size_hw", "before")


def planes_of(instances: Sequence[Instance], size_hw: SizeHW) -> tuple[list[Plane], list[tuple[int, int]]]:
    """The planes, at least one, and for each instance its plane, from 1, and its number there.

    Raises DataError for an instance without a mask, and for more than 65,535.
    """
    planes = [np.zeros(size_hw, dtype=np.uint16)]
    places: list[tuple[int, int]] = []
    if len(instances) > _MOST:
        raise DataError(f"{len(instances)} instances are too many for 16 bits")
    for number, instance in enumerate(instances, start=1):
        if instance.mask is None or instance.mask.box is None:
            raise DataError(f"instance {instance.id} has no mask to export")
        left, top, right, bottom = (int(side) for side in instance.mask.box)
        window, (_, crop) = np.s_[top:bottom, left:right], instance.mask.crop()
        free = (index for index, plane in enumerate(planes) if not plane[window][crop].any())
        index = next(free, len(planes))
        if index == len(planes):
            planes.append(np.zeros(size_hw, dtype=np.uint16))
        planes[index][window][crop] = number
        places.append((index + 1, number))
    return planes, places


def plane_bytes(plane: Plane) -> bytes:
    """A plane as a 16-bit grey PNG file."""
    written, data = cv2.imencode(".png", plane)
    if not written:
        raise DataError("OpenCV cannot write a plane as PNG")
    return data.tobytes()


def sidecar_bytes(
    image: str,
    size_hw: SizeHW,
    planes: Sequence[str],
    instances: Sequence[Instance],
    places: Sequence[tuple[int, int]],
) -> bytes:
    """The JSON file of one image; `planes` are the pictures' names, `places` those of `planes_of`."""
    rows = []
    for instance, (plane, value) in zip(instances, places, strict=True):
        row = {key: item for key, item in instance_row(instance).items() if key not in _GEOMETRY}
        rows.append({**row, "plane": plane, "value": value})
    content = {"image": image, "size_hw": list(size_hw), "planes": list(planes), "instances": rows}
    return (json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()


@dataclass(frozen=True)
class PlaneLabels:
    """One image's instance maps: `path` is the JSON file, `content` what it holds."""

    path: Path
    content: Mapping[str, Any]
    proposals: bool = False
    """Whether proposals are taken too."""

    def read(self, size_hw: SizeHW, key: str) -> Labels:
        """Instances in the frame of `size_hw`. Raises BadFormat if the maps cannot be read."""
        if self.content["size_hw"] != list(size_hw):
            raise BadFormat(f"it is of an image of {self.content['size_hw']!r:.60}, the image is {size_hw}")
        planes = [_masks(_read_plane(self.path.parent / name, size_hw)) for name in self.content["planes"]]
        instances: list[Instance] = []
        problems: list[LabelProblem] = []
        used: set[tuple[int, int]] = set()
        for index, row in enumerate(self.content["instances"]):
            try:
                label, (plane, value) = _place(row, len(planes))
                check_proposal(row.get("state"), accepted=self.proposals)
                if (plane, value) in used:
                    raise DataError(f"its number {value} on plane {plane} is another's too")
                used.add((plane, value))
                mask = planes[plane - 1].get(value)
                if mask is None:
                    raise DataError(
                        f"it covers no pixel: plane {plane} has no {value}; if the object was erased, take it out of "
                        f"{self.path.name} too"
                    )
                instances.append(imported(label, None, mask, key=key, source=self.path))
            except DataError as exc:
                problems.append(LabelProblem(self.path, None, f"instance {index + 1}: {exc.reason}"))
        for number, masks in enumerate(planes, start=1):
            nobodys = [value for value in masks if (number, value) not in used]
            if nobodys:
                drawn = f"what was drawn anew needs a row in {self.path.name}"
                reason = f"plane {number}: nobody has the number {nobodys[0]}; {drawn}"
                problems.append(LabelProblem(self.path, None, reason))
        return Labels(told_apart(instances, key=key, source=self.path), tuple(problems))


def find_planes(folder: Path, images: Path, *, proposals: bool = False) -> Iterator[Found | LabelProblem]:
    """What lies below `masks/` of a folder, with or without splits; the images lie in the same way below `images`.

    With `proposals`, what a model proposed is taken too: the file was looked over. Raises BadFormat where
    there are no such files.
    """
    masks = folder / "masks"
    files = sorted(masks.rglob("*.json")) if masks.is_dir() else []
    if not files:
        raise BadFormat("no instance maps: expected JSON files below masks/", path=folder)
    for path in files:
        try:
            content = _content(path)
        except BadFormat as exc:
            yield LabelProblem(path, None, exc.reason)
            continue
        below = path.parent.relative_to(masks)
        split: Split | None = SPLIT_NAMES.get(below.name)
        yield Found(images / below / content["image"], split, PlaneLabels(path, content, proposals))


def _content(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(read_text(path))
    except (RecursionError, ValueError) as exc:
        raise BadFormat(f"not JSON that can be read: {exc}", path=path) from exc
    if not isinstance(content, dict):
        raise BadFormat("not an object with image, size_hw, planes and instances", path=path)
    image, planes = content.get("image"), content.get("planes")
    if not _is_name(image) or not isinstance(planes, list) or not all(map(_is_name, planes)):
        raise BadFormat("'image' and each of 'planes' must be the name of a file beside it", path=path)
    if len(planes) > _MOST or not isinstance(content.get("instances"), list) or "size_hw" not in content:
        raise BadFormat("it needs 'size_hw', and a list of 'instances'", path=path)
    return content


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value not in ("", ".", "..") and not set(value) & set("/\\\0")


def _place(row: Any, planes: int) -> tuple[str, tuple[int, int]]:
    if not isinstance(row, dict) or not isinstance(row.get("label"), str) or not row["label"]:
        raise DataError("it has no label")
    plane, value = row.get("plane"), row.get("value")
    if not _is_whole(plane, planes) or not _is_whole(value, _MOST):
        raise DataError(f"plane {plane!r:.40} and value {value!r:.40} are no place on the {planes} planes")
    return row["label"], (plane, value)


def _is_whole(number: Any, most: int) -> TypeGuard[int]:
    return isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= most


def _read_plane(path: Path, size_hw: SizeHW) -> Plane:
    """The size is compared before anything is decoded."""
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise BadFormat(f"cannot be read: {exc.strerror or exc}", path=path) from exc
    if data[:8] != _PNG or len(data) < 33:
        raise BadFormat("not a PNG file", path=path)
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    if colour != 0:
        raise BadFormat("the picture has colours or a palette; save it as grey, with 8 or 16 bits", path=path)
    if (height, width) != size_hw or depth not in (8, 16):
        raise BadFormat(f"not a grey picture of {size_hw}, but of {(height, width)}", path=path)
    plane = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if plane is None or plane.shape != size_hw:
        raise BadFormat("the PNG file is damaged", path=path)
    return np.asarray(plane, dtype=np.uint16)


def _masks(plane: Plane) -> dict[int, Mask]:
    """The mask of every number of a plane; each is looked at in its own box alone."""
    rows, columns = np.nonzero(plane)
    values = plane[rows, columns]
    if not values.size:
        return {}
    order = np.argsort(values, kind="stable")
    found, starts = np.unique(values[order], return_index=True)
    masks = {}
    for value, own in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
        top, left = int(rows[own].min()), int(columns[own].min())
        bottom, right = int(rows[own].max()) + 1, int(columns[own].max()) + 1
        crop = plane[top:bottom, left:right] == value
        masks[value] = Mask.from_crop(crop, left, top, (plane.shape[0], plane.shape[1]))
    return masks
