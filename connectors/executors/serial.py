"""One item after the other, in the calling thread: the plainest way, and the reference for all others."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from pipeline.ports import Executor, Resources

__all__ = ["REQUIRES", "Settings", "build"]

T = TypeVar("T")
R = TypeVar("R")

REQUIRES: Mapping[str, tuple[str, ...]] = {}


class Settings(BaseModel):
    """Nothing to choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def build(_settings: Settings, _resources: Resources) -> Executor:
    return _Serial()


class _Serial:
    name = "serial"

    def map(self, build_worker: Callable[[], Callable[[T], R]], items: Iterable[T]) -> Iterator[R]:
        """The worker is built when the first item arrives; without items it never is."""
        worker: Callable[[T], R] | None = None
        for index, item in enumerate(items):
            if worker is None:
                worker = build_worker()
            try:
                result = worker(item)
            except Exception as exc:
                exc.add_note(f"while working on item {index}: {reprlib.repr(item)}")
                raise
            yield result
