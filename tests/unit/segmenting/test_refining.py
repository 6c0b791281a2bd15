"""Correcting a mask click by click: only what the click asked for changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.domain.clicks import Click
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, MaskPrediction, Prompt
from pipeline.domain.refinement import Refinement
from pipeline.segmenting.refining import begun, refined
from tests.fakes.brush import BrushSegmenter

SIZE = (30, 40)
ENCODING = Encoding({}, SIZE, "brush")
START = Mask.from_box(Box(5, 5, 15, 15), SIZE)
LOGITS = np.full((4, 4), 2.0, dtype=np.float32)


class Restless(BrushSegmenter):
    """Paints what was asked, and something else far away besides; answers with logits."""

    def decode(self, encoding: Encoding, prompts: Sequence[Prompt], **_: object) -> list[list[MaskPrediction]]:
        [[answer]] = super().decode(encoding, prompts)
        bitmap = answer.mask.bitmap().copy()
        bitmap[25:28, 30:36] = True
        return [[MaskPrediction(Mask.from_bitmap(bitmap), 0.8, 0.9, LOGITS)]]


def test_only_the_part_under_the_click_changes() -> None:
    segmenter = Restless(radius=3.0)
    before = Refinement.of_mask(START, "coin")
    assert (before.box, before.prior) == (Box(5, 5, 15, 15), START)
    after = refined(segmenter, ENCODING, before, Click(20, 10, positive=True))
    assert after.mask.bitmap()[10, 20]
    assert not after.mask.bitmap()[25:28, 30:36].any()
    assert after.prior == after.mask, "the logits are of another mask"
    assert after.predicted_iou == 0.8
    whole = refined(segmenter, ENCODING, before, Click(20, 10, positive=True), progressive=False)
    assert whole.mask.bitmap()[25:28, 30:36].all()
    assert whole.prior is LOGITS


def test_each_click_carries_all_before_it() -> None:
    segmenter = BrushSegmenter(radius=3.0)
    state = Refinement.of_mask(START, "coin")
    for click in (Click(20, 10, positive=True), Click(6, 6, positive=False)):
        state = refined(segmenter, ENCODING, state, click)
    assert segmenter.prompts[-1].points_xy == ((20.5, 10.5), (6.5, 6.5))
    assert segmenter.prompts[-1].point_labels == (True, False)
    assert (segmenter.prompts[-1].box, segmenter.prompts[-1].label) == (Box(5, 5, 15, 15), "coin")
    assert state.mask.bitmap()[10, 20]
    assert not state.mask.bitmap()[6, 6]


def test_a_first_question_and_an_empty_mask_are_beginnings_too() -> None:
    segmenter = Restless(radius=2.0)
    state = begun(segmenter, ENCODING, Prompt(points_xy=((8.5, 9.5),), point_labels=(True,)))
    assert state.clicks == (Click(8, 9, positive=True),)
    assert state.prior is LOGITS
    nothing = Refinement.of_mask(Mask.empty(SIZE))
    assert (nothing.prior, nothing.box) == (None, None)
    first = refined(segmenter, ENCODING, nothing, Click(8, 9, positive=True))
    assert first.mask.bitmap()[9, 8]
