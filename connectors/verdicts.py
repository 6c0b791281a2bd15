"""What an answer says about each object that was shown, and which objects it adds: for every annotator alike."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Before, Instance, Origin, State

__all__ = ["Outline", "verdicts"]


@dataclass(frozen=True)
class Outline:
    """One object of an answer. `of` is the shown instance that the answer says it is; None: a new one."""

    of: str | None
    label: str
    mask: Mask
    box: Box


def verdicts(
    shown: Sequence[Instance], outlines: Sequence[Outline], origin: Origin, *, annotator: str, task: str
) -> tuple[Instance, ...]:
    """Every shown instance in its order, accepted, edited or rejected; then those that were drawn.

    An outline is the shown instance that it claims to be; where several claim the same one (copies of an
    object keep its attributes), the unchanged one has it, else the first. An outline that claims nothing but
    equals a shown instance is that instance: some tools drop ids. What is left was drawn; its id hangs on the
    annotator, the task and the content.
    """
    known = {instance.id: instance for instance in shown}
    kept: dict[str, Outline] = {}
    free = list(outlines)
    for changed_too in (False, True):
        for outline in list(free):
            of = outline.of
            if of is not None and of not in kept and (changed_too or _unchanged(outline, known[of])):
                kept[of] = outline
                free.remove(outline)
    for outline in list(free):
        same = next((key for key in known if key not in kept and _unchanged(outline, known[key])), None)
        if same is not None:
            kept[same] = outline
            free.remove(outline)
    judged = [_judged(instance, kept.get(instance.id), origin) for instance in shown]
    drawn = _drawn(free, list(kept.values()), origin, annotator=annotator, task=task)
    return (*judged, *drawn)


def _unchanged(outline: Outline, shown: Instance) -> bool:
    return outline.label == shown.label and outline.mask == shown.mask


def _judged(shown: Instance, outline: Outline | None, origin: Origin) -> Instance:
    # What it took somebody else to make it, if it is a person's, is on their account.
    shown = replace(shown, before=Before(shown.origin, shown.label, shown.mask), clicks=0)
    if outline is None:
        return replace(shown, origin=origin, state=State.REJECTED)
    if _unchanged(outline, shown):
        return replace(shown, origin=origin, state=State.ACCEPTED)
    edited = replace(shown, label=outline.label, origin=origin, state=State.EDITED)
    if outline.mask == shown.mask:
        return edited
    # Scores of the old mask do not describe the new one.
    return replace(edited, mask=outline.mask, box=outline.box, predicted_iou=None, stability=None)


def _drawn(
    outlines: Sequence[Outline], kept: Sequence[Outline], origin: Origin, *, annotator: str, task: str
) -> list[Instance]:
    """New instances, less those that only repeat another one."""
    known = {(outline.label, outline.mask) for outline in kept}
    drawn: dict[str, Instance] = {}
    for outline in outlines:
        if (outline.label, outline.mask) not in known:
            content = f"{task}\n{outline.label}\n{outline.mask.counts.decode()}"
            key = f"{annotator}-{hashlib.sha256(content.encode()).hexdigest()[:24]}"
            drawn[key] = Instance(key, outline.label, outline.box, outline.mask, origin, State.DRAWN)
    return list(drawn.values())
