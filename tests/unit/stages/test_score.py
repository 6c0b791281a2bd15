from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import MaskPrediction, Proposal
from pipeline.domain.rounds import Evidence, Finding
from pipeline.errors import DataError, ShapeMismatch
from pipeline.stages import score as stage
from pipeline.stages.score import ScoreSettings, score

SIZE_HW = (20, 20)


def evidence(*confidences: float, predicted_iou: float = 0.75, key: str = "a") -> Evidence:
    box = Box(0, 0, 10, 10)
    answer = MaskPrediction(Mask.from_box(box, SIZE_HW), predicted_iou, 1.0)
    return Evidence(key, SIZE_HW, tuple(Finding(Proposal(box, "ring", value), answer) for value in confidences))


def rng_for(sample_id: str) -> np.random.Generator:
    return np.random.default_rng(list(sample_id.encode()))


def test_the_value_is_the_weighted_mean_of_the_measures() -> None:
    settings = ScoreSettings(measures={"least_confidence": 1.0, "predicted_iou": 3.0})
    (result,) = score([evidence(0.9, 0.4)], settings, rng_for)
    assert result.parts == pytest.approx({"least_confidence": 0.6, "predicted_iou": 0.25})
    assert result.value == pytest.approx((0.6 + 3 * 0.25) / 4)
    assert (result.sample_id, result.instances) == ("a", 2)


@pytest.mark.parametrize(("reduce", "expected"), [("max", 0.8), ("mean", 0.5), ("top3", 0.6)])
def test_findings_are_reduced_as_set(reduce: str, expected: float) -> None:
    settings = ScoreSettings.model_validate({"reduce": reduce})
    (result,) = score([evidence(0.8, 0.6, 0.4, 0.2)], settings, rng_for)
    assert result.value == pytest.approx(expected)


def test_an_image_without_findings_has_the_measures_own_value() -> None:
    settings = ScoreSettings(measures={"least_confidence": 1.0, "predicted_iou": 1.0})
    (result,) = score([evidence()], settings, rng_for)
    assert result.parts == {"least_confidence": 0.5, "predicted_iou": 0.0}
    assert result.instances == 0


def test_chance_hangs_on_the_sample_alone() -> None:
    settings = ScoreSettings(measures={"random": 1.0})
    first = list(score([evidence(key="a"), evidence(key="b")], settings, rng_for))
    turned = list(score([evidence(0.5, key="b"), evidence(0.5, key="a")], settings, rng_for))
    assert [item.value for item in first] == [item.value for item in turned[::-1]]
    assert first[0].value != first[1].value


def test_images_are_scored_only_when_asked_for() -> None:
    def endless() -> Iterator[Evidence]:
        yield evidence(0.5)
        pytest.fail("the second image was read for nothing")

    assert next(score(endless(), ScoreSettings(), rng_for)).instances == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
def test_a_value_that_is_no_uncertainty_is_an_error(bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        EMPTY = 0.0

        def measure(self, evidence: Evidence, rng: np.random.Generator) -> np.ndarray:
            return np.full(len(evidence.findings), bad)

    monkeypatch.setattr(stage, "load_measure", lambda name: Broken())
    settings = ScoreSettings.model_construct(measures={"broken": 1.0}, reduce="max")
    with pytest.raises(DataError, match="broken") as caught:
        list(score([evidence(0.5)], settings, rng_for))
    assert caught.value.sample_id == "a"


def test_a_measure_that_loses_a_finding_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful:
        EMPTY = 0.0

        def measure(self, evidence: Evidence, rng: np.random.Generator) -> np.ndarray:
            return np.zeros(1)

    monkeypatch.setattr(stage, "load_measure", lambda name: Forgetful())
    settings = ScoreSettings.model_construct(measures={"forgetful": 1.0}, reduce="max")
    with pytest.raises(ShapeMismatch, match=r"\(2,\)"):
        list(score([evidence(0.5, 0.5)], settings, rng_for))


def test_a_predicted_iou_over_one_does_not_pass_as_certainty() -> None:
    with pytest.raises(DataError, match="predicted_iou"):
        list(score([evidence(0.5, predicted_iou=1.2)], ScoreSettings(measures={"predicted_iou": 1.0}), rng_for))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"measures": {"entropi": 1.0}}, "did you mean 'entropy'"),
        ({"measures": {}}, "at least 1"),
        ({"measures": {"random": 0.0}}, "greater than 0"),
        ({"measures": {"random": float("nan")}}, "finite"),
        ({"reduce": "median"}, "'max', 'mean' or 'top3'"),
        ({"weights": {}}, "Extra inputs"),
    ],
)
def test_settings_say_what_is_wrong(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ScoreSettings.model_validate(values)
