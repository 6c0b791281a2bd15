"""A fast segmenter first, a better one for what the fast one is not sure of."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from connectors.cascade.later import Later
from connectors.cascade.whose import signed, whose
from connectors.segmenters import cascade
from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, MaskPrediction, Prompt
from pipeline.errors import ConfigError, ShapeMismatch, UnknownPeer
from pipeline.segmenting.careful import CarefulSegmenter, escalated_by
from pipeline.segmenting.cleaning import MaskSettings
from tests.contracts._yolo import resources_for

SIZE_HW = (40, 60)
LEFT, RIGHT = Box(4, 4, 24, 24), Box(30, 10, 50, 30)
FAST_LOGITS, BETTER_LOGITS = np.full((8, 8), 3.0, dtype=np.float32), np.full((8, 8), 5.0, dtype=np.float32)


class Script:
    """Fills the box (or the left one) and says what it is told to say; remembers what it was asked."""

    storable = True

    def __init__(self, name: str, logits: np.ndarray[Any, np.dtype[np.float32]] | None = None) -> None:
        self.name = self.fingerprint = name
        self.logits = logits
        self.says: dict[Box | None, tuple[float, float]] = {}
        self.shrinks = 0.0
        self.asked: list[Prompt] = []
        self.encoded = 0

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        self.encoded += len(images)
        return [Encoding({"mean": np.array([image.mean()])}, SIZE_HW, self.name) for image in images]

    def decode(
        self,
        encoding: Encoding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        assert encoding.fingerprint == self.name
        assert set(encoding.arrays) == {"mean"}
        self.asked += prompts
        return [[self._one(prompt)] for prompt in prompts]

    def _one(self, prompt: Prompt) -> MaskPrediction:
        iou, stability = self.says.get(prompt.box, (0.9, 0.95))
        box = prompt.box or LEFT
        filled = Box(box.x1, box.y1, box.x2 - self.shrinks, box.y2)
        mask = Mask.from_box(filled, SIZE_HW) if iou else Mask.empty(SIZE_HW)
        return MaskPrediction(mask, iou, stability, self.logits)


def pair() -> tuple[Script, Script]:
    return Script("swift", FAST_LOGITS), Script("thorough", BETTER_LOGITS)


def of(fast: Script, better: Script, folder: Path, **settings: Any) -> Any:
    members = {"swift": fast, "thorough": better}
    resources = replace(resources_for(folder), build_segmenter=lambda kind, _: members[kind])
    chosen = {"fast": {"kind": "swift"}, "better": {"kind": "thorough"}, **settings}
    return cascade.build(cascade.Settings.model_validate(chosen), resources)


def priors(segmenter: Script) -> list[Any]:
    return [np.asarray(prompt.prior).tolist() for prompt in segmenter.asked]


def image(value: int = 0) -> Image:
    return np.full((*SIZE_HW, 3), value, dtype=np.uint8)


@pytest.mark.parametrize(
    ("says", "escalates"),
    [((0.9, 0.95), False), ((0.84, 0.95), True), ((0.9, 0.89), True), ((0.85, 0.9), False), ((0.0, 0.95), True)],
)
def test_only_what_is_under_a_floor_is_asked_again(
    says: tuple[float, float], escalates: bool, tmp_path: Path
) -> None:
    fast, better = pair()
    segmenter = of(fast, better, tmp_path, min_predicted_iou=0.85 if says[0] else 0.0)
    [encoding] = segmenter.encode([image()])
    fast.says[RIGHT] = says
    better.says[RIGHT] = (0.99, 0.99)
    [[first], [second]] = segmenter.decode(encoding, [Prompt(box=LEFT), Prompt(box=RIGHT)])
    assert (first.predicted_iou, second.predicted_iou) == (0.9, 0.99 if escalates else says[0])
    assert [prompt.box for prompt in better.asked] == ([RIGHT] if escalates else [])
    assert better.encoded == int(escalates), "the better one's encoder runs only where something escalates"
    assert segmenter.escalations == cascade.Escalations(2, int(escalates), int(escalates))
    assert escalated_by(CarefulSegmenter(segmenter, MaskSettings())) == int(escalates), "through what is around it"


def test_a_mask_that_its_own_box_does_not_give_again_is_asked_again(tmp_path: Path) -> None:
    fast, better = pair()
    fast.shrinks = 8.0
    [encoding] = of(fast, better, tmp_path).encode([image()])
    of(fast, better, tmp_path, min_agreement=0.3).decode(encoding, [Prompt(box=LEFT)])
    assert better.asked == [], "12 of 20 columns, then 4 of 12: a third"
    of(fast, better, tmp_path, min_agreement=0.4).decode(encoding, [Prompt(box=LEFT)])
    assert better.asked == [Prompt(box=LEFT)]


def test_the_better_one_encodes_an_image_once_while_there_is_room(tmp_path: Path) -> None:
    fast, better = pair()
    fast.says[LEFT] = (0.1, 0.1)
    segmenter = of(fast, better, tmp_path, kept=2)
    encodings = segmenter.encode([image(value) for value in range(3)])

    def ask(number: int) -> Any:
        return segmenter.decode(encodings[number % 2], [Prompt(box=LEFT)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(64)))
    assert (better.encoded, segmenter.escalations) == (2, cascade.Escalations(64, 64, 2))
    ask(0)
    ask(1)
    segmenter.decode(encodings[2], [Prompt(box=LEFT)])
    segmenter.decode(encodings[1], [Prompt(box=LEFT)])
    assert better.encoded == 3, "the third image took the place of the first, which was used before the second"


def test_an_eager_one_encodes_with_both_and_keeps_no_pixels(tmp_path: Path) -> None:
    fast, better = pair()
    fast.says[LEFT] = (0.1, 0.1)
    lazy, eager = of(fast, better, tmp_path), of(fast, better, tmp_path, eager=True)
    [first], [second] = lazy.encode([image()]), eager.encode([image()])
    assert set(first.arrays) == {"fast.mean", "rgb"}
    assert set(second.arrays) == {"fast.mean", "better.mean"}
    assert first.fingerprint != second.fingerprint
    assert lazy.decode(first, [Prompt(box=LEFT)])[0][0].mask == eager.decode(second, [Prompt(box=LEFT)])[0][0].mask


def test_logits_go_back_to_the_one_that_made_them(tmp_path: Path) -> None:
    fast, better = pair()
    fast.says[RIGHT] = (0.1, 0.1)
    segmenter = of(fast, better, tmp_path)
    [encoding] = segmenter.encode([image()])
    [[sure], [unsure]] = segmenter.decode(encoding, [Prompt(box=LEFT), Prompt(box=RIGHT)])
    fast.asked.clear()
    better.asked.clear()
    segmenter.decode(encoding, [Prompt(prior=sure.logits), Prompt(prior=unsure.logits)])
    assert priors(fast) == [FAST_LOGITS.tolist()]
    assert priors(better) == [BETTER_LOGITS.tolist()]


def test_the_fast_one_s_logits_reach_the_better_one_as_a_mask(tmp_path: Path) -> None:
    """Two networks lay an image out in different ways, even on grids of one shape."""
    fast, better = pair()
    segmenter = of(fast, better, tmp_path)
    [encoding] = segmenter.encode([image()])
    [[sure]] = segmenter.decode(encoding, [Prompt(box=LEFT)])
    fast.says[RIGHT] = (0.1, 0.1)
    segmenter.decode(encoding, [Prompt(box=RIGHT, prior=sure.logits)])
    assert better.asked == [Prompt(box=RIGHT, prior=Mask.from_box(LEFT, SIZE_HW))]
    better.asked.clear()
    segmenter.decode(encoding, [Prompt(text="a cell", prior=sure.logits)])
    assert better.asked == [Prompt(text="a cell", prior=Mask.from_box(LEFT, SIZE_HW))], (
        "words are for the better one"
    )


def test_logits_of_another_segmenter_are_refused(tmp_path: Path) -> None:
    fast, better = pair()
    segmenter = of(fast, better, tmp_path)
    [encoding] = segmenter.encode([image()])
    for logits in (FAST_LOGITS, FAST_LOGITS[0], np.zeros((0, 8), dtype=np.float32)):
        with pytest.raises(ShapeMismatch, match="give the mask as the prior"):
            segmenter.decode(encoding, [Prompt(prior=logits)])


def test_a_signature_survives_half_precision() -> None:
    answer = MaskPrediction(Mask.empty(SIZE_HW), 0.0, 0.0, FAST_LOGITS)
    for role in ("fast", "better"):
        [one] = signed([answer], role)
        assert one.logits is not None
        kept = one.logits.astype(np.float16).astype(np.float32)
        assert whose(kept)[0] == role
        np.testing.assert_array_equal(whose(one.logits)[1], FAST_LOGITS)
    assert signed([replace(answer, logits=None)], "fast")[0].logits is None


def test_what_is_needed_later_does_not_depend_on_what_is_kept() -> None:
    later = Later(Script("thorough"), 1)
    means = [float(later.encoding(image(value)).arrays["mean"][0]) for value in (3, 9, 3, 3)]
    assert (means, later.made) == ([3.0, 9.0, 3.0, 3.0], 3)


@pytest.mark.parametrize(
    ("settings", "key", "words"),
    [
        ({"fast": {"kind": "grabcut", "max_sides": 64}}, "segmenter.fast.max_sides", "max_side"),
        ({"fast": {"kind": "grabcut", "max_side": 3}}, "segmenter.fast.max_side", "16"),
        ({"better": {"kind": "elipse"}}, "segmenter.better.kind", "ellipse"),
    ],
)
def test_a_wrong_setting_of_a_member_is_told_by_its_own_key(
    settings: Any, key: str, words: str, tmp_path: Path
) -> None:
    both = {"fast": {"kind": "ellipse"}, "better": {"kind": "ellipse"}, **settings}
    with pytest.raises(ConfigError, match=words) as caught:
        cascade.build(cascade.Settings.model_validate(both), resources_for(tmp_path))
    assert caught.value.key == key
    assert not isinstance(caught.value, UnknownPeer)


def test_two_wrong_settings_are_told_together(tmp_path: Path) -> None:
    wrong = {"fast": {"kind": "grabcut", "max_side": 3, "margin": 0}, "better": {"kind": "ellipse"}}
    with pytest.raises(ConfigError) as caught:
        cascade.build(cascade.Settings.model_validate(wrong), resources_for(tmp_path))
    assert "segmenter.fast.max_side" in str(caught.value)
    assert "segmenter.fast.margin" in str(caught.value)


def test_a_cascade_is_no_member_of_a_cascade() -> None:
    with pytest.raises(ValidationError, match="part of a cascade"):
        cascade.Settings.model_validate({"fast": {"kind": "cascade"}})
