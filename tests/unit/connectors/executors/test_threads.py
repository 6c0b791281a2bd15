from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.executors import threads
from pipeline.ports import Executor
from tests.fakes.people import resources


def executor(tmp_path: Path, workers: int = 3, read_ahead: int = 1) -> Executor:
    return threads.build(threads.Settings(workers=workers, read_ahead=read_ahead), resources(tmp_path))


def unchanged() -> Callable[[int], int]:
    return lambda item: item


def test_each_thread_builds_its_own_worker_once_and_not_two_at_a_time(tmp_path: Path) -> None:
    building = threading.Lock()
    built: list[int] = []
    used: list[tuple[int, int]] = []

    def build_worker() -> Callable[[int], int]:
        assert building.acquire(blocking=False), "two workers are built at once"
        time.sleep(0.01)
        owner = threading.get_ident()
        built.append(owner)
        building.release()

        def work(item: int) -> int:
            used.append((owner, threading.get_ident()))
            time.sleep(0.002)
            return item

        return work

    assert list(executor(tmp_path).map(build_worker, range(60))) == list(range(60))
    assert 1 <= len(built) <= 3
    assert len(set(built)) == len(built)
    assert all(owner == user for owner, user in used)


def test_items_are_worked_on_at_the_same_time(tmp_path: Path) -> None:
    together = threading.Barrier(3, timeout=10)

    def build_worker() -> Callable[[int], int]:
        def work(item: int) -> int:
            together.wait()
            return item

        return work

    assert list(executor(tmp_path).map(build_worker, range(6))) == list(range(6))


def test_slow_items_do_not_change_the_order(tmp_path: Path) -> None:
    def build_worker() -> Callable[[int], int]:
        def work(item: int) -> int:
            time.sleep(0.02 if item % 3 == 0 else 0)
            return item

        return work

    assert list(executor(tmp_path).map(build_worker, range(20))) == list(range(20))


@pytest.mark.parametrize(("workers", "read_ahead"), [(1, 0), (2, 1), (3, 4)])
def test_reading_ahead_is_bounded_as_set(tmp_path: Path, workers: int, read_ahead: int) -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for item in range(1000):
            drawn.append(item)
            yield item

    results = executor(tmp_path, workers, read_ahead).map(unchanged, items())
    for taken in range(1, 6):
        next(results)
        assert len(drawn) == taken - 1 + workers * (1 + read_ahead)
    results.close()  # type: ignore[attr-defined]


def test_items_are_drawn_in_the_calling_thread(tmp_path: Path) -> None:
    callers = set()

    def items() -> Iterator[int]:
        for item in range(30):
            callers.add(threading.get_ident())
            yield item

    list(executor(tmp_path).map(unchanged, items()))
    assert callers == {threading.get_ident()}


def test_interruption_drops_what_waits_and_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    started: list[int] = []

    def build_worker() -> Callable[[int], int]:
        def work(item: int) -> int:
            started.append(item)
            if item == 4:
                raise KeyboardInterrupt
            return item

        return work

    with pytest.raises(KeyboardInterrupt):
        list(executor(tmp_path).map(build_worker, range(1000)))
    assert len(started) < 20
    assert threading.active_count() == before


@pytest.mark.parametrize("values", [{"workers": 0}, {"workers": 10_000}, {"read_ahead": -1}])
def test_settings_out_of_range_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="should be"):
        threads.Settings(**values)
