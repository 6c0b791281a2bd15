"""The house's own care around any segmenter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, MaskPrediction, Prompt
from pipeline.errors import BackendRejected, DataError, ShapeMismatch
from pipeline.segmenting.careful import MOST_PROMPTS, CarefulSegmenter
from pipeline.segmenting.cleaning import MaskSettings
from tests.fakes.brush import BrushSegmenter

IMAGE = np.zeros((20, 30, 3), dtype=np.uint8)
BOX = Box(2, 3, 12, 13)


class Holed(BrushSegmenter):
    """A box is filled but for one pixel; it remembers the threshold."""

    def decode(
        self,
        encoding: Encoding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        self.asked = (multimask, mask_threshold)
        bitmap = Mask.from_box(BOX, encoding.size_hw).bitmap()
        bitmap[6, 6] = False
        return [[MaskPrediction(Mask.from_bitmap(bitmap), 0.6, 0.9)] for _ in prompts]


def test_class_names_come_back_and_holes_are_filled_but_where_they_are_real() -> None:
    segmenter = CarefulSegmenter(Holed(), MaskSettings(max_hole_area=4, keep_holes=("ring",)))
    [encoding] = segmenter.encode([IMAGE])
    [[coin], [ring], [none]] = segmenter.decode(
        encoding, [Prompt(box=BOX, label="coin"), Prompt(box=BOX, label="ring"), Prompt(box=BOX)]
    )
    assert [(one.label, one.mask.area_px) for one in (coin, ring, none)] == [
        ("coin", 100),
        ("ring", 99),
        (None, 100),
    ]


def test_what_is_not_sure_enough_is_no_mask_and_keeps_its_place() -> None:
    segmenter = CarefulSegmenter(Holed(), MaskSettings(threshold=0.7))
    [encoding] = segmenter.encode([IMAGE])
    [[one], [other]] = segmenter.decode(encoding, [Prompt(box=BOX), Prompt(box=BOX)])
    assert one.mask.area_px == other.mask.area_px == 0
    assert one.predicted_iou == 0.6


def test_thresholds_add_up_and_names_pass_through() -> None:
    inner = Holed()
    segmenter = CarefulSegmenter(inner, MaskSettings(mask_threshold=-1.0))
    [encoding] = segmenter.encode([IMAGE])
    segmenter.decode(encoding, [Prompt(box=BOX)], multimask=True, mask_threshold=0.25)
    assert inner.asked == (True, -0.75)
    assert (segmenter.name, segmenter.fingerprint, segmenter.storable) == ("brush", "brush", False)
    assert segmenter.decode(encoding, []) == []


def test_more_prompts_than_memory_bears_are_refused_before_they_are_asked() -> None:
    inner = Holed()
    segmenter = CarefulSegmenter(inner, MaskSettings())
    [encoding] = segmenter.encode([IMAGE])
    with pytest.raises(DataError, match="10000 prompts at once: ask at most 4096"):
        segmenter.decode(encoding, [Prompt(box=BOX)] * 10_000)
    assert not hasattr(inner, "asked")
    assert len(segmenter.decode(encoding, [Prompt(box=BOX)] * MOST_PROMPTS)) == MOST_PROMPTS


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((5, 5), dtype=np.uint8),
        np.zeros((5, 5, 4), dtype=np.uint8),
        np.zeros((5, 5, 3), dtype=np.float32),
        np.zeros((0, 5, 3), dtype=np.uint8),
    ],
)
def test_what_is_no_image_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ShapeMismatch, match="uint8"):
        CarefulSegmenter(Holed(), MaskSettings()).encode([wrong])


def test_a_segmenter_that_loses_an_answer_is_told() -> None:
    class Loses(BrushSegmenter):
        def decode(self, encoding: Encoding, prompts: Sequence[Prompt], **_: object) -> list[list[MaskPrediction]]:
            return super().decode(encoding, prompts)[1:]

    segmenter = CarefulSegmenter(Loses(), MaskSettings())
    [encoding] = segmenter.encode([IMAGE])
    with pytest.raises(BackendRejected, match="1 answers to 2 prompts"):
        segmenter.decode(encoding, [Prompt(box=BOX), Prompt(box=BOX)])
