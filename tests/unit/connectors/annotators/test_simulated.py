from __future__ import annotations

from pathlib import Path

import pytest

from connectors.annotators import simulated
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Origin, OriginKind
from pipeline.errors import DataError, ShapeMismatch
from tests.fakes.brush import BrushSegmenter
from tests.fakes.people import NOW, SIZE_HW, answers_of, proposed, resources, sample, task, true

TRUTH = {name: [true(f"t{name}", (10, 10, 30, 30), "star")] for name in "abcdef"}
ITEMS = [task([proposed(f"m{name}", (14, 10, 34, 30))], name) for name in "abcdef"]


def test_an_annotation_is_signed_simulated(tmp_path: Path) -> None:
    annotator = simulated.build(simulated.Settings(), resources(tmp_path, TRUTH))
    annotator.submit(ITEMS[:1])
    (answer,) = answers_of(annotator)
    annotation = answer.annotation
    assert annotation.origin == Origin(OriginKind.HUMAN, "simulated")
    assert (annotation.revision, annotation.created_at, annotation.size_hw) == (0, NOW, SIZE_HW)
    assert {item.origin for item in annotation.instances} == {annotation.origin}


def test_the_order_of_submission_does_not_change_what_is_said(tmp_path: Path) -> None:
    """Randomness hangs on seed, sample and round, not on what was answered before."""
    settings = simulated.Settings(error_rate=0.5, laziness=0.5)
    said = []
    for number, items in enumerate([ITEMS, ITEMS[::-1]]):
        annotator = simulated.build(settings, resources(tmp_path / str(number), TRUTH))
        annotator.submit(items)
        said.append({answer.annotation.sample_id: answer.annotation for answer in answers_of(annotator)})
    assert said[0] == said[1]


def test_another_seed_is_another_person(tmp_path: Path) -> None:
    said = []
    for seed in (0, 1):
        lent = resources(tmp_path / str(seed), TRUTH, seed=seed)
        annotator = simulated.build(simulated.Settings(error_rate=0.5), lent)
        annotator.submit(ITEMS)
        said.append([answer.annotation.instances for answer in answers_of(annotator)])
    assert said[0] != said[1]


def test_answers_are_worked_out_one_at_a_time_and_each_image_is_encoded_once(tmp_path: Path) -> None:
    segmenter = BrushSegmenter(radius=2.0)
    annotator = simulated.build(simulated.Settings(), resources(tmp_path, TRUTH, lambda: segmenter))
    annotator.submit(ITEMS)
    answers = answers_of(annotator)
    for answered in (1, 2, 3):
        next(answers)
        assert segmenter.encoded == answered
    assert len(segmenter.prompts) > 3


def test_a_sample_of_unknown_truth_is_refused_when_submitted(tmp_path: Path) -> None:
    annotator = simulated.build(simulated.Settings(), resources(tmp_path, {}))
    with pytest.raises(DataError, match="needs truth") as caught:
        annotator.submit(ITEMS[:1])
    assert caught.value.sample_id == sample("a").id
    assert list(answers_of(annotator)) == []


def test_truth_of_another_size_is_refused_when_submitted(tmp_path: Path) -> None:
    stranger = true("t", (1, 1, 5, 5))
    stranger = type(stranger)(
        "t", "ring", stranger.box, Mask.from_box(Box(1, 1, 5, 5), (9, 9)), stranger.origin, stranger.state
    )
    annotator = simulated.build(simulated.Settings(), resources(tmp_path, {"a": [stranger]}))
    with pytest.raises(ShapeMismatch, match="truth t"):
        annotator.submit(ITEMS[:1])
