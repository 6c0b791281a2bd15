from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from connectors.detectors import ground_truth
from connectors.trainers import dry_run
from pipeline.domain.average_precision import ApAccumulator
from pipeline.domain.mask import Mask
from pipeline.domain.metrics import Metrics
from pipeline.domain.prompts import Proposal
from pipeline.domain.records import Instance, Origin, OriginKind, State
from pipeline.domain.rounds import ModelRef
from pipeline.errors import DataError, WeightsUnavailable
from pipeline.ports import Resources

CLASSES = ("disc", "square", "rare")
SIZE_HW = (96, 128)
SAMPLES = [f"sample {number}" for number in range(40)]


def truth(sample_id: str) -> tuple[Instance, ...] | None:
    """Four discs and squares a sample, placed by its name."""
    if sample_id not in SAMPLES:
        return None
    rng = np.random.default_rng(SAMPLES.index(sample_id))
    rows, columns = np.ogrid[: SIZE_HW[0], : SIZE_HW[1]]
    found = []
    for number in range(4):
        y, x, radius = rng.uniform(20, 76), rng.uniform(20, 108), rng.uniform(6, 18)
        mask = Mask.from_bitmap((columns - x) ** 2 + (rows - y) ** 2 <= radius**2)
        assert mask.box is not None
        label = CLASSES[int(rng.integers(len(CLASSES)))]
        origin = Origin(OriginKind.IMPORTED, "truth")
        found.append(Instance(f"{sample_id}/{number}", label, mask.box, mask, origin, State.ACCEPTED))
    return tuple(found)


def resources(seed: int = 0) -> Resources:
    def unused(*_: object) -> NoReturn:
        raise NotImplementedError("the detector needs truth alone")

    return Resources(
        CLASSES, seed, Path(), unused, unused, truth, unused, unused, lambda: datetime(2026, 1, 1, tzinfo=UTC)
    )


def answers(skill: float, *, confidence: float = 0.0, seed: int = 0) -> list[list[Proposal]]:
    detector = ground_truth.build(ground_truth.Settings(skill=skill), resources(seed), confidence=confidence)
    return detector.propose([np.zeros((*SIZE_HW, 3), dtype=np.uint8)] * len(SAMPLES), SAMPLES)


def measured(skill: float) -> Metrics:
    accumulator = ApAccumulator(CLASSES)
    for sample_id, proposals in zip(SAMPLES, answers(skill), strict=True):
        accumulator.add(sample_id, SIZE_HW, truth(sample_id) or (), proposals)
    return accumulator.metrics()


def test_a_more_skilful_one_is_better() -> None:
    figures = [measured(skill) for skill in (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)]
    for name in ("box_map50", "box_map50_95", "mask_map50", "mask_map50_95"):
        values = [getattr(figure, name) for figure in figures]
        assert values == sorted(values), name
        assert values[0] < 0.3, "without skill, much is wrong"
        assert values[-1] == pytest.approx(1.0), "with all skill, nothing is"


def test_all_skill_is_the_truth() -> None:
    for sample_id, proposals in zip(SAMPLES, answers(1.0), strict=True):
        known = truth(sample_id) or ()
        assert {proposal.mask for proposal in proposals} == {instance.mask for instance in known}
        assert all(proposal.confidence > 0.9 for proposal in proposals)


def test_confidence_follows_quality() -> None:
    confidences, qualities = [], []
    for sample_id, proposals in zip(SAMPLES, answers(0.4), strict=True):
        for proposal in proposals:
            same = [item for item in truth(sample_id) or () if item.label == proposal.label]
            confidences.append(proposal.confidence)
            qualities.append(max((item.box.iou(proposal.box) for item in same), default=0.0))
    assert np.corrcoef(confidences, qualities)[0, 1] > 0.5


def test_a_wrong_label_leaves_the_true_class_close() -> None:
    wrong = 0
    for sample_id, proposals in zip(SAMPLES, answers(0.3), strict=True):
        for proposal in proposals:
            assert proposal.class_probs is not None
            near = [item for item in truth(sample_id) or () if item.box.iou(proposal.box) > 0.5]
            if near and all(item.label != proposal.label for item in near):
                wrong += 1
                rivals = [proposal.class_probs[CLASSES.index(item.label)] for item in near]
                assert max(rivals) >= 0.8 * proposal.confidence
    assert wrong > 5, "with fewer, this shows little"


def test_the_draws_belong_to_the_seed() -> None:
    assert answers(0.5, seed=1) == answers(0.5, seed=1)
    assert answers(0.5, seed=1) != answers(0.5, seed=2)


def test_a_sample_without_truth() -> None:
    detector = ground_truth.build(ground_truth.Settings(), resources())
    with pytest.raises(DataError, match="truth") as caught:
        detector.propose([np.zeros((*SIZE_HW, 3), dtype=np.uint8)], ["unknown"])
    assert caught.value.sample_id == "unknown"


@pytest.fixture
def model(tmp_path: Path) -> ModelRef:
    dataset = tmp_path / "version"
    (dataset / "labels" / "train").mkdir(parents=True)
    (dataset / "labels" / "train" / "a.txt").write_text("0 .1 .1 .2 .2 .3 .1\n" * 40)
    (dataset / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [disc, square, rare]\n")
    trainer = dry_run.build(dry_run.Settings(best_skill=0.9, halfway=40), resources())
    return trainer.train(dataset, None, work=tmp_path / "work", seed=0, on_epoch=lambda _: None)


def test_a_trained_model_brings_its_skill(model: ModelRef) -> None:
    detector = ground_truth.build(ground_truth.Settings(skill=0.0), resources(), model=model, confidence=0.0)
    images = [np.zeros((*SIZE_HW, 3), dtype=np.uint8)] * len(SAMPLES)
    assert detector.propose(images, SAMPLES) == answers(0.45)


def test_a_model_that_was_changed(model: ModelRef) -> None:
    model.weights.write_text(model.weights.read_text().replace('"skill": 0.45', '"skill": 0.99'))
    with pytest.raises(WeightsUnavailable, match="SHA-256"):
        ground_truth.build(ground_truth.Settings(), resources(), model=model)


def test_a_model_of_another_trainer(model: ModelRef) -> None:
    model.weights.write_text('{"weights": [1, 2, 3]}')
    with pytest.raises(WeightsUnavailable, match="dry_run"):
        ground_truth.build(ground_truth.Settings(), resources(), model=model)
