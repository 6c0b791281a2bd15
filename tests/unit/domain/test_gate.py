"""Who takes the champion's place: every way a decision can go, and the words for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pipeline.domain.bootstrap import Compared, Comparison, Estimate
from pipeline.domain.gate import Decision, decide

Gain = tuple[float, float, float] | tuple[float, None, None]
"""A difference, and its interval."""


def compared(gain: Gain, *, champion: float = 0.5, units: int = 20) -> Compared:
    value, low, high = gain
    return Compared(
        instances=3 * units,
        units=units,
        candidate=Estimate(champion + value, None, None),
        champion=Estimate(champion, None, None),
        difference=Estimate(value, low, high),
        p=0.01,
    )


def comparison(
    whole: Compared | None, classes: Mapping[str, Compared] | None = None, *, images: int = 20, units: int = 20
) -> Comparison:
    return Comparison("mask", images, units, 1000, 0.95, whole, classes or {}, {})


def decided(whole: Compared | None, classes: Mapping[str, Compared] | None = None, **more: Any) -> Decision:
    return decide(comparison(whole, classes), **{"found": (9, 9), **more})


REAL: Gain = (0.1, 0.02, 0.18)
CHANCE: Gain = (0.1, -0.02, 0.22)
LOSS: Gain = (-0.1, -0.18, -0.02)


@pytest.mark.parametrize(
    ("gain", "min_gain", "promoted", "told"),
    [
        (REAL, 0.0, True, "mask mAP50-95 rises from 0.500 to 0.600 (by +0.100, 95 % interval +0.020 to +0.180"),
        (CHANCE, 0.0, False, "that may be chance; more labelled held-out images would narrow the interval"),
        (LOSS, 0.0, False, "mask mAP50-95 falls from 0.500 to 0.400 (by -0.100"),
        ((0.0, 0.0, 0.0), 0.0, False, "mask mAP50-95 stays at 0.500"),
        (REAL, 0.01, True, "more than 0.01 beyond doubt"),
        (REAL, 0.05, False, "that may be chance"),
        (REAL, 0.15, False, "no gain, and must gain more than 0.15"),
        (CHANCE, -0.05, True, "a loss of more than 0.05 is ruled out"),
        ((-0.01, -0.03, 0.01), -0.05, True, "a loss of more than 0.05 is ruled out"),
        ((-0.01, -0.06, 0.04), -0.05, False, "that may be chance"),
    ],
)
def test_the_interval_decides(gain: Gain, min_gain: float, promoted: bool, told: str) -> None:
    decision = decided(compared(gain), min_gain=min_gain)
    assert decision.promoted is promoted
    assert told in decision.reason


@pytest.mark.parametrize(
    ("gain", "tolerance", "promoted"),
    [
        (LOSS, {"coin": 0.05}, False),
        (LOSS, {"coin": 0.15}, True),
        (LOSS, {"leaf": 0.05}, True),
        (LOSS, {}, True),
        ((-0.1, -0.3, 0.1), {"coin": 0.05}, True),
        ((-0.1, None, None), {"coin": 0.05}, True),
        ((0.1, 0.05, 0.15), {"coin": 0.0}, True),
    ],
)
def test_no_class_may_lose_more_than_its_tolerance(
    gain: Gain, tolerance: Mapping[str, float], promoted: bool
) -> None:
    decision = decided(compared(REAL), {"coin": compared(gain, units=12)}, tolerance=tolerance)
    assert decision.promoted is promoted
    assert ("class coin loses 0.100" in decision.reason) is not promoted
    assert len(decision.reasons) == (1 if promoted else 2), "the gain is told all the same"


@pytest.mark.parametrize(
    ("whole", "found", "told"),
    [
        (
            compared((-0.4, -0.5, -0.3)),
            (9, 9),
            "collapsed: mask mAP50-95 falls from 0.500 to 0.100, less than half",
        ),
        (compared((-0.5, -0.5, -0.5)), (0, 9), "collapsed: it finds nothing at all in 20 held-out images"),
        (None, (0, 9), "collapsed: it finds nothing"),
    ],
)
def test_a_collapsed_model_never_takes_over(whole: Compared | None, found: tuple[int, int], told: str) -> None:
    decision = decided(whole, found=found, min_gain=-1.0)
    assert not decision.promoted
    assert decision.reason.startswith(told)


def test_without_any_truth_the_newest_takes_over() -> None:
    for found in ((9, 9), (0, 0), (9, 0)):
        decision = decided(None, found=found)
        assert decision.promoted
        assert "no held-out image has labels" in decision.reason


def test_too_few_images_keep_the_champion_and_say_what_to_do() -> None:
    decision = decided(compared((0.4, None, None), units=3))
    assert not decision.promoted
    assert "only 3 held-out images show anything" in decision.reason
    assert "promote by hand" in decision.reason


def test_groups_are_told() -> None:
    found = decide(comparison(compared(REAL, units=7), images=20, units=7), found=(1, 1))
    assert "20 held-out images in 7 groups" in found.reason
