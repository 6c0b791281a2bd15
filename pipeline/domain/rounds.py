"""One turn of the loop: evidence, doubt, the chosen few, the models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import SizeHW
from pipeline.domain.metrics import Metrics
from pipeline.domain.prompts import MaskPrediction, Proposal
from pipeline.errors import DataError

__all__ = [
    "STAGES",
    "Budget",
    "Candidate",
    "Evidence",
    "Finding",
    "ModelRef",
    "Round",
    "RunState",
    "Selection",
    "Uncertainty",
]

STAGES = (
    "ingest",
    "propose",
    "segment",
    "score",
    "select",
    "submit",
    "collect",
    "merge",
    "train",
    "evaluate",
)
"""The stages of a round, in order: one word everywhere."""


@dataclass(frozen=True)
class Finding:
    """One proposed object and the segmenter's mask for it (None: the segmenter saw no mask)."""

    proposal: Proposal
    prediction: MaskPrediction | None


@dataclass(frozen=True)
class Evidence:
    """All that the models found in one image; what measures judge."""

    sample_id: str
    size_hw: SizeHW
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Uncertainty:
    """How doubtful one image is, in [0, 1] (1 = ask a person); `parts` by measure."""

    sample_id: str
    value: float
    parts: Mapping[str, float]
    instances: int

    def __post_init__(self) -> None:
        for name, value in {"value": self.value, **self.parts}.items():
            if not (math.isfinite(value) and 0.0 <= value <= 1.0):
                raise DataError(f"uncertainty {name!r} is {value}, not in [0, 1]", sample_id=self.sample_id)


@dataclass(frozen=True)
class Candidate:
    """An image that may be asked about. `embedding` is `float32 (d,)`, None if the selector needs none."""

    sample_id: str
    uncertainty: Uncertainty
    embedding: npt.NDArray[np.float32] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Budget:
    """How much may be asked in one round, in images or in proposed instances."""

    unit: Literal["images", "instances"]
    amount: int


@dataclass(frozen=True)
class Selection:
    """The images asked about in one round, most wanted first."""

    round: int
    ranked: tuple[str, ...]
    strategy: str
    budget: Budget
    seed: int


@dataclass(frozen=True)
class ModelRef:
    """A trained model: its weights file, their SHA-256, and what it knows."""

    id: str
    weights: Path
    sha256: str
    class_names: tuple[str, ...]
    trained_on: str | None = None


class RunState(StrEnum):
    """Where a workspace stands."""

    NEW = "new"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"


@dataclass(frozen=True)
class Round:
    """What one finished round did, as `pipeline status` tells it. Counts are totals up to this round."""

    round: int
    labelled: int
    instances: int
    clicks: int
    human_seconds: float
    promoted: bool
    metrics: Metrics
