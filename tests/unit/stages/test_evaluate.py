from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.domain.gate import Decision
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Proposal
from pipeline.domain.records import Instance, Origin, OriginKind, Sample, State
from pipeline.stages.evaluate import EvaluateSettings, Judgement, evaluate, gate

CLASSES = ("disc", "star")
SIZE = (20, 30)
BOX = Box(2, 3, 12, 13)
DISC = Instance("i", "disc", BOX, Mask.from_box(BOX, SIZE), Origin(OriginKind.HUMAN, "person"), State.DRAWN)


def sample(name: str) -> Sample:
    return Sample(name, Path(name), SIZE, "val", name)


def truth(sample_id: str) -> tuple[Instance, ...]:
    return () if sample_id == "empty" else (DISC,)


RIGHT = Proposal(BOX, "disc", 0.9, mask=Mask.from_box(BOX, SIZE))
LOUD = Proposal(BOX, "disc", 0.95, mask=RIGHT.mask)


def test_measures_every_sample() -> None:
    answers = iter([(sample("a"), [RIGHT]), (sample("b"), []), (sample("empty"), [])])
    metrics = evaluate(answers, truth, CLASSES).metrics
    assert (metrics.images, metrics.instances) == (3, 2)
    assert metrics.mask_map50 == pytest.approx(51 / 101), "recall 1/2: 51 of COCO's 101 recall steps"
    assert metrics.per_class["star"].mask_map50 is None


def test_a_false_alarm_in_a_negative_image_costs() -> None:
    quiet = evaluate([(sample("a"), [RIGHT]), (sample("empty"), [])], truth, CLASSES).metrics
    noisy = evaluate([(sample("empty"), [LOUD]), (sample("a"), [LOUD])], truth, CLASSES).metrics
    assert (quiet.box_map50, noisy.box_map50) == (1.0, 0.5)


def hopeful(count: int, *, finds: bool, mask: bool = True) -> Judgement:
    """A model on `count` images with a disc each: it finds all of them, or none."""
    shown = replace(DISC, mask=DISC.mask if mask else None)
    answers = [(sample(f"{number}"), [RIGHT] if finds else []) for number in range(count)]
    return evaluate(answers, lambda _: (shown,), CLASSES)


def decided(candidate: Judgement, champion: Judgement, **settings: Any) -> Decision:
    groups = {sample_id: sample_id for sample_id in candidate.hits.images}
    return gate(candidate, champion, groups, EvaluateSettings(**settings), np.random.default_rng(0))


def test_a_better_model_is_promoted_and_the_figures_are_told() -> None:
    decision = decided(hopeful(8, finds=True), hopeful(8, finds=False))
    assert decision.promoted
    row = decision.row()
    assert row["whole"]["difference"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert set(row["classes"]) == {"disc"}
    assert json.loads(json.dumps(row)) == row


def test_boxes_decide_where_a_truth_has_no_mask_or_by_choice() -> None:
    bare = decided(hopeful(8, finds=True, mask=False), hopeful(8, finds=False, mask=False))
    assert (bare.promoted, bare.comparison.by) == (True, "box")
    half = replace(RIGHT, mask=Mask.from_box(Box(2, 3, 7, 13), SIZE))
    by_box = evaluate([(sample("a"), [half])], truth, CLASSES, "box")
    by_mask = evaluate([(sample("a"), [half])], truth, CLASSES)
    assert [(row.by, int((row.hits.outcomes[0] == 1).sum())) for row in (by_box, by_mask)] == [
        ("box", 10),
        ("mask", 1),
    ]


def test_frames_of_one_film_are_one_word() -> None:
    sides = hopeful(8, finds=True), hopeful(8, finds=False)
    films = dict.fromkeys(sides[0].hits.images, "one film")
    decision = gate(*sides, films, EvaluateSettings(), np.random.default_rng(0))
    assert (decision.promoted, decision.comparison.units) == (False, 1)


@pytest.mark.parametrize(
    ("tolerance", "wanted"),
    [
        (0.1, {"disc": 0.1, "star": 0.1}),
        ({"star": 0.3}, {"disc": 0.0, "star": 0.3}),
        ({"star": 0.3, "*": 1}, {"disc": 1.0, "star": 0.3}),
    ],
)
def test_tolerance_is_one_for_all_or_by_class(tolerance: Any, wanted: dict[str, float]) -> None:
    assert EvaluateSettings(tolerance=tolerance).tolerances(CLASSES) == wanted


@pytest.mark.parametrize(
    "wrong", [{"tolerance": 2}, {"tolerance": {"disc": -1}}, {"confidence_level": 1}, {"resamples": 5}]
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EvaluateSettings(**wrong)
