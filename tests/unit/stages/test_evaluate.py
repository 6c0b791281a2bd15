from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.metrics import Metrics
from pipeline.domain.prompts import Proposal
from pipeline.domain.records import Instance, Origin, OriginKind, Sample, State
from pipeline.stages.evaluate import EvaluateSettings, better, evaluate

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
    metrics = evaluate(answers, truth, CLASSES)
    assert (metrics.images, metrics.instances) == (3, 2)
    assert metrics.mask_map50 == pytest.approx(51 / 101), "recall 1/2: 51 of COCO's 101 recall steps"
    assert metrics.per_class["star"].mask_map50 is None


def test_a_false_alarm_in_a_negative_image_costs() -> None:
    quiet = evaluate([(sample("a"), [RIGHT]), (sample("empty"), [])], truth, CLASSES)
    noisy = evaluate([(sample("empty"), [LOUD]), (sample("a"), [LOUD])], truth, CLASSES)
    assert (quiet.box_map50, noisy.box_map50) == (1.0, 0.5)


def figures(box: float | None, mask: float | None) -> Metrics:
    return Metrics(10, 20, box, box, mask, mask, {})


@pytest.mark.parametrize(
    ("candidate", "champion", "min_gain", "wins"),
    [
        (figures(0.5, 0.4), figures(0.5, 0.3), 0.0, True),
        (figures(0.9, 0.3), figures(0.5, 0.4), 0.0, False),
        (figures(0.5, 0.4), figures(0.5, 0.4), 0.0, False),
        (figures(0.5, 0.45), figures(0.5, 0.4), 0.1, False),
        (figures(0.5, 0.55), figures(0.5, 0.4), 0.1, True),
        (figures(0.6, None), figures(0.5, None), 0.0, True),
        (figures(0.4, None), figures(0.5, None), 0.0, False),
        (figures(0.1, 0.0), None, 0.0, True),
        (figures(None, None), None, 0.0, False),
        (figures(None, None), figures(0.1, 0.1), 0.0, False),
        (figures(0.1, 0.0), figures(None, None), 0.0, True),
    ],
)
def test_better(candidate: Metrics, champion: Metrics | None, min_gain: float, wins: bool) -> None:
    assert better(candidate, champion, EvaluateSettings(min_gain=min_gain)) is wins


def test_boxes_decide_by_choice() -> None:
    settings = EvaluateSettings(by="box")
    assert better(figures(0.6, 0.1), figures(0.5, 0.4), settings)
    assert not better(figures(0.5, 0.9), figures(0.5, 0.4), settings)


def test_without_any_truth_the_newest_takes_over() -> None:
    nobody_knows = Metrics(10, 0, None, None, None, None, {})
    assert better(nobody_knows, nobody_knows, EvaluateSettings())
    assert better(nobody_knows, None, EvaluateSettings())
