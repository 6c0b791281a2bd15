from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Mask
from pipeline.domain.metrics import Metrics
from pipeline.domain.prompts import Proposal
from pipeline.domain.records import Instance, Origin, OriginKind, Sample, State
from pipeline.errors import BackendRejected, ImageUnreadable
from pipeline.stages.evaluate import EvaluateSettings, better, evaluate

CLASSES = ("disc", "star")
SIZE = (20, 30)
BOX = Box(2, 3, 12, 13)
DISC = Instance("i", "disc", BOX, Mask.from_box(BOX, SIZE), Origin(OriginKind.HUMAN, "person"), State.DRAWN)


def sample(name: str) -> Sample:
    return Sample(name, Path(name), SIZE, "val", name)


def read_image(asked: Sample) -> Image:
    return np.zeros((*asked.size_hw, 3), dtype=np.uint8)


class Finds:
    """A detector that finds the same in every image but the named empty ones."""

    name = "finds"

    def __init__(self, *proposals: Proposal, empty: Sequence[str] = ()) -> None:
        self.proposals = list(proposals)
        self.empty = empty
        self.batches: list[int] = []

    def propose(self, images: Sequence[Image], sample_ids: Sequence[str]) -> list[list[Proposal]]:
        self.batches.append(len(images))
        return [[] if name in self.empty else self.proposals for name in sample_ids]


def truth(sample_id: str) -> tuple[Instance, ...]:
    return () if sample_id == "empty" else (DISC,)


RIGHT = Proposal(BOX, "disc", 0.9, mask=Mask.from_box(BOX, SIZE))


def test_measures_every_sample_in_batches() -> None:
    told: list[object] = []
    detector = Finds(RIGHT, empty=["b", "empty"])
    metrics = evaluate(
        iter([sample("a"), sample("b"), sample("empty")]),
        read_image,
        detector,
        truth,
        CLASSES,
        settings=EvaluateSettings(batch=2),
        emit=lambda name, /, **data: told.append((name, data)),
    )
    assert (metrics.images, metrics.instances) == (3, 2)
    assert metrics.mask_map50 == pytest.approx(51 / 101), "recall 1/2: 51 of COCO's 101 recall steps"
    assert metrics.per_class["star"].mask_map50 is None
    assert detector.batches == [2, 1]
    assert told == [("evaluate.batch", {"done": 2}), ("evaluate.batch", {"done": 1})]


def test_a_false_alarm_in_a_negative_image_costs() -> None:
    settings = EvaluateSettings()
    names = [sample("a"), sample("empty")]
    quiet = evaluate(names, read_image, Finds(RIGHT, empty=["empty"]), truth, CLASSES, settings=settings)
    loud = Finds(Proposal(BOX, "disc", 0.95, mask=RIGHT.mask))
    swapped = [sample("empty"), sample("a")]
    noisy = evaluate(swapped, read_image, loud, truth, CLASSES, settings=settings)
    assert (quiet.box_map50, noisy.box_map50) == (1.0, 0.5)


def test_the_frozen_split_is_never_shortened_silently() -> None:
    def unreadable(asked: Sample) -> Image:
        raise ImageUnreadable("gone", sample_id=asked.id)

    with pytest.raises(ImageUnreadable):
        evaluate([sample("a")], unreadable, Finds(RIGHT), truth, CLASSES, settings=EvaluateSettings())


def test_a_broken_answer_is_rejected() -> None:
    wrong = Finds(Proposal(BOX, "horse", 0.9))
    with pytest.raises(BackendRejected, match="horse"):
        evaluate([sample("a")], read_image, wrong, truth, CLASSES, settings=EvaluateSettings())


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
