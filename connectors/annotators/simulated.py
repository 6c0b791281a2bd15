"""A person played from known truth: accepts, corrects with clicks, rejects, adds; counts clicks and seconds.

For measuring and for demonstrations. Everything it says bears the name `simulated`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from connectors.simulated.person import NAME, Desk, Person
from connectors.simulated.settings import Settings
from connectors.simulated.tasks import Inbox, Task
from pipeline.domain.records import Annotation, Instance, Origin, OriginKind
from pipeline.errors import ConfigError, DataError, ShapeMismatch
from pipeline.ports import Annotator, Collected, Resources, TaskItem

__all__ = ["REQUIRES", "Settings", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {}


def build(settings: Settings, resources: Resources) -> Annotator:
    """Raises ConfigError where several people are to answer."""
    if resources.people > 1:
        raise ConfigError("the simulated person is one, and answers each task once", key="collect.people")
    return _Simulated(settings, resources)


class _Simulated:
    """Tasks are files in the work folder, so that a later process can answer what an earlier one asked.

    Answers are worked out one at a time while they are collected. Their randomness hangs on the seed, the
    sample and the round alone: interrupted or not, every process says the same.
    """

    name = NAME

    def __init__(self, settings: Settings, resources: Resources) -> None:
        self._person = Person(settings, resources.classes)
        self._resources = resources
        self._segmenter = functools.cache(resources.segmenter)
        self._inbox = Inbox(resources.work / "tasks")

    def submit(self, items: Sequence[TaskItem]) -> Mapping[str, str]:
        """Raises DataError for a sample whose truth is not known, ShapeMismatch for truth of another size."""
        for item in items:
            self._truth(item.sample.id, item.sample.size_hw)
        return self._inbox.submit(items)

    def collect(self, since: str | None) -> Iterator[Collected]:
        for task in self._inbox.after(since):
            yield Collected(self._annotation(task), task.id, task.cursor)

    def _annotation(self, task: Task) -> Annotation:
        sample = task.sample
        truth = self._truth(sample.id, sample.size_hw)
        desk = Desk(lambda: self._resources.read_image(sample), self._segmenter)
        answer = self._person.answer(task, truth, desk, self._rng(task))
        return Annotation(
            sample_id=sample.id,
            revision=0,
            instances=answer.instances,
            origin=Origin(OriginKind.HUMAN, NAME),
            round=task.round,
            created_at=self._resources.now(),
            seconds=answer.seconds,
            size_hw=sample.size_hw,
        )

    def _truth(self, sample_id: str, size_hw: tuple[int, int]) -> tuple[Instance, ...]:
        truth = self._resources.truth(sample_id)
        if truth is None:
            raise DataError("the simulated annotator needs truth, and none is known", sample_id=sample_id)
        for instance in truth:
            if instance.mask is not None and instance.mask.size_hw != size_hw:
                raise ShapeMismatch(
                    f"truth {instance.id} is {instance.mask.size_hw}, the image is {size_hw}", sample_id=sample_id
                )
        return truth

    def _rng(self, task: Task) -> np.random.Generator:
        """From what identifies the task: the order of work and the process do not matter."""
        key = f"{self._resources.seed}\n{task.sample.id}\n{task.round}"
        return np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big"))
