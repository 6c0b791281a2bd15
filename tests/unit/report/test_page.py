"""The page, in words: every part that is empty says why, and the first sentence is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.report import REPORT, write_report
from pipeline.store.workspace import Workspace
from tests.fakes.store import NOON, annotation, ingested, instance, sample_id
from tests.integration.commands import TINY
from tests.unit.report import ledgers

REASONS = (
    "No candidate has a figure yet",
    "No candidate was judged yet",
    "Nothing was asked yet",
    "Nobody has answered with an object yet",
    "No mask was changed",
    "No mask can be compared",
    "Nobody has judged an object yet",
    "There is no version yet",
    "The round trip is not on record",
    "No image has the word of more than one person",
    "every file could be read",
    "No stage’s time is on record",
)


@pytest.fixture
def page(tmp_path: Path) -> str:
    workspace = Workspace.open(tmp_path / "workspace", now=lambda: NOON)
    written = write_report(load(TINY), workspace)
    workspace.ledger.close()
    assert written == tmp_path / "workspace" / REPORT
    return written.read_text(encoding="utf-8")


@pytest.mark.parametrize("reason", REASONS)
def test_what_is_empty_says_why(page: str, reason: str) -> None:
    assert reason in page


@pytest.mark.parametrize("heading", ["Decided by hand", "Asked again", "What reviewers decided", "Held out by"])
def test_what_nobody_did_has_no_heading(page: str, heading: str) -> None:
    assert heading not in page


def test_the_page_needs_nothing_from_elsewhere(page: str) -> None:
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "url(" not in page
    assert "default-src 'none'" in page


def titles(workspace: Workspace) -> list[str]:
    """What the page's charts say of each mark."""
    return re.findall(r"<title>(.*?)</title>", write_report(load(TINY), workspace).read_text(encoding="utf-8"))


def test_marks_say_their_figures_as_people_do(workspace: Workspace) -> None:
    workspace.ledger.samples.add([ingested(1)])
    workspace.ledger.tasks.record(1, {sample_id(1): "task"})
    workspace.ledger.annotations.append(annotation(1, instance(clicks=1), seconds=61.2))
    ledgers.finish(workspace, 1, 0.4, promoted=False, champion="start", labelled=1, seconds=3762.0)
    found = titles(workspace)
    assert "1 click: 1 mask" in found
    assert "0 clicks: 0 masks" in found
    assert "60 seconds or more: 1 image" in found
    assert "50 to 55 seconds: 0 images" in found
    assert "round 1: 0.400 after 1 image, not promoted" in found
    assert "round 1: 0.400 after 1 h 03 min of simulated time, not promoted" in found


def test_figures_by_class_can_be_read_without_pointing_at_them(workspace: Workspace) -> None:
    def estimate(middle: float) -> dict[str, float]:
        return {"value": middle, "low": middle - 0.1, "high": middle + 0.1}

    row = {"instances": 4, "candidate": estimate(0.5), "champion": estimate(0.2), "difference": estimate(0.3)}
    body = {"by": "mask", "confidence_level": 0.9, "whole": row, "classes": {"coin": row}, "sizes": {"small": row}}
    ledgers.finish(workspace, 1, 0.5, promoted=True, champion="start")
    workspace.ledger.promotions.judged("m1", 1, promoted=True, reason="", body=body)
    written = write_report(load(TINY), workspace).read_text(encoding="utf-8")
    assert re.findall(r"<text[^>]*>(\w+)</text><text[^>]*>0.200 → 0.500 \(0.400–0.600\)</text>", written) == [
        "coin",
        "small",
    ]
    assert '0.500<br><span class="quiet small">0.400–0.600</span>' in written


def summary(workspace: Workspace) -> str:
    """The page's first sentences, as plain text."""
    written = write_report(load(TINY), workspace).read_text(encoding="utf-8")
    (found,) = re.findall(r'<p class="summary">(.*?)</p>', written, re.DOTALL)
    return re.sub(r"\s+", " ", found).strip()


def test_starting_weights_that_nobody_beat_are_still_in_use(workspace: Workspace) -> None:
    ledgers.finish(workspace, 1, 0.4, promoted=False, champion="start")
    told = summary(workspace)
    assert "starting weights are still in use, with a mask mAP of 0.100 on 7 held-out images: no candidate" in told
    assert "by hand" not in told


def test_starting_weights_that_a_person_wanted_back_are_in_use_again(workspace: Workspace) -> None:
    ledgers.three_promoted(workspace)
    assert "the model in use reaches a mask mAP of 0.500 on 7 held-out images, from 0.100 at" in summary(workspace)
    workspace.ledger.promotions.promote(None, 3, by="anna", reason="<not> to be trusted")
    told = summary(workspace)
    assert "the starting weights are in use again, with a mask mAP of 0.100 on 7 held-out images. anna" in told
    assert told.endswith(
        "anna chose them by hand (“&lt;not&gt; to be trusted”); the candidate of round 2 reached 0.600."
    )
    workspace.ledger.promotions.promote("m2", 3, by="bert", reason="best")
    told = summary(workspace)
    assert "the model in use reaches a mask mAP of 0.300 on 7" in told, "its newest figure"
    assert told.endswith("bert chose it by hand (“best”); the candidate of round 3 reached 0.500.")
