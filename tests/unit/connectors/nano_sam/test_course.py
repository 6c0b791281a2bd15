"""How the weights of `nano_sam` are made: examples, people, lessons, and a course that can be stopped."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="the extra ultralytics brings PyTorch")

RECIPE = Path(__file__).parents[4] / "configs" / "weights"


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Opens a module of the recipe, as the script beside it does."""
    monkeypatch.syspath_prepend(RECIPE)
    return lambda name: importlib.import_module(f"nano_sam.{name}")


def disc(side: int = 80, centre: tuple[int, int] = (40, 30), radius: int = 14) -> Any:
    y, x = np.mgrid[:side, :side]
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2


@pytest.mark.parametrize("name", ["PIECES", "FRAMES"])
def test_examples_are_what_the_network_sees_with_objects_in_them(room: Any, name: str) -> None:
    examples = room("examples")
    mixture = getattr(examples, name)
    assert sum(share for share, _ in mixture.parts) == pytest.approx(1)
    for seed in range(8):
        one, again = (examples.example(mixture, 3, np.random.default_rng(seed)) for _ in range(2))
        assert one.pixels.shape == (3, mixture.side, mixture.side)
        assert one.pixels.dtype == np.float32
        assert np.abs(one.pixels).max() < 4
        assert [mask.shape for mask in one.masks] == [(mixture.side, mixture.side)] * 3
        assert min(int(mask.sum()) for mask in one.masks) >= 40
        np.testing.assert_array_equal(one.pixels, again.pixels)


def test_people_say_all_kinds_of_things_and_nothing_false(room: Any) -> None:
    people, rng = room("people"), np.random.default_rng(0)
    low = disc()
    mask = np.repeat(np.repeat(low, 2, axis=0), 2, axis=1)
    kinds = set()
    for _ in range(200):
        said = people.first_said(mask, low, rng)
        kinds.add((said.box is not None, bool(said.clicks), said.prior is not None))
        if said.prior is None:
            assert all(on and mask[int(y), int(x)] for x, y, on in said.clicks)
        for x, y, on in said.clicks:
            assert low[int(y) // 2, int(x) // 2] == bool(on)
        if said.box is not None:
            assert np.abs(np.array(said.box) - [52, 32, 110, 90]).max() <= 8
    assert kinds == {(True, False, False), (False, True, False), (True, True, False)} | {
        (False, clicked, True) for clicked in (True, False)
    }


def test_a_click_goes_to_the_larger_kind_of_error(room: Any) -> None:
    people, low = room("people"), disc()
    said = people.Said()
    people.click(said, np.zeros_like(low), low, np.random.default_rng(0))
    people.click(said, disc(radius=25), low, np.random.default_rng(0))
    (x, y, on), (other_x, other_y, off) = said.clicks
    assert (on, off) == (1, 0)
    assert low[int(y) // 2, int(x) // 2]
    assert not low[int(other_y) // 2, int(other_x) // 2]
    people.click(said, low, low, np.random.default_rng(0))
    assert len(said.clicks) == 2, "there is nothing to click on"


def test_a_right_answer_costs_less_and_quality_is_what_it_is(room: Any) -> None:
    lessons = room("lessons")
    truth = torch.from_numpy(disc()).float()[None]
    right = (20 * truth - 10)[:, None].expand(1, 4, 80, 80)
    wrong = torch.from_numpy(np.where(disc(radius=10), 10.0, -10.0)).float()[None, None].expand(1, 4, 80, 80)
    share = int(disc(radius=10).sum()) / int(disc().sum())
    costs = []
    for logits, true in ((right, 1.0), (wrong, share)):
        loss, found = lessons.lesson(logits, torch.full((1, 4), true), truth)
        assert found[0].tolist() == pytest.approx([true] * 4, abs=1e-6)
        costs.append(float(loss))
    assert costs[0] < 0.01 < 0.3 < costs[1]
    bluff, _ = lessons.lesson(right, torch.zeros(1, 4), truth)
    assert float(bluff) == pytest.approx(1 + costs[0])


def test_one_right_candidate_is_nearly_as_good_as_three(room: Any) -> None:
    lessons = room("lessons")
    truth = torch.from_numpy(disc()).float()[None]
    logits = (20 * truth - 10)[:, None].repeat(1, 4, 1, 1)
    logits[:, 2:] = -10
    nearly, _ = lessons.lesson(logits, lessons.true_ious(logits, truth), truth)
    logits[:, 1] = -10
    none_right, _ = lessons.lesson(logits, lessons.true_ious(logits, truth), truth)
    assert float(none_right) > 4 * float(nearly)


def test_a_stopped_course_goes_on_as_if_it_had_not_been(room: Any, tmp_path: Path) -> None:
    training = room("training")
    course = training.Course(steps=3, images=1, objects=1)

    def never() -> bool:
        return False

    with torch.random.fork_rng(devices=[]):
        straight = training.Training(course)
        straight.run(path=tmp_path / "straight.pt", until=never, tell=print)
        stopped = training.Training(course)
        stopped.run(path=tmp_path / "stopped.pt", until=lambda: stopped.step == 1, tell=print)
        assert stopped.step == 1
        resumed = training.Training.restore(tmp_path / "stopped.pt")
        resumed.run(path=tmp_path / "stopped.pt", until=never, tell=print)
    assert resumed.step == straight.step == 3
    for name, value in straight.averaged.items():
        torch.testing.assert_close(resumed.averaged[name], value, rtol=1e-4, atol=1e-5)
    moved = [name for name, value in straight.averaged.items() if not torch.equal(value, stopped.averaged[name])]
    assert len(moved) > len(straight.averaged) / 2


def test_ranks_are_correlated_as_scipy_does(room: Any) -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 9, (2, 60)).astype(np.float64)
    assert room("figures").spearman(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)
