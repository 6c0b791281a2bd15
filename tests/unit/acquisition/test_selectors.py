"""Rankings worked out by hand or by brute force; what all selectors share stands in the contract."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.acquisition import REDUCERS, load_selector, within_budget
from pipeline.domain.rounds import Budget, Candidate, Uncertainty
from pipeline.errors import ConfigError, DataError, ShapeMismatch


def candidate(
    key: str, value: float = 0.5, embedding: Any = None, instances: int = 1, **parts: float
) -> Candidate:
    vector = None if embedding is None else np.asarray(embedding, dtype=np.float32)
    return Candidate(key, Uncertainty(key, value, parts, instances), vector)


def choose(name: str, pool: list[Candidate], amount: int, labelled: Any = None, **settings: Any) -> list[str]:
    module = load_selector(name)
    centres = None if labelled is None else np.asarray(labelled, dtype=np.float32)
    return module.select(
        pool, Budget("images", amount), np.random.default_rng(0), module.Settings(**settings), centres
    )


def test_top_k_takes_the_most_uncertain() -> None:
    pool = [candidate("a", 0.1), candidate("b", 0.9), candidate("c", 0.5)]
    assert choose("top_k", pool, 2) == ["b", "c"]


def test_weights_weigh() -> None:
    pool = [candidate("a", margin=0.9, entropy=0.1), candidate("b", margin=0.2, entropy=0.6)]
    assert choose("weighted_sum", pool, 1, weights={"margin": 1.0, "entropy": 1.0}) == ["a"]
    assert choose("weighted_sum", pool, 1, weights={"margin": 1.0, "entropy": 3.0}) == ["b"]


def test_a_weight_on_a_measure_that_was_not_scored_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"add it to score\.measures"):
        choose("weighted_sum", [candidate("a", margin=0.9)], 1, weights={"entropy": 1.0})


def test_k_center_goes_to_the_farthest_each_time() -> None:
    line = [candidate(str(x), embedding=[x, 0.0]) for x in (0, 1, 4, 6, 9)]
    assert choose("k_center", line, 3, labelled=[[0.0, 0.0]]) == ["9", "4", "6"]


def test_k_center_without_labels_starts_at_the_most_uncertain() -> None:
    line = [candidate(str(x), value, [x, 0.0]) for x, value in ((0, 0.1), (5, 0.8), (9, 0.2))]
    assert choose("k_center", line, 3) == ["5", "0", "9"]


def brute_force(points: npt.NDArray[np.float64], centres: npt.NDArray[np.float64], amount: int) -> list[int]:
    chosen: list[int] = []
    for _ in range(amount):
        known = np.concatenate([centres, points[chosen]])
        nearest = np.linalg.norm(points[:, None] - known[None], axis=2).min(axis=1)
        nearest[chosen] = -1
        chosen.append(int(np.argmax(nearest)))
    return chosen


@pytest.mark.parametrize("labelled", [1, 3, 200])
def test_k_center_equals_brute_force(labelled: int) -> None:
    rng = np.random.default_rng(labelled)
    points, centres = rng.normal(size=(150, 16)) + 40.0, rng.normal(size=(labelled, 16)) + 40.0
    pool = [candidate(f"{index:03d}", embedding=point) for index, point in enumerate(points)]
    expected = brute_force(points.astype(np.float32).astype(float), centres.astype(np.float32).astype(float), 40)
    assert [int(key) for key in choose("k_center", pool, 40, labelled=centres)] == expected


def test_k_center_takes_doubles_last() -> None:
    rng = np.random.default_rng(1)
    once = rng.normal(size=(20, 8))
    pool = [candidate(f"{index:02d}", embedding=once[index % 20]) for index in range(40)]
    chosen = choose("k_center", pool, 40, labelled=rng.normal(size=(2, 8)))
    assert sorted(chosen[:20]) == [f"{index:02d}" for index in range(20)]


def test_k_center_on_ten_thousand_takes_about_a_second() -> None:
    points = np.random.default_rng(0).normal(size=(10_000, 256)).astype(np.float32)
    pool = [candidate(f"{index:05d}", embedding=point) for index, point in enumerate(points)]
    started = time.process_time()  # what others do on this machine does not count
    chosen = choose("k_center", pool, 200, labelled=points[:300])
    assert len(set(chosen)) == 200
    assert time.process_time() - started < 10.0, "1 s when written"


@pytest.mark.parametrize(
    ("pool", "labelled", "error"),
    [
        ([candidate("a")], None, DataError),
        ([candidate("a", embedding=[1.0, np.nan])], None, DataError),
        ([candidate("a", embedding=[1.0, 2.0]), candidate("b", embedding=[1.0])], None, ShapeMismatch),
        ([candidate("a", embedding=[[1.0, 2.0]])], None, ShapeMismatch),
        ([candidate("a", embedding=[1.0, 2.0])], [[1.0]], ShapeMismatch),
        ([candidate("a", embedding=[1.0, 2.0])], [1.0, 2.0], ShapeMismatch),
        ([candidate("a", embedding=[1.0, 2.0])], [[1.0, np.inf]], DataError),
    ],
)
def test_k_center_refuses_embeddings_it_cannot_compare(pool: list[Candidate], labelled: Any, error: type) -> None:
    with pytest.raises(error):
        choose("k_center", pool, 1, labelled=labelled)


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(1, ["a"]), (4, ["a"]), (5, ["a", "b"]), (6, ["a", "b", "c"]), (99, ["a", "b", "c", "d"])],
)
def test_a_budget_of_instances_stops_before_the_image_that_exceeds_it(amount: int, expected: list[str]) -> None:
    ranked = [candidate(key, instances=count) for key, count in (("a", 3), ("b", 2), ("c", 0), ("d", 9))]
    assert within_budget(ranked, Budget("instances", amount)) == expected


def test_no_more_is_ranked_than_the_budget_pays_for() -> None:
    def ranked() -> Any:
        yield candidate("a")
        yield candidate("b")
        pytest.fail("the third was ranked for nothing")

    assert within_budget(ranked(), Budget("images", 2)) == ["a", "b"]


def test_reducers() -> None:
    values = np.array([0.1, 0.9, 0.5, 0.4])
    assert REDUCERS["max"](values) == 0.9
    assert REDUCERS["mean"](values) == pytest.approx(0.475)
    assert REDUCERS["top3"](values) == pytest.approx(0.6)
    assert REDUCERS["top3"](values[:2]) == pytest.approx(0.5)
