"""Several threads of this process: for work that waits, or that leaves Python (OpenCV, PyTorch, files)."""

from __future__ import annotations

import reprlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from pipeline.ports import Executor, Resources

__all__ = ["REQUIRES", "Settings", "build"]

T = TypeVar("T")
R = TypeVar("R")

REQUIRES: Mapping[str, tuple[str, ...]] = {}


class Settings(BaseModel):
    """`workers` threads; each may have `read_ahead` more items waiting, which bounds the memory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: Annotated[int, Field(ge=1, le=256)] = 2
    read_ahead: Annotated[int, Field(ge=0)] = 1


def build(settings: Settings, _resources: Resources) -> Executor:
    return _Threads(settings)


class _Threads:
    def __init__(self, settings: Settings) -> None:
        self.name = f"threads-{settings.workers}"
        self._workers = settings.workers
        self._in_flight = settings.workers * (1 + settings.read_ahead)

    def map(self, build_worker: Callable[[], Callable[[T], R]], items: Iterable[T]) -> Iterator[R]:
        """Items are drawn in the calling thread only. Closing the iterator, an error or Ctrl-C drops what waits
        and returns when the items under way are done: no thread outlives the iterator.
        """
        work = _Work(build_worker)
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="maskloop")
        waiting: deque[Future[R]] = deque()
        try:
            for indexed in enumerate(items):
                waiting.append(pool.submit(work, indexed))
                if len(waiting) >= self._in_flight:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Work(Generic[T, R]):
    """Calls this thread's own worker, built at its first item, one at a time: loading is not thread-safe."""

    def __init__(self, build_worker: Callable[[], Callable[[T], R]]) -> None:
        self._build_worker = build_worker
        self._building = threading.Lock()
        self._of_this_thread = threading.local()

    def __call__(self, indexed: tuple[int, T]) -> R:
        index, item = indexed
        worker: Callable[[T], R] | None = getattr(self._of_this_thread, "worker", None)
        if worker is None:
            with self._building:
                worker = self._build_worker()
            self._of_this_thread.worker = worker
        try:
            return worker(item)
        except Exception as exc:
            exc.add_note(f"while working on item {index}: {reprlib.repr(item)}")
            raise
