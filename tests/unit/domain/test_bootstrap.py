"""The paired bootstrap: its average precision is COCO's, its draws are draws, its intervals tell the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.average_precision import ApAccumulator, Kind
from pipeline.domain.bootstrap import FEWEST, Comparison, average_precision, compare
from pipeline.domain.geometry import Box
from pipeline.domain.hits import AREAS, Hits, gathered
from pipeline.errors import ShapeMismatch
from tests.unit.domain.test_average_precision import (
    CLASSES,
    SIZE,
    Scene,
    guess,
    random_box,
    random_scenes,
    truth_of,
)

ONCE = 1e-9


def accumulated(scenes: Sequence[Scene]) -> ApAccumulator:
    scores = ApAccumulator(CLASSES)
    for scene in scenes:
        scores.add(*scene)
    return scores


def large_scenes(seed: int, images: int = 20) -> list[Scene]:
    """The same kind of scenes, four times as large: objects of all of COCO's sizes."""

    def enlarged(item: Any) -> Any:
        box = Box(*(4 * value for value in item.box))
        return replace(item, box=box, mask=type(item.mask).from_box(box, tuple(4 * side for side in size_hw)))

    scenes = []
    for name, size_hw, truth, found in random_scenes(seed, images):
        big = (4 * size_hw[0], 4 * size_hw[1])
        scenes.append((name, big, [enlarged(row) for row in truth], [enlarged(row) for row in found]))
    return scenes


def by_coco(scores: ApAccumulator, kind: Kind) -> np.ndarray[Any, Any]:
    """faster-coco-eval's own AP50-95, `(4 areas, k classes)`, NaN without truth."""
    evaluation = scores._evaluation(kind)
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [list(ends) for ends in AREAS.values()], [*AREAS]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, :, 0]
    mean = precision.mean(axis=(0, 1)).T
    return np.where(mean > -1, mean, np.nan)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["bbox", "segm"]))
def test_average_precision_is_coco_s_for_every_class_and_size(seed: int, kind: Kind) -> None:
    scores = accumulated(large_scenes(seed))
    hits = scores.hits(kind)
    ours = average_precision(hits, np.ones((1, len(hits.images)), dtype=np.int64))[0]
    np.testing.assert_allclose(ours, by_coco(scores, kind), rtol=0, atol=ONCE)


