"""What is there to be edited: the regions that a person sees, and which of them a first click means.

A request does not tell which region is selected, nor what the editor shows at the moment. So what a person sees is
taken from the newest draft of theirs, else the newest annotation, else the newest prediction; and from memory, where
that knows better (`_is_newer`), because drafts are saved every five seconds only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from connectors.label_studio.backend.bodies import Saved, Task
from connectors.label_studio.backend.memory import LastAnswer, Session
from connectors.label_studio.convert import instance_id, read_regions
from pipeline.domain.clicks import Click
from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.refinement import Refinement
from pipeline.errors import DataError

__all__ = ["Standing", "around", "changed_by_hand", "containing", "covered", "draft_of", "nearest", "standing"]

_UNSAVED = timedelta(seconds=60)
"""How long an answer may be newer than every draft: an editor that has accepted it saves within five seconds."""
_COVERED = 0.5
_SAME_BOX_IOU = 0.8
_MASKS = {"brushlabels", "polygonlabels"}


@dataclass(frozen=True)
class Standing:
    """A region that is there. `box` is the rectangle it began with, where that is known.

    `saved` says that Label Studio has it; of one that only memory has nobody knows whether it was accepted.
    """

    id: str
    mask: Mask
    box: Box | None = None
    saved: bool = True

    def base(self, label: str) -> Refinement:
        """Where its correction begins. What was not saved may be wrong anywhere: it is answered anew as a whole."""
        begun = Refinement.of_mask(self.mask, label)
        return replace(begun, box=self.box or begun.box, was_there=self.saved)


def standing(
    task: Task, label: str, size_hw: SizeHW, answers: Sequence[LastAnswer], *, first: str, now: datetime
) -> list[Standing]:
    """The regions of a label, as a person sees them when the session of the prompt `first` begins.

    `answers` are what memory has of the task; those of the session itself do not count, so that the same request finds
    the same regions again.
    """
    draft = draft_of(task)
    shown = draft or next(
        (rows[0] for where in ("annotations", "predictions") if (rows := task.saved(where))), None
    )
    found = {} if shown is None else _saved(shown.result, label, size_hw)
    for answer in answers:
        if answer.first == first or answer.label != label or answer.mask.size_hw != size_hw:
            continue
        known = found.get(answer.region)
        if _is_newer(answer, shown, draft, now):
            found[answer.region] = Standing(
                answer.region, answer.mask, answer.box, known is not None or answer.edits
            )
        elif known is not None:
            found[answer.region] = replace(known, box=answer.box)
    return list(found.values())


def changed_by_hand(task: Task, session: Session, label: str, size_hw: SizeHW) -> Mask | None:
    """The mask of the session's region, if the person has changed it since the session's last answer.

    So it is where a newer draft holds it, and as nothing that it was in the session: an accepted answer comes back bit
    by bit.
    """
    draft = draft_of(task)
    if draft is None or draft.at <= session.at:
        return None
    rows = [row for row in draft.result if instance_id(str(row.get("id"))) == session.region]
    found = _saved(rows, label, size_hw).get(session.region)
    known = [session.base, *(step.state.mask for step in session.steps)]
    return found.mask if found is not None and found.mask not in known else None


def draft_of(task: Task) -> Saved | None:
    """The newest draft, if there is any. Label Studio sends those of the person who clicks alone."""
    return next(iter(task.saved("drafts")), None)


def containing(regions: Sequence[Standing], click: Click) -> Standing | None:
    """The smallest region under the click."""
    under = [region for region in regions if _holds(region.mask, click) and not _turned_down(region, click)]
    return min(under, key=lambda region: (region.mask.area_px, region.id), default=None)


def nearest(regions: Sequence[Standing], click: Click) -> Standing | None:
    """The region with the pixel that is nearest to the click."""
    return min(regions, key=lambda region: (_distance(region.mask, click), region.id), default=None)


def covered(regions: Sequence[Standing], answer: Mask, click: Click) -> Standing | None:
    """Of the regions near the click the one whose mask the answer covers most, if that is half of it or more.

    Near is what lies no farther from the click than it is large itself.
    """
    best, most = None, _COVERED
    for region in sorted(regions, key=lambda region: region.id):
        box = region.mask.box
        if box is None or _turned_down(region, click):
            continue
        if _distance(region.mask, click) > max(box.width, box.height):
            continue
        share = region.mask.intersection(answer).area_px / region.mask.area_px
        if share > most or (best is None and share >= most):
            best, most = region, share
    return best


def around(regions: Sequence[Standing], box: Box) -> Standing | None:
    """The region whose own box is all but the one that was drawn."""
    pairs = [(box.iou(region.mask.box), region) for region in regions if region.mask.box is not None]
    overlap, region = max(pairs, key=lambda pair: (pair[0], pair[1].id), default=(0.0, None))
    return region if overlap >= _SAME_BOX_IOU else None


def _saved(rows: Sequence[Mapping[str, Any]], label: str, size_hw: SizeHW) -> dict[str, Standing]:
    """The masks of a label by region; polygons of one object together. A row that cannot be read is not there."""
    masks: dict[str, Mask] = {}
    for row in rows:
        value = row.get("value")
        kind = row.get("type")
        if kind not in _MASKS or not isinstance(value, Mapping) or value.get(str(kind)) != [label]:
            continue
        try:
            found = read_regions([row], size_hw)
        except DataError:
            continue
        for region in found:
            if region.mask is not None and region.mask.area_px:
                name = instance_id(region.id)
                masks[name] = masks[name].union(region.mask) if name in masks else region.mask
    return {name: Standing(name, mask) for name, mask in masks.items()}


def _is_newer(answer: LastAnswer, shown: Saved | None, draft: Saved | None, now: datetime) -> bool:
    """Whether memory knows better than what was saved.

    It does while the draft holds the prompt that the answer was given to: it was saved before the answer was accepted.
    Else its answer must be newer, and so new that an accepted one may still be unsaved. What somebody else was
    answered does not count.
    """
    if draft is not None:
        if None not in {draft.user, answer.author} and str(draft.user) != answer.author:
            return False
        if any(row.get("id") == answer.first for row in draft.result):
            return True
    return (shown is None or answer.at > shown.at) and now - answer.at <= _UNSAVED


def _turned_down(region: Standing, click: Click) -> bool:
    """A positive click where an answer to a click lies already, which nobody has saved: the answer was not accepted,
    and is asked for anew. What a rectangle began may be pending, and is refined."""
    return not region.saved and region.box is None and click.positive and _holds(region.mask, click)


def _holds(mask: Mask, click: Click) -> bool:
    box = mask.box
    if box is None or not (box.x1 <= click.x < box.x2 and box.y1 <= click.y < box.y2):
        return False
    (left, top), crop = mask.crop()
    return bool(crop[click.y - int(top), click.x - int(left)])


def _distance(mask: Mask, click: Click) -> float:
    """From the click to the mask's nearest pixel, in pixels; endless for an empty mask."""
    (left, top), crop = mask.crop()
    ys, xs = np.nonzero(crop)
    if ys.size == 0:
        return float("inf")
    return float(np.hypot(xs + left - click.x, ys + top - click.y).min())
