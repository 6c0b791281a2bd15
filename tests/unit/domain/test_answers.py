from __future__ import annotations

import pytest

from pipeline.domain.answers import checked_answer
from pipeline.domain.geometry import Box
from pipeline.domain.prompts import Proposal
from pipeline.errors import BackendRejected

SIZES = [(20, 30), (10, 10)]
GUESS = Proposal(Box(4, 5, 12, 15), "disc", 0.5)


def test_each_image_is_clipped_to_its_own_size() -> None:
    answer = checked_answer([[GUESS], [GUESS]], ["a", "b"], SIZES, ["disc"], backend="model")
    assert [[proposal.box for proposal in proposals] for proposals in answer] == [
        [Box(4, 5, 12, 15)],
        [Box(4, 5, 10, 10)],
    ]


def test_no_image_no_answer() -> None:
    assert checked_answer([], [], [], ["disc"], backend="model") == []


def test_the_complaint_names_the_backend_and_the_image() -> None:
    with pytest.raises(
        BackendRejected, match="model could not propose: its answer for image b has a label"
    ) as caught:
        checked_answer([[], [GUESS]], ["a", "b"], SIZES, ["star"], backend="model")
    assert not caught.value.retryable
