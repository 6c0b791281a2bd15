"""What every selector promises. A new file in the folder is tested without an edit here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from pipeline.acquisition import load_selector, selectors
from pipeline.domain.rounds import Budget, Candidate, Uncertainty
from pipeline.errors import UnknownPeer

REQUIRED: dict[str, dict[str, Any]] = {"weighted_sum": {"weights": {"random": 1.0, "margin": 2.0}}}
"""Settings that a selector cannot do without."""

pytestmark = pytest.mark.parametrize("name", selectors())


def settings(name: str) -> BaseModel:
    return load_selector(name).Settings(**REQUIRED.get(name, {}))


def candidates(count: int, seed: int = 0) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        doubt, other = (float(value) for value in rng.random(2))
        uncertainty = Uncertainty(
            f"{index:04d}", doubt, {"random": doubt, "margin": other}, int(rng.integers(0, 6))
        )
        made.append(Candidate(uncertainty.sample_id, uncertainty, rng.normal(size=8).astype(np.float32)))
    return made


def choose(name: str, pool: list[Candidate], budget: Budget, labelled: Any = None) -> list[str]:
    return load_selector(name).select(pool, budget, np.random.default_rng(3), settings(name), labelled)


@pytest.mark.parametrize("amount", [1, 7, 40, 1000])
def test_images_are_chosen_up_to_the_budget_without_repeats(name: str, amount: int) -> None:
    chosen = choose(name, candidates(40), Budget("images", amount))
    assert len(chosen) == len(set(chosen)) == min(amount, 40)
    assert set(chosen) <= {candidate.sample_id for candidate in candidates(40)}


@pytest.mark.parametrize("amount", [1, 9, 30])
def test_instances_stay_within_the_budget_and_stop_at_the_first_that_exceeds(name: str, amount: int) -> None:
    cost = {item.sample_id: max(1, item.uncertainty.instances) for item in candidates(40)}
    ranked = choose(name, candidates(40), Budget("images", 40))
    chosen = choose(name, candidates(40), Budget("instances", amount))
    assert chosen == ranked[: len(chosen)]
    assert len(chosen) == 1 or sum(cost[key] for key in chosen) <= amount
    assert sum(cost[key] for key in ranked[: len(chosen) + 1]) > amount


def test_one_image_is_asked_even_if_it_exceeds_the_budget(name: str) -> None:
    crowded = Candidate("a", Uncertainty("a", 0.5, {"random": 0.5, "margin": 0.5}, 500), np.ones(8, np.float32))
    assert choose(name, [crowded], Budget("instances", 3)) == ["a"]


def test_no_candidates_no_choice(name: str) -> None:
    assert choose(name, [], Budget("images", 5)) == []


def test_the_order_of_the_candidates_makes_no_difference(name: str) -> None:
    pool = candidates(30)
    expected = choose(name, pool, Budget("images", 10))
    shuffled = [pool[index] for index in np.random.default_rng(8).permutation(30)]
    assert choose(name, shuffled, Budget("images", 10)) == expected


def test_equals_are_ranked_by_sample_id(name: str) -> None:
    same = np.ones(8, dtype=np.float32)
    parts = {"random": 0.5, "margin": 0.5}
    pool = [Candidate(key, Uncertainty(key, 0.5, parts, 1), same) for key in ("c", "a", "d", "b")]
    assert choose(name, pool, Budget("images", 3)) == ["a", "b", "c"]


def test_a_larger_budget_only_adds(name: str) -> None:
    few, many = (choose(name, candidates(25), Budget("images", amount)) for amount in (5, 12))
    assert many[:5] == few


def test_labelled_embeddings_are_taken_by_all(name: str) -> None:
    labelled = np.zeros((3, 8), dtype=np.float32)
    assert len(choose(name, candidates(10), Budget("images", 4), labelled)) == 4


def test_settings_are_frozen_and_closed(name: str) -> None:
    made = settings(name)
    with pytest.raises(ValidationError, match="extra"):
        type(made)(**REQUIRED.get(name, {}), no_such_setting=1)
    assert made.model_config.get("frozen") is True


def test_it_says_whether_it_needs_embeddings(name: str) -> None:
    module = load_selector(name)
    bare = [Candidate(item.sample_id, item.uncertainty) for item in candidates(5)]
    if not module.NEEDS_EMBEDDINGS:
        assert len(choose(name, bare, Budget("images", 2))) == 2


def test_a_name_nearly_right_is_suggested(name: str) -> None:
    with pytest.raises(UnknownPeer, match=f"did you mean '{name}'"):
        load_selector(name + "x")
