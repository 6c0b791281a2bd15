"""Many tasks at once: the machine's masks, exactly one prediction for each task, in order.

A task that has a prediction of this very model version, because it was imported with it, keeps that one: its regions
and their ids stay what people may have begun to work on. An image that cannot be read or answered gets a prediction
without regions; the reason stands in the log and in the metrics, and the other tasks go on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from connectors.label_studio.backend.bodies import Saved, Task
from connectors.label_studio.backend.metrics import Metrics
from connectors.label_studio.backend.pictures import Pictures
from connectors.label_studio.backend.services import Services
from connectors.label_studio.convert import prediction
from connectors.label_studio.labeling_config import Tags
from pipeline.domain.geometry import Image
from pipeline.errors import PipelineError

__all__ = ["preannotations"]

_log = logging.getLogger(__name__)

Prediction = dict[str, Any]


def preannotations(
    tasks: Sequence[Task], tags: Tags, services: Services, pictures: Pictures, metrics: Metrics, *, batch: int
) -> Iterator[Prediction]:
    """One prediction for each task, in order; `batch` images are in memory at once."""
    version = services.model_version()
    for start in range(0, len(tasks), batch):
        part = tasks[start : start + batch]
        made: dict[int, Prediction] = {}
        images: dict[int, tuple[str, Image]] = {}
        for index, task in enumerate(part):
            known = _known(task, version)
            if known is not None:
                metrics.pictures.labels("kept").inc()
                made[index] = {"model_version": version, "score": known.score or 0.0, "result": known.result}
                continue
            try:
                images[index] = pictures.find(task, tags.value).load()
            except PipelineError as exc:
                made[index] = _failed(task, exc, version, metrics)
        for index, answer in zip(images, services.propose(list(images.values())), strict=True):
            if isinstance(answer, PipelineError):
                made[index] = _failed(part[index], answer, version, metrics)
            else:
                metrics.pictures.labels("done").inc()
                made[index] = prediction(answer, tags, model_version=version)
        yield from (made[index] for index in range(len(part)))


def _known(task: Task, version: str) -> Saved | None:
    """The newest prediction of this version, if it holds anything."""
    return next((row for row in task.saved("predictions") if row.model_version == version and row.result), None)


def _failed(task: Task, exc: PipelineError, version: str, metrics: Metrics) -> Prediction:
    kind = type(exc).__name__
    metrics.pictures.labels(kind).inc()
    _log.warning("task %.40r gets no masks: %s: %.200s", task.id, kind, exc)
    return {"model_version": version, "score": 0.0, "result": []}
