"""The values themselves, worked out by hand; what all measures share stands in the contract."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.acquisition import load_measure
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import MaskPrediction, Proposal
from pipeline.domain.rounds import Evidence, Finding
from pipeline.errors import ConfigError, ShapeMismatch

SIZE_HW = (20, 20)
BOX = Box(0, 0, 10, 10)
HALF = Box(0, 0, 10, 5)


def value(
    name: str,
    *,
    confidence: float = 0.5,
    probs: tuple[float, ...] | None = None,
    own: Box | None = None,
    answer: Box | None = None,
    predicted_iou: float = 0.5,
    stability: float = 0.5,
) -> float:
    """One finding's value: `own` is the detector's mask, `answer` the segmenter's, both as filled boxes."""
    detected = Mask.from_box(own, SIZE_HW) if own is not None else None
    prediction = None
    if answer is not None:
        prediction = MaskPrediction(Mask.from_box(answer, SIZE_HW), predicted_iou, stability)
    finding = Finding(Proposal(BOX, "ring", confidence, probs, detected), prediction)
    evidence = Evidence("a" * 64, SIZE_HW, (finding,))
    return float(load_measure(name).measure(evidence, np.random.default_rng(0))[0])


def test_least_confidence() -> None:
    assert value("least_confidence", confidence=0.3) == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("probs", "expected"),
    [
        ((0.9, 0.2, 0.1), 0.3),
        ((0.1, 0.4, 0.4), 1.0),
        ((1.0, 0.0), 0.0),
        ((0.5,), 1.0),
        ((0.9,), 0.2),
        ((0.1,), 0.2),
    ],
)
def test_margin_is_the_lead_of_the_first_over_the_second(probs: tuple[float, ...], expected: float) -> None:
    assert value("margin", probs=probs) == pytest.approx(expected)


def bits(p: float) -> float:
    return -p * math.log2(p) - (1 - p) * math.log2(1 - p)


@pytest.mark.parametrize(
    ("probs", "expected"),
    [
        ((0.5,), 1.0),
        ((0.5, 0.5, 0.5), 1.0),
        ((0.0, 1.0), 0.0),
        ((0.25,), bits(0.25)),
        ((0.9, 0.2, 0.0), (bits(0.9) + bits(0.2)) / 3),
    ],
)
def test_entropy_is_the_mean_of_the_classes_bits(probs: tuple[float, ...], expected: float) -> None:
    assert value("entropy", probs=probs) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["margin", "entropy"])
@pytest.mark.parametrize("probs", [None, ()])
def test_without_class_probabilities_there_is_no_silent_substitute(
    name: str, probs: tuple[float, ...] | None
) -> None:
    with pytest.raises(ConfigError, match="choose another measure"):
        value(name, probs=probs)


def test_predicted_iou() -> None:
    assert value("predicted_iou", answer=BOX, predicted_iou=0.8) == pytest.approx(0.2)
    assert value("predicted_iou", answer=None) == 1.0


def test_mask_stability() -> None:
    assert value("mask_stability", answer=BOX, stability=0.9) == pytest.approx(0.1)
    assert value("mask_stability", answer=None) == 1.0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(BOX, 0.0), (HALF, 0.5), (Box(10, 10, 20, 20), 1.0), (Box(3, 3, 3, 3), 1.0), (None, 1.0)],
)
def test_box_mask_disagreement(answer: Box | None, expected: float) -> None:
    assert value("box_mask_disagreement", answer=answer) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("own", "answer", "expected"),
    [
        (BOX, BOX, 0.0),
        (BOX, HALF, 0.5),
        (BOX, Box(10, 10, 20, 20), 1.0),
        (BOX, None, 1.0),
        (None, BOX, 1.0),
        (None, None, 0.0),
        (Box(3, 3, 3, 3), None, 0.0),
    ],
)
def test_detector_segmenter_disagreement(own: Box | None, answer: Box | None, expected: float) -> None:
    assert value("detector_segmenter_disagreement", own=own, answer=answer) == pytest.approx(expected)


def test_masks_of_different_sizes_are_no_disagreement_but_an_error() -> None:
    proposal = Proposal(BOX, "ring", 0.5, None, Mask.from_box(BOX, (30, 30)))
    finding = Finding(proposal, MaskPrediction(Mask.from_box(BOX, SIZE_HW), 0.5, 0.5))
    with pytest.raises(ShapeMismatch):
        load_measure("detector_segmenter_disagreement").measure(
            Evidence("a" * 64, SIZE_HW, (finding,)), np.random.default_rng(0)
        )


def test_chance_does_not_favour_crowded_images() -> None:
    finding = Finding(Proposal(BOX, "ring", 0.5), None)
    module = load_measure("random")
    lots = {}
    for count in (0, 30):
        evidence = Evidence("a" * 64, SIZE_HW, (finding,) * count)
        lots[count] = module.measure(evidence, np.random.default_rng(4)).tolist()
    assert lots[0] == lots[30]
