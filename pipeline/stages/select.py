"""select: doubtful images and a budget -> the few that people are asked about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.acquisition import load_selector
from pipeline.domain.records import Split
from pipeline.domain.rounds import Budget, Candidate, Selection
from pipeline.errors import DataError, SplitLeak, UnknownPeer

__all__ = ["BudgetSettings", "SelectSettings", "select"]

Amount = Annotated[int, Field(ge=1)]


class BudgetSettings(BaseModel):
    """How much is asked in one round: either `images`, or proposed `instances`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: Amount | None = None
    instances: Amount | None = None

    @model_validator(mode="after")
    def _one(self) -> BudgetSettings:
        if (self.images is None) == (self.instances is None):
            raise ValueError("give either images or instances")
        return self

    @property
    def budget(self) -> Budget:
        if self.images is not None:
            return Budget("images", self.images)
        return Budget("instances", self.instances or 0)


class SelectSettings(BaseModel):
    """Which selector, its budget, and the selector's own settings beside them (every other key)."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str = "top_k"
    budget: BudgetSettings

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        try:
            load_selector(kind)
        except UnknownPeer as exc:
            raise ValueError(str(exc)) from exc
        return kind

    @model_validator(mode="after")
    def _checked(self) -> SelectSettings:
        load_selector(self.kind).Settings.model_validate(self.settings)
        return self

    @property
    def settings(self) -> dict[str, Any]:
        """The keys that are the selector's own."""
        return dict(self.model_extra or {})

    @property
    def needs_embeddings(self) -> bool:
        return load_selector(self.kind).NEEDS_EMBEDDINGS


def select(
    candidates: Sequence[Candidate],
    settings: SelectSettings,
    *,
    splits: Mapping[str, Split],
    round: int,  # noqa: A002 - the noun is `round` everywhere
    seed: int,
    labelled: npt.NDArray[np.float32] | None = None,
) -> Selection:
    """Rank the candidates within the budget; the same arguments give the same selection.

    `splits` holds the split of every candidate; `labelled` is `float32 (m, d)`, the embeddings of labelled
    images. Raises SplitLeak for a candidate that is held out, DataError for an unknown or repeated one.
    """
    seen: set[str] = set()
    for candidate in candidates:
        split = splits.get(candidate.sample_id)
        if split is None:
            raise DataError("a candidate is in no split", sample_id=candidate.sample_id)
        if split != "train":
            raise SplitLeak(
                f"it is in the held-out split {split!r} and must not be asked", sample_id=candidate.sample_id
            )
        if candidate.sample_id in seen:
            raise DataError("it is a candidate twice", sample_id=candidate.sample_id)
        seen.add(candidate.sample_id)
    selector = load_selector(settings.kind)
    own = selector.Settings.model_validate(settings.settings)
    budget = settings.budget.budget
    ranked = selector.select(candidates, budget, np.random.default_rng([seed, round]), own, labelled)
    return Selection(round, tuple(ranked), settings.kind, budget, seed)
