"""Webhooks: hints that a round may have something to do.

Nothing that a webhook says is believed. New annotations are counted, not read, and a run is started when enough of them
have come and none has come for a while: the run itself asks Label Studio what there is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Hints"]

_ANNOTATED = frozenset({"ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"})
_KNOWN = _ANNOTATED | {"START_TRAINING", "TASKS_CREATED", "TASKS_DELETED", "PROJECT_UPDATED"}


class Hints:
    """`start` is called with a reason: at once for START_TRAINING, and after `run_after` changes of annotations and
    `quiet_s` without another. With `run_after` 0 changes start nothing."""

    def __init__(self, start: Callable[[str], object], *, run_after: int, quiet_s: float) -> None:
        self._start = start
        self._run_after = run_after
        self._quiet_s = quiet_s
        self._count = 0
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def hear(self, action: str) -> str:
        """The action, or "other" for one that is unknown: to be counted."""
        if action == "START_TRAINING":
            self._start("Start Training")
        elif action in _ANNOTATED and self._run_after:
            with self._lock:
                self._count += 1
                if self._count >= self._run_after:
                    self._wind()
        return action if action in _KNOWN else "other"

    def close(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()

    def _wind(self) -> None:
        """Begin the quiet time anew; called with the lock held."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(self._quiet_s, self._quiet)
        self._timer.daemon = True
        self._timer.start()

    def _quiet(self) -> None:
        with self._lock:
            count, self._count, self._timer = self._count, 0, None
        if count:
            self._start(f"{count} changed annotations")
