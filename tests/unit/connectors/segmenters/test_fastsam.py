"""Which of the seen masks answers which prompt."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from connectors.fastsam.choice import agreement, assign, ranked
from connectors.fastsam.everything import Candidate, pack, unpack
from connectors.segmenters.fastsam import Settings, build
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, Prompt
from pipeline.errors import WeightsUnavailable
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


def packed(boxes: list[Box], confidences: list[float]) -> Mapping[str, npt.NDArray[np.generic]]:
    """A network that saw boxes: its logits are 4 inside each and -4 outside, on a grid of a quarter of 64."""
    logits = np.full((len(boxes), 16, 16), -4.0, dtype=np.float32)
    return pack(logits + 8.0, boxes, np.array(confidences, dtype=np.float32), SIZE_HW)


def test_what_was_packed_comes_back_over_any_threshold() -> None:
    arrays = packed([LEFT, RIGHT], [0.75, 0.5])
    assert [(one.mask.box, one.confidence) for one in unpack(arrays, SIZE_HW)] == [(LEFT, 0.75), (RIGHT, 0.5)]
    assert [one.mask.box for one in unpack(arrays, SIZE_HW, 3.0)] == [LEFT, RIGHT]
    assert unpack(arrays, SIZE_HW, 5.0) == []
    assert unpack(packed([], []), SIZE_HW) == []


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


def test_weights_without_masks_are_refused(tmp_path: Path) -> None:
    skip_without("torch", "ultralytics")
    weights = write_weights(tmp_path / "boxes.pt", head="Detect")
    with pytest.raises(WeightsUnavailable, match="segment"):
        build(Settings(), resources_for(tmp_path, weights=weights))
