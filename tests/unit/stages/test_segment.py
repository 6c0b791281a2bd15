from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from connectors.executors import serial, threads
from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, MaskPrediction, Prompt, Proposal
from pipeline.errors import BackendRejected, DataError
from pipeline.ports import Executor
from pipeline.segmenting.careful import CarefulSegmenter
from pipeline.stages.segment import SegmentSettings, segment
from tests.fakes.people import resources

FRAME: Image = np.zeros((20, 30, 3), dtype=np.uint8)
SIZE_HW = (20, 30)


class Fills:
    """A segmenter that fills the box; `answer` may spoil what it says."""

    name = "fills"
    fingerprint = "fills"
    storable = False

    def __init__(self, answer: Callable[[MaskPrediction], MaskPrediction] = lambda one: one) -> None:
        self.answer = answer
        self.encoded = 0
        self.decoded: list[int] = []

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        self.encoded += len(images)
        return [Encoding({}, (image.shape[0], image.shape[1]), self.name) for image in images]

    def decode(
        self,
        encoding: Encoding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        self.decoded.append(len(prompts))
        return [[self.answer(self._one(prompt, encoding))] for prompt in prompts]

    def _one(self, prompt: Prompt, encoding: Encoding) -> MaskPrediction:
        assert prompt.box is not None
        logits = np.zeros((4, 4), dtype=np.float32)
        return MaskPrediction(Mask.from_box(prompt.box, encoding.size_hw), 0.5, 0.75, logits)


def proposal(*box: float) -> Proposal:
    return Proposal(Box(*box), "disc", 0.9)


def executor(tmp_path: Path, workers: int = 1) -> Executor:
    if workers == 1:
        return serial.build(serial.Settings(), resources(tmp_path))
    return threads.build(threads.Settings(workers=workers), resources(tmp_path))


def boxes_of(predictions: Sequence[MaskPrediction | None]) -> list[Box | None]:
    return [None if one is None else one.mask.box for one in predictions]


@pytest.mark.parametrize("workers", [1, 3])
def test_one_entry_per_proposal_in_the_order_of_both(tmp_path: Path, workers: int) -> None:
    items = [(f"{n}", FRAME, [proposal(k, 1, k + 2 + n, 9) for k in range(n)]) for n in range(6)]
    told: list[tuple[str, dict[str, object]]] = []
    answers = list(
        segment(
            items,
            Fills(),
            SegmentSettings(),
            executor(tmp_path, workers),
            lambda name, /, **data: told.append((name, data)),
        )
    )
    assert [name for name, _ in answers] == [name for name, _, _ in items]
    for (_, predictions), (_, _, proposals) in zip(answers, items, strict=True):
        assert boxes_of(predictions) == [one.box for one in proposals]
    assert told == [("segment.answered", {"images": 1, "proposals": n, "masks": n}) for n in range(6)]


def test_an_image_is_encoded_once_and_not_at_all_without_proposals(tmp_path: Path) -> None:
    segmenter = Fills()
    many = [proposal(1, 1, 9, 9)] * 70
    items = [("many", FRAME, many), ("none", FRAME, []), ("outside", FRAME, [proposal(40, 1, 50, 9)])]
    answers = dict(segment(items, segmenter, SegmentSettings(chunk=32), executor(tmp_path)))
    assert segmenter.encoded == 1
    assert segmenter.decoded == [32, 32, 6]
    assert len(answers["many"]) == 70
    assert answers["none"] == []
    assert answers["outside"] == [None]


def test_it_reads_no_further_than_it_must(tmp_path: Path) -> None:
    read: list[int] = []

    def items() -> Iterator[tuple[str, Image, list[Proposal]]]:
        for number in range(9):
            read.append(number)
            yield f"{number}", FRAME, []

    answers = segment(items(), Fills(), SegmentSettings(), executor(tmp_path))
    next(answers)
    assert read == [0]


def test_boxes_grow_and_are_cut_at_the_border(tmp_path: Path) -> None:
    settings = SegmentSettings(box_expand=0.5)
    boxes = [proposal(10, 10, 14, 12), proposal(20, 0, 40, 10)]
    [(_, predictions)] = segment([("a", FRAME, boxes)], Fills(), settings, executor(tmp_path))
    assert boxes_of(predictions) == [Box(8, 9, 16, 13), Box(10, 0, 30, 15)]


def test_only_what_is_good_enough_counts_and_logits_are_not_kept(tmp_path: Path) -> None:
    boxes = [proposal(1, 1, 9, 9), proposal(35, 1, 40, 9), proposal(2, 2, 2.2, 2.2)]

    def masks(floor: float) -> list[MaskPrediction | None]:
        settings = SegmentSettings(threshold=floor)
        careful = CarefulSegmenter(Fills(), settings)
        [(_, predictions)] = segment([("a", FRAME, boxes)], careful, settings, executor(tmp_path))
        return predictions

    good, outside, empty = masks(0.5)
    assert good == MaskPrediction(Mask.from_box(Box(1, 1, 9, 9), SIZE_HW), 0.5, 0.75, None, boxes[0].label)
    assert outside is None
    assert empty is None, "no pixel's centre lies in that box"
    assert masks(0.51) == [None, None, None]


def other_size(one: MaskPrediction) -> MaskPrediction:
    return MaskPrediction(Mask.empty((30, 20)), one.predicted_iou, one.stability)


def not_a_number(one: MaskPrediction) -> MaskPrediction:
    return MaskPrediction(one.mask, float("nan"), one.stability)


def too_stable(one: MaskPrediction) -> MaskPrediction:
    return MaskPrediction(one.mask, one.predicted_iou, 1.01)


class Forgets(Fills):
    def decode(
        self,
        encoding: Encoding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        return super().decode(encoding, prompts)[1:]


class SaysNothing(Fills):
    def decode(
        self,
        encoding: Encoding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        return [[] for _ in prompts]


class EncodesTwice(Fills):
    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        return super().encode([*images, *images])


@pytest.mark.parametrize(
    ("segmenter", "complaint"),
    [
        (Fills(other_size), r"a mask of \(30, 20\), the image is \(20, 30\)"),
        (Fills(not_a_number), "scores outside"),
        (Fills(too_stable), "scores outside"),
        (Forgets(), "1 entries for 2 prompts"),
        (SaysNothing(), "without any prediction"),
        (EncodesTwice(), "2 encodings for the one image"),
    ],
)
def test_an_answer_that_breaks_the_promise_is_rejected_by_name(
    tmp_path: Path, segmenter: Fills, complaint: str
) -> None:
    items = [("sample-7", FRAME, [proposal(1, 1, 9, 9), proposal(2, 2, 9, 9)])]
    with pytest.raises(BackendRejected, match=complaint) as caught:
        list(segment(items, segmenter, SegmentSettings(), executor(tmp_path)))
    assert caught.value.backend == "fills"
    assert "sample-7" in str(caught.value)


@pytest.mark.parametrize("box", [(9, 1, 1, 9), (1, 1, float("nan"), 9)])
def test_a_box_that_is_no_box_names_its_sample(tmp_path: Path, box: tuple[float, ...]) -> None:
    with pytest.raises(DataError) as caught:
        list(segment([("sample-7", FRAME, [proposal(*box)])], Fills(), SegmentSettings(), executor(tmp_path)))
    assert caught.value.sample_id == "sample-7"


@pytest.mark.parametrize("wrong", [{"chunk": 0}, {"box_expand": -0.1}, {"threshold": 2}, {"chunks": 1}])
def test_settings_are_strict(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        SegmentSettings.model_validate(wrong)
