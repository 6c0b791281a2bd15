"""Which of the seen masks answers which prompt."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from connectors.fastsam.choice import agreement, assign, ranked
from connectors.fastsam.everything import Arrays, Candidate, moved, pack, unpack
from connectors.segmenters.fastsam import Settings, build
from connectors.ultralytics.masks import box_masks
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, Prompt
from pipeline.errors import ShapeMismatch, WeightsUnavailable
from pipeline.ports import Segmenter
from tests.contracts._yolo import resources_for, skip_without, write_weights

SIZE_HW = (40, 60)
LEFT, RIGHT, BOTH = Box(0, 0, 20, 20), Box(22, 0, 42, 20), Box(0, 0, 42, 20)


def candidate(box: Box, confidence: float = 0.5) -> Candidate:
    return Candidate(Mask.from_box(box, SIZE_HW), confidence, 0.75)


SEEN = [candidate(LEFT, 0.6), candidate(RIGHT, 0.4), candidate(BOTH, 0.9)]


def chosen(prompts: list[Prompt], seen: list[Candidate] = SEEN, floor: float = 0.3) -> list[int | None]:
    return assign(agreement(prompts, seen, floor), prompts)


def test_answers_follow_the_prompts_and_not_the_masks() -> None:
    boxes = [RIGHT, BOTH, LEFT]
    for order in permutations(range(3)):
        assert chosen([Prompt(box=boxes[number]) for number in order]) == [[1, 2, 0][number] for number in order]


def test_two_boxes_never_share_a_mask_and_the_sum_is_the_greatest() -> None:
    """Taken one after the other, the first would take what only the second can use."""
    seen = [candidate(Box(0, 0, 10, 10)), candidate(Box(0, 0, 10, 14))]
    prompts = [Prompt(box=Box(0, 0, 10, 11)), Prompt(box=Box(0, 0, 10, 6))]
    assert chosen(prompts, seen, floor=0.5) == [1, 0]
    assert chosen([Prompt(box=LEFT), Prompt(box=LEFT)], SEEN[:1]) in ([0, None], [None, 0])


def test_a_box_with_which_nothing_agrees_gets_no_mask() -> None:
    prompts = [Prompt(box=Box(0, 0, 20, 9))]
    assert chosen(prompts, floor=0.45) == [0]
    assert chosen(prompts, floor=0.46) == [None]
    assert chosen(prompts, seen=[]) == [None]


def test_points_choose_what_holds_all_positive_and_no_negative_ones() -> None:
    def points(*labelled: tuple[float, float, bool], box: Box | None = None) -> Prompt:
        return Prompt(box, tuple((x, y) for x, y, _ in labelled), tuple(label for *_, label in labelled))

    prompts = [
        points((5, 5, True)),
        points((5, 5, True), (30, 5, False)),
        points((5, 5, True), (30, 5, True)),
        points((5, 5, True), (30, 5, True), (50, 30, True)),
        points((5, 5, False)),
        points((30, 5, True), box=RIGHT),
    ]
    assert chosen(prompts) == [2, 0, 2, None, None, 1]


def test_a_prior_chooses_its_like() -> None:
    assert chosen([Prompt(prior=Mask.from_box(Box(1, 0, 20, 20), SIZE_HW))]) == [0]
    assert ranked(agreement([Prompt(points_xy=((5, 5),), point_labels=(True,))], SEEN, 0.3)[0]) == [2, 0]


def packed(boxes: list[Box], confidences: list[float], logit: float = 4.0) -> Arrays:
    """A network that saw boxes: its logits are the same everywhere inside each, on a grid of a quarter of 64."""
    logits = np.full((len(boxes), 16, 16), logit, dtype=np.float32)
    return pack(logits, boxes, np.array(confidences, dtype=np.float32), SIZE_HW)


def test_what_was_packed_comes_back() -> None:
    arrays = packed([LEFT, RIGHT], [0.75, 0.5])
    assert [(one.mask.box, one.confidence, one.stability) for one in unpack(arrays, SIZE_HW)] == [
        (LEFT, 0.75, 1.0),
        (RIGHT, 0.5, 1.0),
    ]
    assert unpack(packed([], []), SIZE_HW) == unpack(packed([LEFT], [0.9], -4.0), SIZE_HW) == []


def test_other_thresholds_give_what_the_whole_logits_would_give() -> None:
    rng = np.random.default_rng(3)
    for size_hw in (SIZE_HW, (1, 1), (300, 7), (61, 200)):
        height, width = size_hw
        corners = rng.uniform(0, 1, (20, 2, 2)) * (width, height)
        boxes = [Box(*np.minimum(*pair), *(np.maximum(*pair) + 0.5)).clipped(size_hw) for pair in corners]
        logits = rng.normal(1, 3, (20, 16, 16)).astype(np.float16).astype(np.float32)
        arrays = pack(logits, boxes, np.linspace(1, 0, 20, dtype=np.float32), size_hw)
        straight = [mask for mask in box_masks(logits, boxes, size_hw) if mask.area_px]
        assert [one.mask for one in unpack(arrays, size_hw)] == straight
        kept = [number for number, mask in enumerate(box_masks(logits, boxes, size_hw)) if mask.area_px]
        for threshold in (-2.5, 1.5):
            whole = box_masks(logits - threshold, boxes, size_hw)
            assert [moved(arrays, place, size_hw, threshold)[0] for place in range(len(kept))] == [
                whole[number] for number in kept
            ]


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    skip_without("torch", "ultralytics")
    folder = tmp_path_factory.mktemp("weights")
    return build(Settings(imgsz=64), resources_for(folder, weights=write_weights(folder / "tiny.pt")))


def test_the_answers_carry_agreement_and_stability(segmenter: Segmenter) -> None:
    [empty] = segmenter.encode([np.zeros((*SIZE_HW, 3), dtype=np.uint8)])
    encoding = Encoding(packed([LEFT, RIGHT, BOTH], [0.625, 0.375, 0.875]), SIZE_HW, empty.fingerprint)
    prompts = [Prompt(box=Box(0, 0, 20, 19)), Prompt(box=Box(50, 30, 60, 40))]
    [[found], [nothing]] = segmenter.decode(encoding, prompts)
    assert (found.mask, found.predicted_iou, found.stability) == (SEEN[0].mask, 0.95, 1.0)
    assert (nothing.mask.area_px, nothing.predicted_iou) == (0, 0.0)
    [several, _] = segmenter.decode(encoding, [Prompt(box=LEFT), prompts[1]], multimask=True)
    assert [one.mask for one in several] == [SEEN[0].mask], "only what agrees is a candidate"


def test_a_threshold_moves_the_edge_of_what_was_chosen(segmenter: Segmenter) -> None:
    [empty] = segmenter.encode([np.zeros((*SIZE_HW, 3), dtype=np.uint8)])
    encoding = Encoding(packed([LEFT], [0.625], 4.0), SIZE_HW, empty.fingerprint)
    [[tight]] = segmenter.decode(encoding, [Prompt(box=LEFT)], mask_threshold=3.5)
    assert (tight.mask, tight.predicted_iou, tight.stability) == (SEEN[0].mask, 1.0, 0.0)
    [[gone]] = segmenter.decode(encoding, [Prompt(box=LEFT)], mask_threshold=4.5)
    assert (gone.mask.area_px, gone.predicted_iou, gone.stability) == (0, 0.0, 0.0)


def test_several_candidates_are_ranked_without_those_of_other_boxes(segmenter: Segmenter) -> None:
    [empty] = segmenter.encode([np.zeros((*SIZE_HW, 3), dtype=np.uint8)])
    seen = [Box(0, 0, 10, 10), Box(0, 0, 10, 14), Box(0, 0, 10, 12)]
    encoding = Encoding(packed(seen, [0.9, 0.8, 0.7]), SIZE_HW, empty.fingerprint)
    prompts = [Prompt(box=Box(0, 0, 10, 11)), Prompt(box=Box(0, 0, 10, 10))]
    first, second = segmenter.decode(encoding, prompts, multimask=True)
    assert [one.mask.box for one in first] == [seen[2], seen[1]]
    assert [one.mask.box for one in second] == [seen[0], seen[1]]


def test_one_point_gets_several_and_a_box_gets_one(segmenter: Segmenter) -> None:
    [empty] = segmenter.encode([np.zeros((*SIZE_HW, 3), dtype=np.uint8)])
    encoding = Encoding(packed([LEFT, RIGHT, BOTH], [0.6, 0.4, 0.9]), SIZE_HW, empty.fingerprint)
    point = Prompt(points_xy=((5, 5),), point_labels=(True,))
    assert [len(entry) for entry in segmenter.decode(encoding, [point, Prompt(box=LEFT)])] == [2, 1]
    assert [len(entry) for entry in segmenter.decode(encoding, [point], multimask=False)] == [1]


def test_logits_of_another_segmenter_are_refused(segmenter: Segmenter) -> None:
    [encoding] = segmenter.encode([np.zeros((*SIZE_HW, 3), dtype=np.uint8)])
    with pytest.raises(ShapeMismatch, match="as a mask"):
        segmenter.decode(encoding, [Prompt(prior=np.zeros((256, 256), dtype=np.float32))])


def test_weights_without_masks_are_refused(tmp_path: Path) -> None:
    skip_without("torch", "ultralytics")
    weights = write_weights(tmp_path / "boxes.pt", head="Detect")
    with pytest.raises(WeightsUnavailable, match="segment"):
        build(Settings(), resources_for(tmp_path, weights=weights))
