"""An empty workspace that may be written to, and an album of grey pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.report.pictures import Album
from pipeline.store.workspace import Workspace
from tests.fakes.store import NOON, SIZE_HW


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = Workspace.open(tmp_path / "workspace", now=lambda: NOON)
    with opened.write_lock():
        yield opened
    opened.ledger.close()


@pytest.fixture
def album() -> Album:
    return Album(lambda _: np.full((*SIZE_HW, 3), 128, dtype=np.uint8), budget=10**6)
