"""collect: what people have answered -> annotations that fit this project, or the reason why one does not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pipeline.domain.records import Annotation, OriginKind, Sample
from pipeline.errors import DataError, ShapeMismatch, SplitLeak
from pipeline.events import Emit, silent
from pipeline.ports import Annotator, Collected, NoAnswer, Unusable

__all__ = ["CollectSettings", "Refused", "collect"]


class CollectSettings(BaseModel):
    """A round goes on when so many different `people` have answered each of its tasks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    people: Annotated[int, Field(ge=1, le=100)] = 1


@dataclass(frozen=True)
class Refused:
    """An answer that cannot be used: to be quarantined with its reason. `cursor` goes on after it."""

    sample_id: str
    task_id: str
    cursor: str
    error: DataError


def collect(
    annotator: Annotator,
    since: str | None,
    *,
    sample_of: Callable[[str], Sample | None],
    classes: Collection[str],
    emit: Emit = silent,
) -> Iterator[Collected | NoAnswer | Refused]:
    """Answers after the cursor `since`, one at a time, in the annotator's order.

    `sample_of(sample_id)` is None for an unknown sample. Refused are answers for unknown samples (DataError),
    for held-out ones (SplitLeak: nobody was asked, and their truth is frozen), with a label that is no class
    (DataError), a mask of another size than the image (ShapeMismatch), or not by a person (DataError); the
    answers after a refused one still come. Unusable ones are only told of; where there is no answer, that is passed on.
    """
    for answer in annotator.collect(since):
        if isinstance(answer, Unusable):
            emit("collect.unusable", what=answer.what, reason=answer.reason)
            continue
        if isinstance(answer, NoAnswer):
            emit("collect.no_answer", sample=answer.sample_id, reason=answer.reason)
            yield answer
            continue
        annotation = answer.annotation
        try:
            _check(annotation, sample_of(annotation.sample_id), classes)
        except DataError as exc:
            emit("collect.refused", sample=annotation.sample_id, reason=exc.reason)
            yield Refused(annotation.sample_id, answer.task_id, answer.cursor, exc)
        else:
            emit("collect.answer", sample=annotation.sample_id, seconds=annotation.seconds)
            yield answer


def _check(annotation: Annotation, sample: Sample | None, classes: Collection[str]) -> None:
    sample_id = annotation.sample_id
    if sample is None:
        raise DataError("an answer came for a sample that this workspace does not know", sample_id=sample_id)
    if sample.split != "train":
        raise SplitLeak(f"an answer came for the held-out split {sample.split!r}", sample_id=sample_id)
    if annotation.origin.kind is not OriginKind.HUMAN:
        raise DataError(f"the answer is by {annotation.origin.name!r}, not by a person", sample_id=sample_id)
    if annotation.size_hw not in (None, sample.size_hw):
        raise ShapeMismatch(
            f"the answer is for {annotation.size_hw}, the image is {sample.size_hw}", sample_id=sample_id
        )
    for instance in annotation.instances:
        if instance.label not in classes:
            raise DataError(
                f"label {instance.label!r} is no class of this project (classes: {', '.join(classes)})",
                sample_id=sample_id,
            )
        if instance.mask is not None and instance.mask.size_hw != sample.size_hw:
            raise ShapeMismatch(
                f"mask {instance.id} is {instance.mask.size_hw}, the image is {sample.size_hw}",
                sample_id=sample_id,
            )
