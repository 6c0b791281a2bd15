"""A larger pool needs no more memory, but for what the ledger's rows take while they are looked at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.pool import SIDE, measure

pytestmark = pytest.mark.slow

SMALL, LARGE = 500, 1500
FRAME_KB = SIDE * SIDE * 3 / 1024
"""What one decoded image takes: less than that a sample, and nothing can have held the images."""


def test_memory_does_not_grow_with_the_pool(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    # In memory, where there is such a place: the time that a disk takes to flush is not the question here.
    scratch = memory if os.access(memory, os.W_OK) else tmp_path
    small, large = measure(SMALL, scratch), measure(LARGE, scratch)
    assert (small["samples"], large["samples"]) == (SMALL, LARGE)
    assert large["pool"] > small["pool"] > 0.8 * SMALL
    assert small["without_products"] == large["without_products"] == 0
    growth_kb = (large["peak_mb"] - small["peak_mb"]) * 1024 / (LARGE - SMALL)
    assert growth_kb < 0.75 * FRAME_KB, f"{small['peak_mb']:.0f} MB grew to {large['peak_mb']:.0f} MB"
