"""The next tasks' encodings, made while people look at this one."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable

from connectors.label_studio.backend.metrics import Metrics
from connectors.label_studio.backend.pictures import Pictures
from connectors.label_studio.backend.services import Services
from pipeline.domain.records import Sample
from pipeline.errors import PipelineError

__all__ = ["Warmer"]

_log = logging.getLogger(__name__)

_NICE = 15
_REMEMBERED = 100_000


class Warmer:
    """One thread of the lowest priority, which begins no image while somebody waits for an answer (`busy`)."""

    def __init__(
        self, services: Services, pictures: Pictures, metrics: Metrics, *, ahead: int, busy: Callable[[], bool]
    ) -> None:
        self._services = services
        self._pictures = pictures
        self._metrics = metrics
        self._ahead = ahead
        self._busy = busy
        self._after: str | None = None
        self._wanted = threading.Event()
        self._ending = threading.Event()
        self._done: OrderedDict[str, None] = OrderedDict()
        self._thread = threading.Thread(target=self._run, name="warming", daemon=True)

    def start(self) -> None:
        """Begin with the head of the queue."""
        if self._ahead and self._services.segmenter.storable:
            self._thread.start()
            self._wanted.set()

    def after(self, sample_id: str | None) -> None:
        """Somebody works on this sample: those that follow it in the queue are next."""
        self._after = sample_id
        self._wanted.set()

    def stop(self) -> None:
        """End after the image at hand."""
        self._ending.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(30)

    def _run(self) -> None:
        # On Linux a thread has a niceness of its own; elsewhere it cannot be had, and is not needed.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while not self._ending.is_set():
            self._wanted.wait()
            self._wanted.clear()
            try:
                self._warm()
            except PipelineError as exc:
                _log.warning("the queue cannot be read: %s", type(exc).__name__)

    def _warm(self) -> None:
        for sample in self._next():
            while self._busy() and not self._ending.is_set():
                self._ending.wait(0.05)
            if self._ending.is_set():
                return
            try:
                self._pictures.encoding(self._pictures.of_sample(sample))
                self._metrics.warmed.labels("done").inc()
            except PipelineError as exc:
                # A click on it will say what is wrong.
                self._metrics.warmed.labels("failed").inc()
                _log.warning("image %s cannot be made ready: %s", sample.id[:12], type(exc).__name__)
            self._done[sample.id] = None
            if len(self._done) > _REMEMBERED:
                self._done.popitem(last=False)

    def _next(self) -> list[Sample]:
        """The next of the queue after the one at hand that are not ready yet, and then those at its head."""
        queue = list(self._services.queue())
        here = next((index + 1 for index, one in enumerate(queue) if one.id == self._after), 0)
        near = [*queue[here : here + self._ahead], *queue[: self._ahead]]
        return [one for one in dict.fromkeys(near) if one.id not in self._done][: self._ahead]
