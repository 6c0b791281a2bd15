"""One row as a FiftyOne sample's fields: labels with masks, and figures to sort and filter by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from connectors.fiftyone.masks import cropped, relative
from connectors.fiftyone.rows import digest_of
from pipeline.domain.geometry import SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, OriginKind, State
from pipeline.ports import ReviewRow

__all__ = ["FIGURES", "ID", "INSTANCE", "LABELS", "ROW", "SAID", "fields_of"]

ID = "maskloop_id"
"""The field of a sample that holds our id."""

ROW = "maskloop_row"
"""The field of a sample that holds the digest of the row that it was made from."""

INSTANCE = "maskloop_id"
"""The attribute of a label that holds our id."""

SAID = "said"
"""The attribute of a label that remembers what it was called when it was put there."""

LABELS = ("proposals", "human", "before", "rejected", "truth")
"""The fields that hold labels: what models say where no person has spoken, what people say, what they started from,
what they threw out, and what a simulation knows. So each object that can be judged is there once."""

FIGURES: Mapping[str, type] = {
    "uncertainty": float,
    "asked_in_round": int,
    "agreement": float,
    "changed": float,
    "worst_round_trip": float,
    "split": str,
    "quarantined": str,
    "held_out_by": str,
}
"""The fields that hold one value each; `changed` is 1 - IoU of the most edited mask before and after."""


def fields_of(row: ReviewRow, fo: Any) -> dict[str, Any]:
    """Every field but the tags, by name; `fo` is the package. A measure's part is `uncertainty_NAME`."""
    spoken = [instance for instance in row.merged if instance.origin.kind is not OriginKind.MODEL]
    by_models = {instance.id: instance for instance in (*row.machine, *row.merged)}
    shown = {
        "proposals": [one for one in by_models.values() if one.origin.kind is OriginKind.MODEL],
        "human": [instance for instance in spoken if instance.state is not State.REJECTED],
        "rejected": [instance for instance in spoken if instance.state is State.REJECTED],
        "truth": row.truth or (),
    }
    labels = {name: _detections(instances, row, fo) for name, instances in shown.items()}
    labels["before"] = _before(shown["human"], row.sample.size_hw, fo)
    return {**labels, **_figures(row, shown["human"])}


def _figures(row: ReviewRow, human: Iterable[Instance]) -> dict[str, Any]:
    doubt = row.uncertainty
    parts = {f"uncertainty_{name}": value for name, value in doubt.parts.items()} if doubt is not None else {}
    return {
        ID: row.sample.id,
        ROW: digest_of(row),
        "uncertainty": doubt.value if doubt is not None else None,
        "asked_in_round": row.round,
        "agreement": row.agreement,
        "changed": max((_changed(instance) for instance in human), default=None),
        "worst_round_trip": min(row.round_trip.values(), default=None),
        "split": row.sample.split,
        "quarantined": row.quarantined or None,
        "held_out_by": ", ".join(row.held_out_by) or None,
        **parts,
    }


def _changed(instance: Instance) -> float:
    """How much of the mask is new: 1 - IoU with the one before; 1 for one that was drawn from nothing."""
    before = instance.before.mask if instance.before is not None else None
    if before is None or instance.mask is None:
        return 1.0 if instance.state is State.DRAWN else 0.0
    return 1.0 - instance.mask.iou(before)


def _detections(instances: Iterable[Instance], row: ReviewRow, fo: Any) -> Any:
    found = []
    for instance in instances:
        facts = {
            INSTANCE: instance.id,
            SAID: instance.label,
            "state": instance.state.value,
            "origin": f"{instance.origin.kind.value} {instance.origin.name}",
            "prompt": instance.origin.prompt or None,
            "round": instance.origin.round,
            "confidence": instance.confidence,
            "predicted_iou": instance.predicted_iou,
            "clicks": instance.clicks,
            "round_trip": row.round_trip.get(instance.id),
        }
        found.append(_detection(instance.label, instance, row.sample.size_hw, facts, fo))
    return fo.Detections(detections=found)


def _detection(label: str, instance: Instance, size_hw: SizeHW, facts: Mapping[str, Any], fo: Any) -> Any:
    known = {name: value for name, value in facts.items() if value is not None}
    place = _place(instance.mask) or {"bounding_box": relative(instance.box, size_hw)}
    return fo.Detection(label=label, **place, **known)


def _place(mask: Mask | None) -> dict[str, Any] | None:
    found = cropped(mask) if mask is not None else None
    return {"bounding_box": found[0], "mask": found[1]} if found is not None else None


def _before(human: Iterable[Instance], size_hw: SizeHW, fo: Any) -> Any:
    """What people started from."""
    found = []
    for instance in human:
        before = instance.before
        if before is not None and before.mask is not None:
            facts = {INSTANCE: instance.id, "origin": f"{before.origin.kind.value} {before.origin.name}"}
            place = _place(before.mask) or {"bounding_box": relative(instance.box, size_hw)}
            found.append(fo.Detection(label=before.label, **place, **facts))
    return fo.Detections(detections=found)
