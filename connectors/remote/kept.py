"""The encodings that a server remembers: those used last, as many as fit a budget of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from pipeline.domain.prompts import Encoding

__all__ = ["KeptEncodings"]


class KeptEncodings:
    """At most `budget_bytes` of encodings, but at least the last one. Safe from many threads."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._entries: OrderedDict[str, Encoding] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}

    def get(self, key: str) -> Encoding | None:
        """None for one that is not known, or no longer."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def get_or_make(self, key: str, make: Callable[[], Encoding]) -> Encoding:
        """Of several that want the same one at the same time, one makes it. Raises whatever `make` raises."""
        with self._lock:
            turn = self._making.setdefault(key, threading.Lock())
        with turn:
            kept = self.get(key)
            if kept is not None:
                return kept
            try:
                made = make()
                self._put(key, made)
            finally:
                with self._lock:
                    self._making.pop(key, None)
            return made

    def _put(self, key: str, encoding: Encoding) -> None:
        with self._lock:
            before = self._entries.pop(key, None)
            self._entries[key] = encoding
            self._size += encoding.size_bytes - (before.size_bytes if before is not None else 0)
            while self._size > self._budget and len(self._entries) > 1:
                _, gone = self._entries.popitem(last=False)
                self._size -= gone.size_bytes
