"""A server remembers what was used last, within its budget, and encodes nothing twice."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from connectors.serving.kept import KeptEncodings
from pipeline.domain.prompts import Encoding


def encoding(size: int = 100) -> Encoding:
    return Encoding({"a": np.zeros(size, dtype=np.uint8)}, (1, 1), "f")


def test_those_used_longest_ago_go_first() -> None:
    kept = KeptEncodings(250)
    for key in ("one", "two"):
        kept.get_or_make(key, encoding)
    assert kept.get("one") is not None
    kept.get_or_make("three", encoding)
    assert kept.get("two") is None
    assert kept.get("one") is not None
    assert kept.get("three") is not None


def test_the_last_one_stays_whatever_its_size() -> None:
    kept = KeptEncodings(250)
    kept.get_or_make("small", encoding)
    kept.get_or_make("huge", lambda: encoding(1000))
    assert kept.get("small") is None
    assert kept.get("huge") is not None


def test_eight_threads_make_one() -> None:
    kept = KeptEncodings(10_000)
    made: list[int] = []

    def slow() -> Encoding:
        made.append(threading.get_ident())
        time.sleep(0.02)
        return encoding()

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: kept.get_or_make("one", slow), range(8)))
    assert len(made) == 1
    assert all(one is got[0] for one in got)


def test_a_failure_is_told_and_not_remembered() -> None:
    kept = KeptEncodings(10_000)

    def broken() -> Encoding:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        kept.get_or_make("one", broken)
    assert kept.get_or_make("one", encoding).size_bytes == 100
