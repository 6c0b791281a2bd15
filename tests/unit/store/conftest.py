from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.store.ledger import Ledger
from pipeline.store.workspace import Workspace
from tests.fakes.store import NOON


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger whose lease is held."""
    opened = Ledger(tmp_path / "ledger.sqlite", root=tmp_path, now=lambda: NOON)
    opened.join_fence()
    yield opened
    opened.close()


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = Workspace.open(tmp_path / "run", now=lambda: NOON)
    yield opened
    opened.ledger.close()
