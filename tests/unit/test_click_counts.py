"""How clicks are counted: the published protocol, its quirk, and a clean count beside it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks._click_sets import Case, disturbed
from benchmarks.clicks import MOST, clicks_to, iou, summed_up

TRUTH = np.zeros((40, 50), dtype=np.bool_)
TRUTH[10:30, 10:35] = True


def test_the_number_of_clicks_is_that_of_the_first_success_and_twenty_without_one() -> None:
    assert clicks_to([0.5, 0.86, 0.8, 0.95], 0.85) == 2
    assert clicks_to([0.5, 0.6], 0.85) == MOST == 20
    assert clicks_to([], 0.85) == 20


def test_a_success_at_the_very_last_click_is_a_failure_as_published_and_none_cleanly() -> None:
    late, early, never = [0.5] * 19 + [0.91], [0.7, 0.92], [0.3] * 20
    facts = summed_up([late, early, never])
    assert facts["noc90"] == pytest.approx((20 + 2 + 20) / 3)
    assert (facts["nof90"], facts["nof90_clean"]) == (2, 1)
    assert facts["iou1"] == pytest.approx((0.5 + 0.7 + 0.3) / 3)
    assert facts["iou3"] == pytest.approx((0.5 + 0.92 + 0.3) / 3), "who is done keeps the last"


def test_what_is_ignored_counts_neither_way() -> None:
    image = np.zeros((*TRUTH.shape, 3), dtype=np.uint8)
    ignore = np.zeros_like(TRUTH)
    ignore[:, 20:] = True
    half = TRUTH & ~ignore
    assert iou(half, Case(image, TRUTH)) < 0.5
    assert iou(half, Case(image, TRUTH, ignore)) == 1.0
    assert iou(np.zeros_like(TRUTH), Case(image, np.zeros_like(TRUTH))) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_a_disturbed_mask_is_nearly_right_and_always_the_same(seed: int) -> None:
    mask = disturbed(TRUTH, np.random.default_rng(seed))
    assert 0.75 <= (mask & TRUTH).sum() / (mask | TRUTH).sum() <= 0.85
    np.testing.assert_array_equal(mask, disturbed(TRUTH, np.random.default_rng(seed)))
