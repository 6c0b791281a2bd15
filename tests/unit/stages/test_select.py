from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.domain.records import Split
from pipeline.domain.rounds import Budget, Candidate, Uncertainty
from pipeline.errors import DataError, SplitLeak
from pipeline.stages.select import SelectSettings, select


def candidate(key: str, value: float) -> Candidate:
    embedding = np.array([value, 0.0], dtype=np.float32)
    return Candidate(key, Uncertainty(key, value, {"margin": value}, 2), embedding)


POOL = [candidate("a", 0.2), candidate("b", 0.9), candidate("c", 0.4)]
TRAIN: dict[str, Split] = {"a": "train", "b": "train", "c": "train"}


def settings(**values: Any) -> SelectSettings:
    return SelectSettings.model_validate({"budget": {"images": 2}, **values})


def test_a_selection_says_what_was_chosen_and_how() -> None:
    chosen = select(POOL, settings(kind="top_k"), splits=TRAIN, round=3, seed=7)
    assert chosen.ranked == ("b", "c")
    assert (chosen.round, chosen.strategy, chosen.budget, chosen.seed) == (3, "top_k", Budget("images", 2), 7)


def test_a_budget_in_instances() -> None:
    chosen = select(POOL, settings(budget={"instances": 5}), splits=TRAIN, round=1, seed=0)
    assert chosen.ranked == ("b", "c")
    assert chosen.budget == Budget("instances", 5)


def test_the_selectors_own_settings_stand_beside_its_kind() -> None:
    chosen = select(POOL, settings(kind="weighted_sum", weights={"margin": 1.0}), splits=TRAIN, round=1, seed=0)
    assert chosen.ranked == ("b", "c")


def test_labelled_embeddings_reach_the_selector() -> None:
    labelled = np.array([[0.9, 0.0]], dtype=np.float32)
    chosen = select(POOL, settings(kind="k_center"), splits=TRAIN, round=1, seed=0, labelled=labelled)
    assert chosen.ranked == ("a", "c")
    assert settings(kind="k_center").needs_embeddings
    assert not settings(kind="top_k").needs_embeddings


@pytest.mark.parametrize("split", ["val", "test"])
def test_held_out_images_are_never_asked(split: Split) -> None:
    with pytest.raises(SplitLeak, match=split) as caught:
        select(POOL, settings(), splits={**TRAIN, "c": split}, round=1, seed=0)
    assert caught.value.sample_id == "c"


def test_a_candidate_of_no_split_is_an_error() -> None:
    with pytest.raises(DataError, match="no split"):
        select(POOL, settings(), splits={"a": "train", "b": "train"}, round=1, seed=0)


def test_a_candidate_that_comes_twice_is_an_error() -> None:
    with pytest.raises(DataError, match="twice"):
        select([*POOL, POOL[0]], settings(), splits=TRAIN, round=1, seed=0)


@pytest.mark.parametrize(
    ("values", "where", "message"),
    [
        ({"kind": "topk"}, ("kind",), "did you mean 'top_k'"),
        ({"budget": {}}, ("budget",), "either images or instances"),
        ({"budget": {"images": 1, "instances": 1}}, ("budget",), "either images or instances"),
        ({"budget": {"images": 0}}, ("budget", "images"), "greater than or equal to 1"),
        ({"budget": {"masks": 3}}, ("budget", "masks"), "Extra inputs"),
        ({"kind": "weighted_sum"}, ("weights",), "required"),
        ({"kind": "weighted_sum", "weights": {"margin": -1}}, ("weights", "margin"), "greater than 0"),
        ({"kind": "top_k", "wieghts": {}}, ("wieghts",), "Extra inputs"),
    ],
)
def test_settings_say_what_is_wrong_and_where(
    values: dict[str, object], where: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        settings(**values)
    assert where in [error["loc"] for error in caught.value.errors()]
