"""What many rooms' tests begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.store.workspace import Workspace
from tests.fakes.store import NOON


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """An empty one that may be written to."""
    opened = Workspace.open(tmp_path / "run", now=lambda: NOON)
    with opened.write_lock():
        yield opened
    opened.ledger.close()
