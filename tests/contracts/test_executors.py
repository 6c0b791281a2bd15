"""What every executor promises. A new file in the folder is tested without an edit here."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors import executors
from pipeline.errors import DataError
from pipeline.ports import Executor
from tests.fakes.people import resources

KINDS = sorted(module.name for module in pkgutil.iter_modules(executors.__path__))


@pytest.fixture(params=KINDS)
def module(request: pytest.FixtureRequest) -> Any:
    peer = importlib.import_module(f"connectors.executors.{request.param}")
    for packages in peer.REQUIRES.values():
        for package in packages:
            pytest.importorskip(package, reason=f"{request.param} needs {package}")
    return peer


@pytest.fixture
def executor(module: Any, tmp_path: Path) -> Executor:
    built: Executor = module.build(module.Settings(), resources(tmp_path))
    return built


def doubling() -> Callable[[int], int]:
    return lambda item: 2 * item


def refusing_seven() -> Callable[[int], int]:
    def work(item: int) -> int:
        if item == 7:
            raise DataError("seven is bad", sample_id="7")
        return item

    return work


def failing_to_build() -> Callable[[int], int]:
    raise DataError("cannot be built")


def test_it_has_a_name_and_closed_settings(module: Any, executor: Executor) -> None:
    assert executor.name
    with pytest.raises(ValidationError):
        module.Settings(no_such_setting=1)


@pytest.mark.parametrize("count", [0, 1, 5, 300])
def test_results_come_in_the_order_of_the_items(executor: Executor, count: int) -> None:
    assert list(executor.map(doubling, range(count))) == [2 * item for item in range(count)]


def test_it_can_be_used_again(executor: Executor) -> None:
    assert list(executor.map(doubling, [1, 2])) == list(executor.map(doubling, [1, 2]))


def test_only_a_bounded_number_of_items_is_drawn_ahead(executor: Executor) -> None:
    drawn = 0

    def counted() -> Iterator[int]:
        nonlocal drawn
        for item in range(10_000):
            drawn += 1
            yield item

    results = executor.map(doubling, counted())
    for _ in range(5):
        next(results)
    assert drawn <= 5 + 64
    results.close()  # type: ignore[attr-defined]


def test_an_error_of_the_worker_comes_out_with_its_item(executor: Executor) -> None:
    results = executor.map(refusing_seven, range(20))
    with pytest.raises(DataError, match="seven is bad") as caught:
        list(results)
    assert any("item 7: 7" in note for note in caught.value.__notes__)


def test_results_before_the_error_are_not_lost(executor: Executor) -> None:
    results = executor.map(refusing_seven, range(20))
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(DataError):
        next(results)


def test_an_error_while_building_comes_out(executor: Executor) -> None:
    with pytest.raises(DataError, match="cannot be built"):
        list(executor.map(failing_to_build, range(3)))


def test_an_error_of_the_items_comes_out(executor: Executor) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise DataError("no more items")

    with pytest.raises(DataError, match="no more items"):
        list(executor.map(doubling, broken()))


def test_without_items_no_worker_is_built(executor: Executor) -> None:
    assert list(executor.map(failing_to_build, [])) == []


def test_closing_early_leaves_no_thread_behind(executor: Executor) -> None:
    before = threading.active_count()
    results = executor.map(doubling, range(1000))
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