def test_the_sizes_of_that_test_all_occur() -> None:
    hits = accumulated(large_scenes(0)).hits("segm")
    assert (hits.truths.sum(axis=(1, 2)) > 5).all()
    assert {-1, 0, 1} <= set(np.unique(hits.outcomes[2]))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_draw_is_a_data_set_that_has_images_several_times(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Confidences that differ: which of two equal ones comes first depends on the images' order.
    scenes = [
        (name, size_hw, truth, [replace(row, confidence=float(rng.random())) for row in found])
        for name, size_hw, truth, found in random_scenes(seed, images=15)
    ]
    times = rng.multinomial(len(scenes), [1 / len(scenes)] * len(scenes))
    drawn = [
        (f"{scene[0]}-{copy}", *scene[1:])
        for scene, count in zip(scenes, times, strict=True)
        for copy in range(count)
    ]
    weighted = average_precision(accumulated(scenes).hits("segm"), times[None])[0, 0]
    metrics = accumulated(drawn).metrics()
    for name, value in zip(CLASSES, weighted, strict=True):
        expected = metrics.per_class[name].mask_map50_95
        assert np.isnan(value) if expected is None else value == pytest.approx(expected, abs=ONCE), name


@pytest.mark.parametrize(("truths", "guesses"), [(130, 90), (130, 150), (90, 150)])
def test_an_image_may_have_more_than_a_hundred_objects_but_not_detections(truths: int, guesses: int) -> None:
    rng = np.random.default_rng(7)
    boxes = [random_box(rng, SIZE) for _ in range(truths)]
    truth = [truth_of(box, number=number) for number, box in enumerate(boxes)]
    found = [guess(boxes[number % truths], float(rng.random())) for number in range(guesses)]
    scores = accumulated([("crowd", SIZE, truth, found)])
    hits = scores.hits("segm")
    assert (int(hits.truths.sum(axis=(1, 2))[0]), hits.found) == (truths, min(guesses, 100))
    ours = average_precision(hits, np.ones((1, 1), dtype=np.int64))[0]
    np.testing.assert_allclose(ours, by_coco(scores, "segm"), rtol=0, atol=ONCE)


def test_a_box_without_a_mask_is_no_detection_of_masks() -> None:
    box = Box(10, 10, 30, 30)
    scores = accumulated([("one", SIZE, [truth_of(box)], [guess(box, 0.9, mask=False)])])
    assert (scores.hits("bbox").found, scores.hits("segm").found) == (1, 0)


def pair(images: int, *, better: int, seed: int = 0) -> tuple[Hits, Hits]:
    """Two models on the same images; in `better` of them the first finds what the second does not."""
    rng = np.random.default_rng(seed)
    box = Box(10, 10, 30, 30)
    sides: tuple[list[Scene], list[Scene]] = ([], [])
    for number in range(images):
        truth = [truth_of(box, str(CLASSES[number % 2]))]
        found = [guess(box, 0.5 + rng.random() / 2, str(CLASSES[number % 2]))]
        for side, finds in zip(sides, (True, number >= better), strict=True):
            side.append((f"{number}", SIZE, truth, found if finds else []))
    first, second = (accumulated(side).hits("segm") for side in sides)
    return first, second


def judged(first: Hits, second: Hits, groups: Sequence[str] | None = None, **more: Any) -> Comparison:
    return compare(first, second, groups or first.images, np.random.default_rng(1), **more)


def test_a_clear_gain_has_an_interval_above_zero() -> None:
    found = judged(*pair(40, better=20))
    assert found.whole is not None
    assert found.whole.difference.value == pytest.approx(found.whole.candidate.value - found.whole.champion.value)
    assert found.whole.difference.low is not None
    assert found.whole.difference.high is not None
    assert 0.2 < found.whole.difference.low < found.whole.difference.value < found.whole.difference.high < 0.8
    assert found.whole.p == pytest.approx(1 / 1001)
    assert (found.images, found.units, found.whole.instances) == (40, 40, 40)
    assert set(found.classes) == {"disc", "star"}
    assert [row.instances for row in found.classes.values()] == [20, 20]
    assert set(found.sizes) == {"small"}, "20 x 20 pixels"


def test_no_difference_is_no_gain() -> None:
    found = judged(*pair(20, better=0)).whole
    assert found is not None
    assert (found.difference.low, found.difference.value, found.difference.high, found.p) == (0, 0, 0, 1)


def test_the_same_seed_gives_the_same_intervals() -> None:
    sides = pair(20, better=5)
    assert judged(*sides) == judged(*sides)


def test_images_of_a_group_are_drawn_together() -> None:
    sides = pair(40, better=10)
    alone = judged(*sides).whole
    # Ten films of four frames; the better ones fill two films and a half.
    films = judged(*sides, [str(number // 4) for number in range(40)])
    assert films.units == 10
    assert alone is not None
    assert films.whole is not None
    assert films.whole.units == 10
    assert alone.difference.value == films.whole.difference.value

    def width(row: Any) -> float:
        return float(row.difference.high - row.difference.low)

    assert width(films.whole) > 1.4 * width(alone)


def test_too_few_images_give_no_interval() -> None:
    few, enough = (judged(*pair(count, better=count)).whole for count in (FEWEST - 1, FEWEST))
    assert few is not None
    assert enough is not None
    assert (few.difference.low, few.difference.value) == (None, 1.0)
    assert enough.difference.low == 1.0


def test_a_wider_interval_at_a_higher_level() -> None:
    sides = pair(30, better=6)
    widths = []
    for level in (0.8, 0.99):
        row = judged(*sides, confidence_level=level).whole
        assert row is not None
        assert row.difference.high is not None
        assert row.difference.low is not None
        widths.append(row.difference.high - row.difference.low)
    assert widths[1] > 1.3 * widths[0]


def test_without_truth_there_is_nothing_to_compare() -> None:
    nothing = gathered(["a", "b"], CLASSES, [])
    assert (judged(nothing, nothing).whole, judged(nothing, nothing).classes) == (None, {})
    empty = gathered([], CLASSES, [])
    assert judged(empty, empty).whole is None


def test_models_of_different_splits_are_not_compared() -> None:
    with pytest.raises(ShapeMismatch, match="different images"):
        judged(pair(6, better=1)[0], pair(7, better=1)[1])
