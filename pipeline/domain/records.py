"""Who said what about which image: samples, instances, annotations."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Mask
from pipeline.errors import DataError, ShapeMismatch

__all__ = [
    "HUMAN_VERIFIED",
    "Annotation",
    "Before",
    "Instance",
    "Origin",
    "OriginKind",
    "Sample",
    "Split",
    "State",
]

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Sample:
    """One image of the pool.

    `id` is the SHA-256 of the original file's bytes; `path` is readable as the canonical frame (the
    original, or the copy that ingest made of it); `group` keeps samples that belong together in one split.
    """

    id: str
    path: Path
    size_hw: SizeHW
    split: Split
    group: str


class OriginKind(StrEnum):
    MODEL = "model"
    HUMAN = "human"
    IMPORTED = "imported"


@dataclass(frozen=True)
class Origin:
    """Who made something: a model by its name and digest, a person by name, a file by its name.

    `prompt` is what a model was asked with, such as "box 12.0,3.5,90.1,70.0", and `round` when; "" and None where
    that is not known, or means nothing.
    """

    kind: OriginKind
    name: str
    prompt: str = ""
    round: int | None = None


class State(StrEnum):
    """What has happened to an instance: a model proposes; only people accept, edit, draw or reject."""

    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    EDITED = "edited"
    DRAWN = "drawn"
    REJECTED = "rejected"


HUMAN_VERIFIED = frozenset({State.ACCEPTED, State.EDITED, State.DRAWN})
"""The states that count as a person's word for a mask."""


@dataclass(frozen=True)
class Before:
    """What a person saw of an object before giving a verdict on it, and who had made that."""

    origin: Origin
    label: str
    mask: Mask | None


@dataclass(frozen=True)
class Instance:
    """One object of one image. Scores are None where nobody computed them; `clicks` is what it took.

    `before` is what a person started from, None where nothing was shown; the instance itself is what came of it.
    """

    id: str
    label: str
    box: Box
    mask: Mask | None
    origin: Origin
    state: State
    confidence: float | None = None
    predicted_iou: float | None = None
    stability: float | None = None
    clicks: int = 0
    before: Before | None = None

    def __post_init__(self) -> None:
        if self.origin.kind is OriginKind.MODEL and self.state is not State.PROPOSED:
            raise DataError(f"instance {self.id}: a model cannot put a mask into state {self.state.value!r}")


@dataclass(frozen=True)
class Annotation:
    """One revision of everything that is said about one image; never changed, only followed by another.

    No instances means "looked at, nothing there", which is not the same as having no annotation.
    `seconds` is the time a person (or a simulated one) spent on it. One that is `withdrawn` was taken back later: it
    stays in the history, and speaks for nothing. A `partial` one speaks of its own instances alone, such as a
    reviewer's word on a single object; any other is its author's word on the whole image.
    """

    sample_id: str
    revision: int
    instances: tuple[Instance, ...]
    origin: Origin
    round: int
    created_at: datetime
    seconds: float = 0.0
    size_hw: SizeHW | None = field(default=None, compare=False)
    withdrawn: bool = False
    partial: bool = False

    def __post_init__(self) -> None:
        if self.created_at.tzinfo is None:
            raise DataError("an annotation's time must carry its zone (UTC)", sample_id=self.sample_id)
        sizes = {instance.mask.size_hw for instance in self.instances if instance.mask is not None}
        if self.size_hw is not None:
            sizes.add(self.size_hw)
        if len(sizes) > 1:
            raise ShapeMismatch(
                f"masks of one image have several sizes: {sorted(sizes)}", sample_id=self.sample_id
            )
        ids = [instance.id for instance in self.instances]
        if len(set(ids)) != len(ids):
            raise DataError("two instances of one annotation share an id", sample_id=self.sample_id)

    @property
    def clicks(self) -> int:
        return sum(instance.clicks for instance in self.instances)

    @property
    def present(self) -> tuple[Instance, ...]:
        """The instances that are there: everything but what a person rejected."""
        return tuple(instance for instance in self.instances if instance.state is not State.REJECTED)
