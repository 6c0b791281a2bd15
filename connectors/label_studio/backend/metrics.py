"""What the backend counts, for Prometheus; and how long the parts of one answer took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics", "Timings"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0)


class Timings:
    """The parts of one answer, in seconds, in the order they ended."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.parts: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what is done inside; several of one name add up."""
        begun = self._clock()
        try:
            yield
        finally:
            self.parts[name] = self.parts.get(name, 0.0) + self._clock() - begun

    def header(self) -> str:
        """As the header Server-Timing wants it, in milliseconds (https://www.w3.org/TR/server-timing/)."""
        return ", ".join(f"{name};dur={seconds * 1000:.1f}" for name, seconds in self.parts.items())


class Metrics:
    """One application's numbers. They name no task, no person and no address."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def counter(name: str, help_: str, *labels: str) -> Counter:
            return Counter(f"maskloop_{name}", help_, labels, registry=self._registry)

        def seconds(name: str, help_: str, *labels: str) -> Histogram:
            return Histogram(f"maskloop_{name}_seconds", help_, labels, registry=self._registry, buckets=_SECONDS)

        self.answers = counter("answers", "Answers by route and HTTP status", "route", "status")
        self.clicks = counter("clicks", "Interactive requests: mask, empty", "outcome")
        self.pictures = counter("pictures", "Pre-annotated images: done, kept or the kind of error", "outcome")
        self.hints = counter("hints", "Webhooks by action", "action")
        self.warmed = counter("warmed", "Images made ready ahead of clicks: done, failed", "outcome")
        self.seconds = seconds("answer", "Time to answer", "route")
        self.parts = seconds("click_part", "Time for the parts of a click", "part")
        self.places = Gauge("maskloop_places_taken", "Requests being answered or waiting", registry=self._registry)
        self.jobs = Gauge("maskloop_jobs", "Jobs by state", ["state"], registry=self._registry)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)
