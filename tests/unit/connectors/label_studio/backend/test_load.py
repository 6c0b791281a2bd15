"""The benchmarks' own claims at a small scale: many people at once, and what strangers send."""

from __future__ import annotations

import pytest

from benchmarks._fuzz_backend import fuzz_backend
from benchmarks.backend_load import measure

pytestmark = pytest.mark.slow


def test_many_people_at_once_get_their_own_masks_and_the_same_bytes() -> None:
    load = measure(8, 200, checked=50)
    assert len(load.seconds) == 200
    assert len(load.alone) == 50
    assert load.failed.total() == 0
    assert (load.crossed, load.differing) == (0, 0)


def test_whatever_strangers_send_nothing_breaks_and_nothing_leaks() -> None:
    found = fuzz_backend(count=150)
    assert found["headers"] >= 40
    assert found["addresses"] >= 40
    assert found["statuses"].get("200")
    assert found["log_bytes"] > 1000
    assert found["held"], found
