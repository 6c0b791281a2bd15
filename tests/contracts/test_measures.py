"""What every measure promises. A new file in the folder is tested without an edit here."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.acquisition import load_measure, measures
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import MaskPrediction, Proposal
from pipeline.domain.rounds import Evidence, Finding
from pipeline.errors import UnknownPeer

SIZE_HW = (40, 50)

pytestmark = pytest.mark.parametrize("name", measures())


def evidence(findings: int, seed: int = 0) -> Evidence:
    """Random findings; every third has no mask from the segmenter, every fourth none from the detector."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(findings):
        x, y, width, height = rng.integers(1, 20, 4)
        box = Box(float(x), float(y), float(x + width), float(y + height))
        probs = tuple(float(p) for p in rng.random(3))
        own = None if index % 4 == 3 else Mask.from_box(box, SIZE_HW)
        mask = Mask.from_box(Box(x + 1.0, y, x + width + 2.0, y + height), SIZE_HW)
        prediction = None if index % 3 == 2 else MaskPrediction(mask, float(rng.random()), float(rng.random()))
        made.append(Finding(Proposal(box, "ring", max(probs), probs, own), prediction))
    return Evidence("a" * 64, SIZE_HW, tuple(made))


@pytest.mark.parametrize("findings", [0, 1, 2, 17])
def test_one_finite_value_in_range_for_each_finding_or_one_for_the_image(name: str, findings: int) -> None:
    module = load_measure(name)
    values = module.measure(evidence(findings), np.random.default_rng(0))
    assert values.dtype == np.float64
    assert values.shape == ((findings,) if module.EMPTY is not None else (1,))
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert (values <= 1).all()


def test_an_empty_image_has_a_defined_value(name: str) -> None:
    empty = load_measure(name).EMPTY
    assert empty is None or 0.0 <= empty <= 1.0


def test_the_same_evidence_and_randomness_give_the_same_values(name: str) -> None:
    module = load_measure(name)
    first = module.measure(evidence(9), np.random.default_rng(5))
    again = module.measure(evidence(9), np.random.default_rng(5))
    assert first.tolist() == again.tolist()


def test_turning_the_findings_round_turns_the_values_round(name: str) -> None:
    module, whole = load_measure(name), evidence(8)
    turned = Evidence(whole.sample_id, SIZE_HW, whole.findings[::-1])
    expected = module.measure(whole, np.random.default_rng(0)).tolist()
    assert module.measure(turned, np.random.default_rng(0)).tolist() == expected[::-1]


def test_the_extremes_of_certainty_stay_in_range(name: str) -> None:
    box = Box(1, 1, 9, 9)
    mask = Mask.from_box(box, SIZE_HW)
    for confidence, probs in [(0.0, (0.0, 0.0)), (1.0, (1.0, 0.0)), (1.0, (1.0, 1.0)), (0.5, (0.5,))]:
        for predicted in (0.0, 1.0):
            finding = Finding(
                Proposal(box, "ring", confidence, probs, mask), MaskPrediction(mask, predicted, predicted)
            )
            values = load_measure(name).measure(Evidence("a" * 64, SIZE_HW, (finding,)), np.random.default_rng(0))
            assert 0.0 <= float(values[0]) <= 1.0


def test_it_is_documented_with_its_source(name: str) -> None:
    text = load_measure(name).__doc__ or ""
    assert any(character.isdigit() for character in text), "name the paper and its year"


def test_a_name_nearly_right_is_suggested(name: str) -> None:
    with pytest.raises(UnknownPeer, match=f"did you mean '{name}'"):
        load_measure(name + "x")
