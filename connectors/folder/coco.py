"""A task as a COCO file for its one image (https://cocodataset.org/#format-data).

A mask without holes is written as polygons along its pixels' edges, which give it back exactly; any other as
compressed run lengths.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from connectors.tasks import Task
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance
from pipeline.errors import DataError

__all__ = ["annotation_ids", "task_json"]


def task_json(task: Task, image_name: str, classes: Sequence[str]) -> bytes:
    """The task as a COCO file; equal tasks give equal bytes. Raises DataError for a label that is no class."""
    category = {name: number for number, name in enumerate(classes, start=1)}
    foreign = sorted({instance.label for instance in task.instances} - category.keys())
    if foreign:
        raise DataError(f"label {foreign[0]!r} is not among {list(classes)}", sample_id=task.sample_id)
    height, width = task.size_hw
    shown = zip(annotation_ids(task), task.instances, strict=True)
    content = {
        "info": {"description": f"maskloop task {task.id}"},
        "annotator": "",
        "images": [{"id": 1, "file_name": image_name, "width": width, "height": height}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": category[instance.label], **_row(instance)}
            for number, instance in shown
        ],
        "categories": [{"id": number, "name": name} for name, number in category.items()],
    }
    return (json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode()


def annotation_ids(task: Task) -> range:
    """Annotation ids: large, so that a tool that numbers anew from 1 cannot mean a shown instance by accident;
    below 2^31, because some tools keep ids in 32 bits.
    """
    first = 1_000_000_000 + int(hashlib.sha256(task.id.encode()).hexdigest()[:8], 16) % 1_000_000 * 1000
    return range(first, first + len(task.instances))


def _row(instance: Instance) -> dict[str, Any]:
    box = (instance.mask.box if instance.mask is not None else None) or instance.box
    score = {} if instance.confidence is None else {"score": instance.confidence}
    return {
        "bbox": [round(value, 2) for value in (box.x1, box.y1, box.width, box.height)],
        "area": instance.mask.area_px if instance.mask is not None else round(box.area_px, 2),
        "iscrowd": 0,
        "segmentation": _segmentation(instance.mask),
        "attributes": {"maskloop_id": instance.id, **score},
    }


def _segmentation(mask: Mask | None) -> list[list[float]] | dict[str, Any]:
    if mask is None or mask.area_px == 0:
        return []
    rings = mask.polygons()
    if Mask.from_polygons(rings, mask.size_hw) == mask:
        return [ring.reshape(-1).tolist() for ring in rings]
    return {"size": list(mask.size_hw), "counts": mask.counts.decode()}
