"""What a server remembers: the values used last, as many as fit a budget of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from pipeline.domain.prompts import Encoding

__all__ = ["Kept", "KeptEncodings"]

V = TypeVar("V")


class Kept(Generic[V]):
    """At most `budget_bytes` of values, each of which costs what `size_of` says, but at least the last one. Safe from
    many threads."""

    def __init__(self, budget_bytes: int, size_of: Callable[[V], int]) -> None:
        self._budget = budget_bytes
        self._size_of = size_of
        self._entries: OrderedDict[str, tuple[V, int]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}

    def get(self, key: str) -> V | None:
        """None for one that is not known, or no longer."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            self._entries.move_to_end(key)
            return found[0]

    def get_or_make(self, key: str, make: Callable[[], V]) -> V:
        """Of several that want the same one at the same time, one makes it. Raises whatever `make` raises."""
        with self._lock:
            turn = self._making.setdefault(key, threading.Lock())
        with turn:
            kept = self.get(key)
            if kept is not None:
                return kept
            try:
                made = make()
                self.put(key, made)
            finally:
                with self._lock:
                    self._making.pop(key, None)
            return made

    def put(self, key: str, value: V) -> None:
        """Instead of what was there; what was used least recently goes."""
        size = self._size_of(value)
        with self._lock:
            before = self._entries.pop(key, None)
            self._entries[key] = value, size
            self._size += size - (before[1] if before is not None else 0)
            while self._size > self._budget and len(self._entries) > 1:
                _, (_, gone) = self._entries.popitem(last=False)
                self._size -= gone


class KeptEncodings(Kept[Encoding]):
    """Of encodings."""

    def __init__(self, budget_bytes: int) -> None:
        super().__init__(budget_bytes, lambda encoding: encoding.size_bytes)
