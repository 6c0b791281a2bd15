"""Any number of prompts in calls of a bounded size, whatever the network."""

from __future__ import annotations

import numpy as np
import pytest

from connectors.promptable.frame import Square
from connectors.promptable.network import Arrays, Asked, Told
from connectors.promptable.segmenter import PromptableSegmenter
from pipeline.domain.geometry import Box
from pipeline.domain.prompts import Encoding, Prompt


class Recorder:
    """Fills its square, and notes how many prompts came at once."""

    names: tuple[str, ...] = ("embedding",)
    encoder = None

    def __init__(self) -> None:
        self.calls: list[int] = []

    def decode(self, arrays: Arrays, asked: Asked, *, multimask: bool) -> Told:
        boxes = asked.boxes
        assert boxes is not None
        self.calls.append(len(boxes))
        quality = boxes[:, :1] / 16
        return Told(np.ones((len(boxes), 1, 4, 4), dtype=np.float32), quality.astype(np.float32))


@pytest.mark.parametrize("batch", [7, 64])
def test_ten_thousand_prompts_are_asked_in_batches_and_answered_in_order(batch: int) -> None:
    network = Recorder()
    segmenter = PromptableSegmenter(
        network, lambda _: (), Square(side=16, low_side=4), name="fake", fingerprint="fake", batch=batch
    )
    encoding = Encoding({"embedding": np.zeros((1, 4, 4), dtype=np.float32)}, (16, 16), "fake")
    lefts = np.random.default_rng(0).uniform(0, 14, 10_000)
    answers = segmenter.decode(encoding, [Prompt(box=Box(float(left), 1, 15, 15)) for left in lefts])
    assert max(network.calls) == batch
    assert sum(network.calls) == len(answers) == 10_000
    told = [one.predicted_iou for [one] in answers]
    np.testing.assert_allclose(told, lefts / 16, atol=1e-6)
