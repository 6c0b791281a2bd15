"""What becomes of verdicts in the ledger."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.config import load
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Origin, OriginKind, State
from pipeline.ports import ReviewRow, Verdict
from pipeline.services.deciding import take
from pipeline.stages.merge import MergeSettings, merge
from pipeline.store.workspace import Workspace
from tests.fakes.store import NOON, SIZE_HW, ingested, sample
from tests.integration.commands import TINY

S = sample(1)
MODEL = Origin(OriginKind.MODEL, "start + ellipse", round=1)
ONE, TWO = (
    Instance(key, "coin", box, Mask.from_box(box, SIZE_HW), MODEL, State.PROPOSED)
    for key, box in (("m1", Box(1, 1, 9, 9)), ("m2", Box(15, 5, 25, 15)))
)
ROW = ReviewRow(S, (ONE, TWO), ())


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    workspace.ledger.samples.add([ingested(1)])
    return workspace


def taken(workspace: Workspace, *about: str, row: ReviewRow = ROW) -> list[str]:
    verdicts = [Verdict(S.id, "accept", "rev", key, NOON) for key in about]
    return [decision.state for decision in take(load(TINY), workspace, verdicts, {S.id: row}, since=NOON)]


def in_dataset(workspace: Workspace) -> list[str] | None:
    histories = [list(workspace.ledger.annotations.history())]
    entries = merge([S], histories, lambda *_: None, MergeSettings()).entries
    return [item.id for item in entries[0].instances] if entries else None


def test_an_object_that_nobody_judged_is_no_background(workspace: Workspace) -> None:
    """Of two objects in an image that was never asked about, one is accepted."""
    assert taken(workspace, "m1") == ["new"]
    assert in_dataset(workspace) is None, "held back until somebody judges the other"
    assert taken(workspace, "m1", "m2") == ["known", "new"]
    assert in_dataset(workspace) == ["m1", "m2"]
    by_model = [said for said in workspace.ledger.annotations.history() if said.origin.kind is OriginKind.MODEL]
    assert [said.instances for said in by_model] == [(ONE, TWO)], "once, and a prediction"


def test_what_people_have_spoken_of_is_not_put_on_record_anew(workspace: Workspace) -> None:
    drawn = replace(ONE, id="h1", origin=Origin(OriginKind.HUMAN, "anna"), state=State.DRAWN)
    taken(workspace, "h1", row=ReviewRow(S, (ONE, TWO), (drawn,)))
    assert [said.origin.kind for said in workspace.ledger.annotations.history()] == [OriginKind.HUMAN]


def test_a_second_object_of_an_image_that_was_sent_back_in_this_round_is_asked_too(workspace: Workspace) -> None:
    for key in ("m1", "m2"):
        verdict = Verdict(S.id, "fix", "rev", key, NOON)
        take(load(TINY), workspace, [verdict], {S.id: ROW}, since=NOON)
        assert workspace.ledger.requests.waiting() == [S.id]
        workspace.ledger.requests.asked([S.id])
