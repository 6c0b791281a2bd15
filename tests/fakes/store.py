"""Records for tests of the store: small, valid, and different where it matters."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pipeline.domain.geometry import Box
from pipeline.domain.ingested import IngestedSample
from pipeline.domain.mask import Mask
from pipeline.domain.records import Annotation, Instance, Origin, OriginKind, Sample, Split, State

__all__ = ["NOON", "SIZE_HW", "annotation", "ingested", "instance", "sample", "sample_id"]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SIZE_HW = (20, 30)


def sample_id(number: int) -> str:
    return hashlib.sha256(f"sample {number}".encode()).hexdigest()


def sample(number: int, split: Split = "train", folder: Path = Path("/images")) -> Sample:
    return Sample(sample_id(number), folder / f"{number}.png", SIZE_HW, split, sample_id(number))


def instance(
    name: str = "one", state: State = State.ACCEPTED, kind: OriginKind = OriginKind.HUMAN, clicks: int = 0
) -> Instance:
    bitmap = np.zeros(SIZE_HW, dtype=np.bool_)
    bitmap[3:9, 4:12] = True
    bitmap[5:7, 6:8] = False
    mask = Mask.from_bitmap(bitmap)
    return Instance(name, "cat", mask.box or Box(0, 0, 1, 1), mask, Origin(kind, "anna"), state, clicks=clicks)


def ingested(
    number: int,
    split: Split = "train",
    labels: tuple[Instance, ...] | None = None,
    truth: tuple[Instance, ...] | None = None,
    folder: Path = Path("/images"),
) -> IngestedSample:
    one = sample(number, split, folder)
    return IngestedSample(one, one.path, (100 + number, 1_000 + number), labels, truth)


def annotation(number: int, *instances: Instance, round_: int = 1, seconds: float = 2.5) -> Annotation:
    return Annotation(
        sample_id(number), 0, instances, Origin(OriginKind.HUMAN, "anna"), round_, NOON, seconds=seconds
    )
