"""The most uncertain images first.

Uncertainty sampling: Lewis, Gale, "A Sequential Algorithm for Training Text Classifiers", SIGIR 1994.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from pipeline.acquisition import within_budget
from pipeline.domain.rounds import Budget, Candidate

__all__ = ["NEEDS_EMBEDDINGS", "Settings", "select"]

NEEDS_EMBEDDINGS = False


class Settings(BaseModel):
    """Nothing to choose: the weights of `score` have decided."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def select(
    candidates: Sequence[Candidate],
    budget: Budget,
    _rng: np.random.Generator,
    _settings: Settings,
    _labelled: npt.NDArray[np.float32] | None = None,
) -> list[str]:
    ranked = sorted(candidates, key=lambda candidate: (-candidate.uncertainty.value, candidate.sample_id))
    return within_budget(ranked, budget)
