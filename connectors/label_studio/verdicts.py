"""What came back in one annotation against what was shown: the objects with their states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce

from connectors import verdicts as shared
from connectors.label_studio.convert import Region, instance_id
from connectors.verdicts import Outline
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Origin, State

__all__ = ["verdicts"]


def verdicts(
    shown: Sequence[Instance],
    regions: Sequence[Region],
    origin: Origin,
    *,
    task: str,
    clicks: Callable[[str, Mask], int] = lambda *_: 0,
) -> tuple[Instance, ...]:
    """Every shown instance, accepted, edited or rejected, then what was drawn; see `connectors.verdicts`.

    Only brushes and polygons speak: key points and rectangles are prompts that somebody left behind. Several regions
    of one object are one mask. A machine's mask that was shown as polygons and came back as these polygons is the
    mask that it was. An instance that was not shown, because it has no mask, is rejected unless it was drawn.
    `clicks` tells, by region and mask, how many it took to make what was edited or drawn.
    """
    known = {instance.id: instance for instance in shown}
    parts: dict[tuple[str, str], list[Region]] = {}
    for region in regions:
        if region.mask is not None and region.mask.area_px:
            parts.setdefault((instance_id(region.id), region.label), []).append(region)
    outlines, took = [], dict[tuple[str, Mask], int]()
    for (name, label), own in parts.items():
        mask = reduce(Mask.union, [region.mask for region in own if region.mask is not None])
        instance = known.get(name)
        if instance is not None and instance.mask is not None and own[0].kind == "polygon":
            mask = _as_it_was(mask, instance.mask)
        if mask.box is not None:
            took[label, mask] = clicks(name, mask)
            outlines.append(Outline(name if name in known else None, label, mask, mask.box))
    judged = shared.verdicts(shown, outlines, origin, annotator="label_studio", task=task)
    return tuple(_counted(instance, took) for instance in judged)


def _counted(instance: Instance, took: Mapping[tuple[str, Mask], int]) -> Instance:
    """With its clicks, if the mask is of the person's making."""
    if instance.state not in (State.EDITED, State.DRAWN) or instance.mask is None:
        return instance
    return replace(instance, clicks=took.get((instance.label, instance.mask), 0))


def _as_it_was(mask: Mask, before: Mask) -> Mask:
    return before if mask == Mask.from_polygons(before.polygons(), before.size_hw) else mask
