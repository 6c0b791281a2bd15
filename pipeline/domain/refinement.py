"""A mask on its way: a first answer, or a mask that is there already, corrected click by click.

Each click is asked with the box, all clicks so far and what the segmenter last said. Where a mask was there to begin
with, only that part of the answer is taken which changes under the last click (progressive merge: Chen et al.,
"FocalClick", CVPR 2022): what a person has seen and left alone stays as it is. A mask that began with a click may still
be wrong anywhere, and is answered anew as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.domain.clicks import Click, progressive_merge
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Logits, MaskPrediction, Prompt

__all__ = ["Refinement"]


@dataclass(frozen=True)
class Refinement:
    """Where the correction of one object stands.

    `prior` is what the next question carries: the last answer's logits while the mask is that very answer, else the
    mask itself. `predicted_iou` is the segmenter's, of its last answer; None before there was one. `was_there` says
    that it began with a mask.
    """

    mask: Mask
    box: Box | None = None
    clicks: tuple[Click, ...] = ()
    prior: Logits | Mask | None = None
    predicted_iou: float | None = None
    label: str | None = None
    was_there: bool = False

    @staticmethod
    def of_mask(mask: Mask, label: str | None = None) -> Refinement:
        """From a mask that is there: it becomes prior and box. An empty one says nothing."""
        begun = mask.area_px > 0
        return Refinement(mask, box=mask.box, prior=mask if begun else None, label=label, was_there=begun)

    @staticmethod
    def of_answer(prompt: Prompt, answer: MaskPrediction) -> Refinement:
        """From a first question and what was answered."""
        clicks = tuple(
            Click(int(x), int(y), positive)
            for (x, y), positive in zip(prompt.points_xy, prompt.point_labels, strict=True)
        )
        prior = answer.mask if answer.logits is None else answer.logits
        return Refinement(answer.mask, prompt.box, clicks, prior, answer.predicted_iou, prompt.label)

    def question(self, click: Click) -> Prompt:
        """What to ask after one more click: the box, all clicks, and what stands."""
        clicks = (*self.clicks, click)
        return Prompt(
            box=self.box,
            points_xy=tuple(one.point_xy for one in clicks),
            point_labels=tuple(one.positive for one in clicks),
            prior=self.prior,
            label=self.label,
        )

    def answered(self, click: Click, answer: MaskPrediction, *, progressive: bool | None = None) -> Refinement:
        """Where it stands after the answer to `question(click)`.

        `progressive` None merges where a mask was there to begin with; without it the whole answer is taken.
        """
        mask = answer.mask
        merges = self.was_there if progressive is None else progressive
        if merges and self.mask.area_px:
            merged = progressive_merge(self.mask.bitmap(), answer.mask.bitmap(), click)
            mask = Mask.from_bitmap(np.asarray(merged))
        said = answer.logits if answer.logits is not None and mask == answer.mask else mask
        prior = said if not isinstance(said, Mask) or said.area_px else None
        clicks = (*self.clicks, click)
        return replace(self, mask=mask, clicks=clicks, prior=prior, predicted_iou=answer.predicted_iou)
