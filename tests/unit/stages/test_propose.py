from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Proposal
from pipeline.errors import BackendRejected
from pipeline.stages.propose import ProposeSettings, propose

CLASSES = ("disc", "star")
FRAME: Image = np.zeros((20, 30, 3), dtype=np.uint8)
GOOD = Proposal(Box(1, 2, 10, 12), "disc", 0.9, class_probs=(0.9, 0.1), mask=Mask.empty((20, 30)))


class Says:
    """A detector that gives the same answer about every image."""

    name = "says"

    def __init__(self, *proposals: Proposal, forgets: int = 0) -> None:
        self.proposals = list(proposals)
        self.forgets = forgets
        self.asked: list[list[str]] = []

    def propose(self, images: Sequence[Image], sample_ids: Sequence[str]) -> list[list[Proposal]]:
        self.asked.append(list(sample_ids))
        return [self.proposals for _ in images][self.forgets :]


def test_one_answer_for_each_image_in_order_and_one_batch_at_a_time() -> None:
    read: list[str] = []
    told: list[tuple[str, dict[str, object]]] = []

    def batches() -> Iterator[list[tuple[str, Image]]]:
        for names in (["a", "b"], ["c"]):
            read.extend(names)
            yield [(name, FRAME) for name in names]

    detector = Says(GOOD)
    answers = propose(batches(), detector, CLASSES, lambda name, /, **data: told.append((name, data)))
    assert next(answers) == ("a", [GOOD])
    assert read == ["a", "b"], "the second batch must not be read before the first is used"
    assert list(answers) == [("b", [GOOD]), ("c", [GOOD])]
    assert detector.asked == [["a", "b"], ["c"]]
    assert told == [
        ("propose.answered", {"images": 2, "proposals": 2, "dropped": 0}),
        ("propose.answered", {"images": 1, "proposals": 1, "dropped": 0}),
    ]


def test_boxes_are_clipped_and_those_outside_dropped_and_counted() -> None:
    told: dict[str, object] = {}
    detector = Says(
        Proposal(Box(-5, -5, 10, 40), "disc", 0.5),
        Proposal(Box(40, 2, 50, 12), "disc", 0.5),
        Proposal(Box(3, 3, 3, 9), "star", 0.5),
    )
    [(_, proposals)] = propose([[("a", FRAME)]], detector, CLASSES, lambda _, /, **data: told.update(data))
    assert [proposal.box for proposal in proposals] == [Box(0, 0, 10, 20)]
    assert told == {"images": 1, "proposals": 1, "dropped": 2}


@pytest.mark.parametrize(
    ("proposal", "complaint"),
    [
        (Proposal(Box(1, 2, 10, 12), "horse", 0.9), "label that is not among the classes: 'horse'"),
        (Proposal(Box(1, float("nan"), 10, 12), "disc", 0.9), "not finite"),
        (Proposal(Box(1, 2, float("inf"), 12), "disc", 0.9), "not finite"),
        (Proposal(Box(10, 2, 1, 12), "disc", 0.9), "inverted"),
        (Proposal(Box(1, 2, 10, 12), "disc", 0.9, class_probs=(1.0,)), "1 class probabilities for 2 classes"),
        (Proposal(Box(1, 2, 10, 12), "disc", 0.9, class_probs=(1.5, 0.0)), "outside"),
        (Proposal(Box(1, 2, 10, 12), "disc", 0.9, class_probs=(float("nan"), 0.0)), "outside"),
        (Proposal(Box(1, 2, 10, 12), "disc", 0.9, mask=Mask.empty((30, 20))), "mask of another size"),
    ],
)
def test_an_answer_that_breaks_the_promise_is_rejected_by_name(proposal: Proposal, complaint: str) -> None:
    with pytest.raises(BackendRejected, match=complaint) as caught:
        list(propose([[("a", FRAME)]], Says(GOOD, proposal), CLASSES))
    assert caught.value.backend == "says"
    assert "image a" in str(caught.value)


def test_a_forgotten_image_is_rejected() -> None:
    with pytest.raises(BackendRejected, match="answered 1 images, it was asked about 2"):
        list(propose([[("a", FRAME), ("b", FRAME)]], Says(GOOD, forgets=1), CLASSES))


@pytest.mark.parametrize("wrong", [lambda: ProposeSettings(batch=0), lambda: ProposeSettings(bach=1)])  # type: ignore[call-arg]
def test_settings_are_strict(wrong: Callable[[], ProposeSettings]) -> None:
    with pytest.raises(ValidationError):
        wrong()
