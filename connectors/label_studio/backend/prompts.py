"""The prompts of a click, in pixels, each with its polarity.

The editor sends all points, or all rectangles, of one label that are still in the annotation, in the order in which
they were made. After a page is loaded again they come without their polarity: it is looked up by the prompt's id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.label_studio.backend.bodies import Task
from connectors.label_studio.backend.memory import Asked, Memory, Place
from connectors.label_studio.convert import Region, read_regions
from pipeline.domain.geometry import SizeHW
from pipeline.errors import BadFormat

__all__ = ["Question", "question_of"]


@dataclass(frozen=True)
class Question:
    """One object's prompts, first first, and its label. A rectangle comes before the points."""

    prompts: tuple[Asked, ...]
    label: str

    @property
    def first(self) -> str:
        """The id of the prompt that the session is named by."""
        return self.prompts[0].id


def question_of(
    rows: Sequence[Mapping[str, Any]], task: Task, place: Place, memory: Memory, size_hw: SizeHW
) -> Question | None:
    """None where nothing that is known here is asked. Of several rectangles the last is meant: those before it were
    objects of their own, and have been answered.

    Raises BadFormat for a prompt that cannot be read or lies outside the image, ShapeMismatch for one on an image of
    another size.
    """
    regions = [one for one in read_regions(rows, size_hw) if one.kind in {"keypoint", "rectangle"}]
    if not regions:
        return None
    boxes = [one for one in regions if one.kind == "rectangle"]
    points = [one for one in regions if one.kind == "keypoint"]
    label = boxes[-1].label if boxes else points[-1].label
    prompts = [_box(one, size_hw) for one in boxes[-1:]]
    prompts += [_point(one, task, place, memory, size_hw) for one in points if one.label == label]
    return Question(tuple(prompts), label)


def _box(region: Region, size_hw: SizeHW) -> Asked:
    if region.box is None or region.box.clipped(size_hw).area_px <= 0:
        raise BadFormat(f"rectangle {region.id!r:.60} holds no pixel of the image")
    return Asked(region.id, box=region.box.clipped(size_hw))


def _point(region: Region, task: Task, place: Place, memory: Memory, size_hw: SizeHW) -> Asked:
    height, width = size_hw
    x, y = region.point_xy or (-1.0, -1.0)
    if not (0 <= x <= width and 0 <= y <= height):
        raise BadFormat(f"key point {region.id!r:.60} lies outside the image")
    positive = region.positive
    if positive is None:
        positive = memory.polarity(place, region.id)
    if positive is None:
        positive = _polarity_saved(region.id, task)
    memory.saw(place, region.id, positive)
    return Asked(region.id, point_xy=(min(x, width - 1), min(y, height - 1)), positive=positive)


def _polarity_saved(prompt: str, task: Task) -> bool:
    """As a draft or an annotation tells it; a point of which nobody says anything is positive."""
    for where in ("drafts", "annotations"):
        for saved in task.saved(where):
            for row in saved.result:
                told = row.get("is_positive")
                if row.get("id") == prompt and isinstance(told, bool):
                    return told
    return True
