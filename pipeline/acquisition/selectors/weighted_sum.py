"""A weighted mean of the measures, weighed anew: other weights need no other scores.

Combining criteria linearly: Shen et al., "Multi-Criteria-based Active Learning for Named Entity
Recognition", ACL 2004.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from pipeline.acquisition import within_budget
from pipeline.domain.rounds import Budget, Candidate
from pipeline.errors import ConfigError

__all__ = ["NEEDS_EMBEDDINGS", "Settings", "select"]

NEEDS_EMBEDDINGS = False


class Settings(BaseModel):
    """`weights` by measure; each must be among those that `score` has computed. Only their ratios matter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: Annotated[
        Mapping[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]],
        Field(min_length=1),
    ]


def select(
    candidates: Sequence[Candidate],
    budget: Budget,
    _rng: np.random.Generator,
    settings: Settings,
    _labelled: npt.NDArray[np.float32] | None = None,
) -> list[str]:
    """Raises ConfigError for a weight on a measure that was not computed."""
    ranked = sorted(candidates, key=lambda candidate: (-_sum(candidate, settings.weights), candidate.sample_id))
    return within_budget(ranked, budget)


def _sum(candidate: Candidate, weights: Mapping[str, float]) -> float:
    parts = candidate.uncertainty.parts
    unknown = sorted(set(weights) - set(parts))
    if unknown:
        raise ConfigError(
            f"{unknown[0]!r} was not scored (scored: {', '.join(sorted(parts))}); add it to score.measures",
            key="select.weights",
        )
    return sum(weight * parts[name] for name, weight in sorted(weights.items()))
