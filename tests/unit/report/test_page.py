"""The page of a workspace in which nothing has happened yet: every part says why it is empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.report import REPORT, write_report
from pipeline.store.workspace import Workspace
from tests.fakes.store import NOON
from tests.integration.commands import TINY

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


def test_the_page_needs_nothing_from_elsewhere(page: str) -> None:
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "url(" not in page
    assert "default-src 'none'" in page
