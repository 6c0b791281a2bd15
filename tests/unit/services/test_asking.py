"""What people are shown when they are asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import MaskPrediction, Proposal
from pipeline.domain.records import Annotation, Instance, Origin, OriginKind, State
from pipeline.domain.rounds import Evidence, Finding, Uncertainty
from pipeline.services.asking import Machine, items_of
from pipeline.store.decisions import Request
from pipeline.store.workspace import Workspace
from tests.fakes.store import NOON, SIZE_HW, ingested, sample

KEY = sample(1).id
MODEL = Origin(OriginKind.MODEL, "m + s")
REV = Origin(OriginKind.HUMAN, "rev")
LEFT, RIGHT = Box(1, 1, 9, 9), Box(15, 5, 25, 15)
FOUND = Evidence(
    KEY,
    SIZE_HW,
    tuple(
        Finding(Proposal(box, "coin", 0.5), MaskPrediction(Mask.from_box(box, SIZE_HW), 0.9, 0.9, None))
        for box in (LEFT, RIGHT)
    ),
)
MACHINE = Machine(2, MODEL, {KEY: FOUND}, {KEY: Uncertainty(KEY, 0.5, {}, 2)})


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    workspace.ledger.samples.add([ingested(1)])
    return workspace


def said(box: Box, label: str, state: State, *, partial: bool) -> Annotation:
    """By a reviewer, of an object that an earlier round's model had found."""
    item = Instance(f"{label}-{state}", label, box, Mask.from_box(box, SIZE_HW), REV, state)
    return Annotation(KEY, 0, (item,), REV, 1, NOON, size_hw=SIZE_HW, partial=partial)


def shown(workspace: Workspace, *again: str) -> tuple[list[tuple[str, State, OriginKind]], str]:
    ((item,), record) = items_of(workspace.ledger, [KEY], again, MACHINE, NOON + timedelta(hours=1))
    assert all(one.origin == MODEL for one in record), "a model's word is never a person's"
    assert {one.state for row in record for one in row.instances} <= {State.PROPOSED}
    return [(one.label, one.state, one.origin.kind) for one in item.instances], str(dict(item.uncertainty.parts))


def test_of_an_image_that_nobody_spoke_of_people_see_what_the_machine_finds(workspace: Workspace) -> None:
    assert shown(workspace)[0] == [("coin", State.PROPOSED, OriginKind.MODEL)] * 2


def test_what_a_reviewer_said_of_single_objects_is_shown_and_not_undone(workspace: Workspace) -> None:
    workspace.ledger.annotations.append(said(LEFT, "star", State.EDITED, partial=True))
    word = replace(said(RIGHT, "coin", State.REJECTED, partial=True), created_at=NOON + timedelta(minutes=1))
    workspace.ledger.annotations.append(word)
    assert shown(workspace)[0] == [("star", State.EDITED, OriginKind.HUMAN)]


def test_an_image_that_is_sent_back_before_anybody_was_asked_comes_with_what_the_machine_finds(
    workspace: Workspace,
) -> None:
    workspace.ledger.requests.open(Request("fix/1", KEY, "fix", "rev", NOON))
    found, doubt = shown(workspace, KEY)
    assert found == [("coin", State.PROPOSED, OriginKind.MODEL)] * 2
    assert doubt == "{'fix': 1.0}"


def test_beneath_a_word_on_the_whole_image_the_machine_is_not_asked(workspace: Workspace) -> None:
    workspace.ledger.requests.open(Request("fix/1", KEY, "fix", "rev", NOON))
    workspace.ledger.annotations.append(said(LEFT, "star", State.DRAWN, partial=False))
    assert shown(workspace, KEY)[0] == [("star", State.DRAWN, OriginKind.HUMAN)]
