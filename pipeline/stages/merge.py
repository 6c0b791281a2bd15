"""merge: everything that was ever said about each image becomes one dataset version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, field_validator

from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.mask import Mask
from pipeline.domain.records import Annotation, Instance, Origin, OriginKind, Sample, State
from pipeline.errors import DataError, ShapeMismatch
from pipeline.events import Emit, silent

__all__ = ["MergeSettings", "merge"]

RANK = {OriginKind.MODEL: 0, OriginKind.IMPORTED: 1, OriginKind.HUMAN: 2}


class MergeSettings(BaseModel):
    """`states` are those that may teach. With "proposed" among them, models teach where no person has spoken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    states: tuple[State, ...] = (State.ACCEPTED, State.EDITED, State.DRAWN)

    @field_validator("states")
    @classmethod
    def _no_rejected(cls, states: tuple[State, ...]) -> tuple[State, ...]:
        if not states:
            raise ValueError("name at least one state, or nothing can be trained on")
        if State.REJECTED in states:
            raise ValueError("a rejected instance is known to be wrong and cannot be trained on")
        return states


def merge(
    samples: Iterable[Sample],
    histories: Iterable[Sequence[Annotation]],
    masks_for_boxes: Callable[[str, str], Mask | None],
    settings: MergeSettings,
    emit: Emit = silent,
    *,
    masks_by: str = "segmenter",
    quarantine: Callable[[DataError], None] | None = None,
) -> list[DatasetEntry]:
    """The version's entries, sorted by sample id, whatever order the revisions came in.

    - One annotation speaks for an image: human beats imported beats model, new beats old within a kind. What was
      withdrawn does not speak.
    - An image that nobody spoke for is not in the version: unlabelled is not negative. An image whose
      speaker, a person or a label file, left no instance is a negative image and is in it. A model that
      found nothing is no witness for that.
    - Rejected instances never enter. If another instance is in a state outside `settings.states`, the image
      is held back whole: it would teach that the object is background.
    - An instance with a box only takes `masks_for_boxes(sample_id, instance_id)`; its origin then names
      `masks_by` too, because nobody has said that this mask is right.

    A sample that cannot enter (a box without a mask, a mask of another size than the image) is given to
    `quarantine` as a DataError with its id and left out; without `quarantine` the first one is raised.
    Tells `merge.done` with `images`, `negatives`, `held_back` and `quarantined`.
    """
    speakers = _speakers(histories, settings)
    entries: list[DatasetEntry] = []
    held_back = quarantined = 0
    for sample in sorted(samples, key=lambda sample: sample.id):
        annotation = speakers.get(sample.id)
        if annotation is None:
            continue
        if any(instance.state not in settings.states for instance in annotation.present):
            held_back += 1
            continue
        try:
            entries.append(_entry(sample, annotation, masks_for_boxes, masks_by))
        except DataError as problem:
            if quarantine is None:
                raise
            quarantine(problem)
            quarantined += 1
    negatives = sum(not entry.instances for entry in entries)
    emit("merge.done", images=len(entries), negatives=negatives, held_back=held_back, quarantined=quarantined)
    return entries


def _speakers(histories: Iterable[Sequence[Annotation]], settings: MergeSettings) -> dict[str, Annotation]:
    """Sample id -> the annotation that speaks for it."""
    speakers: dict[str, Annotation] = {}
    for history in histories:
        for annotation in history:
            if not _may_speak(annotation, settings):
                continue
            rival = speakers.get(annotation.sample_id)
            if rival is None or _weight(annotation) > _weight(rival):
                speakers[annotation.sample_id] = annotation
            elif _weight(annotation) == _weight(rival) and annotation != rival:
                raise DataError(
                    f"two different annotations are both revision {annotation.revision}",
                    sample_id=annotation.sample_id,
                )
    return speakers


def _may_speak(annotation: Annotation, settings: MergeSettings) -> bool:
    if annotation.withdrawn:
        return False
    if annotation.origin.kind is not OriginKind.MODEL:
        return True
    return State.PROPOSED in settings.states and bool(annotation.present)


def _weight(annotation: Annotation) -> tuple[int, int]:
    return RANK[annotation.origin.kind], annotation.revision


def _entry(
    sample: Sample,
    annotation: Annotation,
    masks_for_boxes: Callable[[str, str], Mask | None],
    masks_by: str,
) -> DatasetEntry:
    instances = [_masked(sample, instance, masks_for_boxes, masks_by) for instance in annotation.present]
    return DatasetEntry(
        sample_id=sample.id,
        size_hw=sample.size_hw,
        split=sample.split,
        group=sample.group,
        revision=annotation.revision,
        instances=tuple(sorted(instances, key=lambda instance: instance.id)),
    )


def _masked(
    sample: Sample, instance: Instance, masks_for_boxes: Callable[[str, str], Mask | None], masks_by: str
) -> Instance:
    mask = instance.mask if instance.mask is not None else masks_for_boxes(sample.id, instance.id)
    if mask is None or mask.area_px == 0:
        raise DataError(
            f"instance {instance.id} ({instance.label}) has no mask: its box alone cannot teach a segmenter; "
            "draw the mask, reject the instance, or let another segmenter try",
            sample_id=sample.id,
        )
    if mask.size_hw != sample.size_hw:
        raise ShapeMismatch(
            f"the mask of instance {instance.id} is {mask.size_hw}, the image is {sample.size_hw}",
            sample_id=sample.id,
        )
    if instance.mask is not None:
        return instance
    origin = Origin(instance.origin.kind, f"{instance.origin.name} + {masks_by}")
    return replace(instance, mask=mask, origin=origin)
