from __future__ import annotations

from pipeline.domain.matching import match
from tests.fakes.people import proposed, true


def test_the_best_pairs_first_and_each_only_once() -> None:
    shown = [proposed("m0", (10, 10, 30, 30)), proposed("m1", (16, 10, 36, 30))]
    truth = [true("t0", (15, 10, 35, 30)), true("t1", (10, 10, 24, 30))]
    assert match(shown, truth, 0.25) == {0: 1, 1: 0}


def test_nothing_below_the_floor() -> None:
    shown, truth = [proposed("m", (10, 10, 30, 30))], [true("t", (25, 10, 45, 30))]
    assert match(shown, truth, 0.25) == {}
    assert match(shown, truth, 0.1) == {0: 0}


def test_masks_speak_before_boxes() -> None:
    """Same boxes, but the mask of the second fills them better."""
    shown = [proposed("m", (10, 10, 30, 30))]
    truth = [true("half", (10, 10, 30, 20)), true("whole", (10, 10, 30, 30))]
    assert match(shown, truth, 0.25) == {1: 0}


def test_boxes_where_a_side_has_no_mask() -> None:
    assert match([proposed("m", (10, 10, 30, 30), mask=False)], [true("t", (10, 10, 30, 28))], 0.5) == {0: 0}
    assert match([proposed("m", (10, 10, 30, 30))], [true("t", (10, 10, 30, 28), mask=False)], 0.5) == {0: 0}


def test_nothing_to_match() -> None:
    assert match([], [true("t", (1, 1, 5, 5))], 0.25) == {}
    assert match([proposed("m", (1, 1, 5, 5))], [], 0.25) == {}
