"""An album of grey pictures."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.report.pictures import Album
from tests.fakes.store import SIZE_HW


@pytest.fixture
def album() -> Album:
    return Album(lambda _: np.full((*SIZE_HW, 3), 128, dtype=np.uint8), budget=10**6)
