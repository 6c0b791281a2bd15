"""What the played person does and what it costs, with a segmenter whose answers can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from connectors.simulated.person import Answer, Desk, Person
from connectors.simulated.settings import CostModel, Settings
from connectors.simulated.tasks import Task
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, OriginKind, State
from tests.fakes.brush import BrushSegmenter
from tests.fakes.people import CLASSES, SIZE_HW, proposed, sample, true

TRUE_BOX = (10, 10, 30, 30)
SHIFTED = (13, 10, 33, 30)
"""IoU with TRUE_BOX: 340 / 460 = 0.74."""


class Stage:
    """One person at one desk; counts what was read and encoded."""

    def __init__(self, radius: float = 4.0, **settings: Any) -> None:
        self.person = Person(Settings(**settings), CLASSES)
        self.segmenter = BrushSegmenter(radius)
        self.images = 0

    def answer(self, shown: Sequence[Instance], truth: Sequence[Instance], seed: int = 0) -> Answer:
        def image() -> np.ndarray:
            self.images += 1
            return np.zeros((*SIZE_HW, 3), dtype=np.uint8)

        desk = Desk(image, lambda: self.segmenter)
        task = Task(1, "t", sample("a"), tuple(shown), 1)
        return self.person.answer(task, truth, desk, np.random.default_rng(seed))


def test_a_good_mask_is_accepted_as_it_is() -> None:
    stage = Stage()
    shown = proposed("m", TRUE_BOX)
    answer = stage.answer([shown], [true("t", TRUE_BOX)])
    (item,) = answer.instances
    assert (item.id, item.state, item.origin.kind, item.clicks) == ("m", State.ACCEPTED, OriginKind.HUMAN, 0)
    assert item.mask == shown.mask
    assert answer.seconds == 1.6
    assert (stage.images, stage.segmenter.encoded) == (0, 0), "nothing to ask: nothing is read or encoded"


def test_a_false_one_is_rejected() -> None:
    answer = Stage().answer([proposed("m", (50, 40, 60, 50))], [])
    assert [(item.id, item.state, item.clicks) for item in answer.instances] == [("m", State.REJECTED, 0)]
    assert answer.seconds == 1.6


def test_an_empty_image_costs_a_look() -> None:
    assert Stage().answer([], []) == Answer((), 1.6)


def test_a_bad_mask_is_corrected_by_clicks_through_the_segmenter() -> None:
    stage = Stage(radius=2.0, draw_when_stuck=False, max_clicks=20)
    answer = stage.answer([proposed("m", SHIFTED)], [true("t", TRUE_BOX)])
    (item,) = answer.instances
    truth_mask = true("t", TRUE_BOX).mask
    assert item.mask is not None
    assert truth_mask is not None
    assert item.state is State.EDITED
    assert item.mask.iou(truth_mask) >= 0.9
    assert item.mask != truth_mask, "it stays the segmenter's mask"
    assert item.box == item.mask.box
    assert (item.predicted_iou, item.stability) == (None, None)
    assert item.clicks == len(stage.segmenter.prompts) > 1
    assert answer.seconds == pytest.approx(2.4 + 0.9 * (item.clicks - 1))
    assert (stage.images, stage.segmenter.encoded) == (1, 1)


def test_prompts_hold_every_click_at_pixel_centres_and_the_last_mask() -> None:
    stage = Stage(draw_when_stuck=False)
    shown = proposed("m", SHIFTED)
    stage.answer([shown], [true("t", TRUE_BOX)])
    first, second, *_ = stage.segmenter.prompts
    assert first.prior == shown.mask
    assert first.box is None
    assert first.points_xy == ((31.5, 11.5),), "the surplus strip: three wide, its first deepest pixel"
    assert first.point_labels == (False,)
    assert second.points_xy[:1] == first.points_xy
    assert isinstance(second.prior, Mask)
    assert second.prior != shown.mask


def test_a_stuck_person_outlines_the_object_exactly() -> None:
    stage = Stage(radius=0.1, max_clicks=3)
    truth = true("t", TRUE_BOX)
    answer = stage.answer([proposed("m", SHIFTED)], [truth])
    (item,) = answer.instances
    assert (item.id, item.state, item.mask, item.clicks) == ("m", State.DRAWN, truth.mask, 3)
    assert answer.seconds == pytest.approx(2.4 + 2 * 0.9 + 79.2)


def test_a_stuck_person_may_leave_the_best_it_got() -> None:
    stage = Stage(radius=0.1, max_clicks=3, draw_when_stuck=False)
    truth, shown = true("t", TRUE_BOX), proposed("m", SHIFTED)
    (item,) = stage.answer([shown], [truth]).instances
    assert item.state is State.EDITED
    assert item.mask is not None
    assert truth.mask is not None
    assert shown.mask is not None
    assert shown.mask.iou(truth.mask) < item.mask.iou(truth.mask) < 0.9


def test_a_click_that_makes_it_worse_is_taken_back() -> None:
    stage = Stage(radius=200.0, max_clicks=2, draw_when_stuck=False)
    truth, shown = true("t", TRUE_BOX), proposed("m", SHIFTED)
    (item,) = stage.answer([shown], [truth]).instances
    assert item.mask == shown.mask
    assert item.clicks == 2


def test_a_wrong_label_is_one_more_action() -> None:
    answer = Stage().answer([proposed("m", TRUE_BOX, "star")], [true("t", TRUE_BOX, "ring")])
    (item,) = answer.instances
    assert (item.label, item.state, item.clicks) == ("ring", State.EDITED, 1)
    assert answer.seconds == pytest.approx(1.6 + 1.6)


def test_a_missed_object_is_added_by_a_box() -> None:
    stage = Stage()
    truth = true("t", TRUE_BOX, "star")
    answer = stage.answer([], [truth])
    (item,) = answer.instances
    assert item.id.startswith("simulated-")
    assert (item.label, item.state, item.mask, item.clicks) == ("star", State.DRAWN, truth.mask, 2)
    assert answer.seconds == 7.0
    assert [prompt.box for prompt in stage.segmenter.prompts] == [truth.box]


def test_a_box_that_is_not_enough_is_followed_by_clicks() -> None:
    truth = true("t", TRUE_BOX)
    assert truth.mask is not None
    hole = np.zeros(SIZE_HW, dtype=bool)
    hole[16:24, 16:24] = True
    ring = replace(truth, mask=Mask.from_bitmap(truth.mask.bitmap() & ~hole))
    stage = Stage(radius=4.5, draw_when_stuck=False)
    answer = stage.answer([], [ring])
    (item,) = answer.instances
    clicks = item.clicks - 2
    assert clicks >= 1
    assert answer.seconds == pytest.approx(7.0 + 2.4 + 0.9 * (clicks - 1))
    assert stage.segmenter.prompts[1].box == truth.box
    assert stage.segmenter.prompts[1].point_labels == (False,)


def test_an_object_shown_without_a_mask_is_clicked_inside_its_box() -> None:
    stage = Stage(radius=10.0, draw_when_stuck=False)
    (item,) = stage.answer([proposed("m", TRUE_BOX, mask=False)], [true("t", TRUE_BOX)]).instances
    assert (item.id, item.state) == ("m", State.EDITED)
    assert item.mask is not None
    first = stage.segmenter.prompts[0]
    assert (first.prior, first.box) == (None, proposed("m", TRUE_BOX).box)


def test_of_two_for_one_object_the_better_is_kept_and_the_other_rejected() -> None:
    shown = [proposed("worse", SHIFTED), proposed("better", TRUE_BOX)]
    answer = Stage().answer(shown, [true("t", TRUE_BOX)])
    assert [(item.id, item.state) for item in answer.instances] == [
        ("worse", State.REJECTED),
        ("better", State.ACCEPTED),
    ]


def test_of_two_equal_ones_the_rightly_labelled_is_kept() -> None:
    shown = [proposed("wrong", TRUE_BOX, "star"), proposed("right", TRUE_BOX, "ring")]
    answer = Stage().answer(shown, [true("t", TRUE_BOX, "ring")])
    assert [item.state for item in answer.instances] == [State.REJECTED, State.ACCEPTED]


class TestBoxesOnly:
    """Where truth is a box, no mask of it is ever looked at."""

    def test_a_mask_in_a_good_box_is_accepted(self) -> None:
        shown = proposed("m", (10, 10, 30, 29))
        answer = Stage().answer([shown], [true("t", TRUE_BOX, mask=False)])
        (item,) = answer.instances
        assert (item.state, item.mask) == (State.ACCEPTED, shown.mask)

    def test_a_bad_box_is_drawn_again_and_the_segmenter_makes_the_mask(self) -> None:
        stage = Stage()
        answer = stage.answer([proposed("m", (18, 10, 38, 30))], [true("t", TRUE_BOX, mask=False)])
        (item,) = answer.instances
        assert (item.id, item.state, item.clicks) == ("m", State.EDITED, 2)
        assert item.mask == true("t", TRUE_BOX).mask
        assert answer.seconds == 7.0

    def test_a_missed_one_is_drawn(self) -> None:
        answer = Stage().answer([], [true("t", TRUE_BOX, mask=False)])
        (item,) = answer.instances
        assert (item.state, item.mask) == (State.DRAWN, true("t", TRUE_BOX).mask)

    def test_without_an_answer_of_the_segmenter_the_box_alone_remains(self) -> None:
        class Blind(BrushSegmenter):
            def decode(self, encoding: Any, prompts: Any, **_: Any) -> Any:
                answers = super().decode(encoding, prompts)
                return [[replace(answer, mask=Mask.empty(SIZE_HW)) for answer in entry] for entry in answers]

        stage = Stage()
        stage.segmenter = Blind()
        truth = true("t", TRUE_BOX, mask=False)
        (item,) = stage.answer([], [truth]).instances
        assert (item.box, item.mask) == (truth.box, None)


TEN = [true(f"t{index}", (8 * index, 5, 8 * index + 6, 15)) for index in range(10)]


def test_a_person_who_always_errs_never_gives_the_true_label() -> None:
    shown = [proposed(f"m{index}", item.box) for index, item in enumerate(TEN)]
    answer = Stage(error_rate=1.0).answer(shown, TEN)
    assert {item.label for item in answer.instances} == {"star"}


def test_errors_come_as_often_as_set() -> None:
    shown = [proposed(f"m{index}", item.box) for index, item in enumerate(TEN)]
    labels = [
        item.label for seed in range(60) for item in Stage(error_rate=0.3).answer(shown, TEN, seed).instances
    ]
    assert labels.count("star") / len(labels) == pytest.approx(0.3, abs=0.06)


def test_a_lazy_person_accepts_bad_masks_and_adds_nothing() -> None:
    shown = proposed("m", SHIFTED)
    answer = Stage(laziness=1.0).answer([shown], [true("t", TRUE_BOX), true("u", (50, 40, 60, 50))])
    (item,) = answer.instances
    assert (item.state, item.mask) == (State.ACCEPTED, shown.mask)
    assert answer.seconds == 1.6


def test_the_order_of_the_truth_makes_no_difference() -> None:
    first = Stage(laziness=0.5, error_rate=0.5).answer([], TEN, seed=3)
    turned = Stage(laziness=0.5, error_rate=0.5).answer([], TEN[::-1], seed=3)
    assert first == turned
    assert 0 < len(first.instances) < 10


def test_costs_can_be_set() -> None:
    cost = CostModel(verdict_s=1, label_s=2, first_click_s=10, next_click_s=3, box_s=100, polygon_s=1000)
    assert [cost.clicks_s(clicks) for clicks in (0, 1, 2, 4)] == [0, 10, 13, 19]
    answer = Stage(radius=0.1, max_clicks=2, cost=cost).answer(
        [proposed("m", SHIFTED, "star")], [true("t", TRUE_BOX)]
    )
    assert answer.seconds == 13 + 1000 + 2
