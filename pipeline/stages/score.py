"""score: what the models found -> how doubtful each image is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipeline.acquisition import REDUCERS, Measure, load_measure
from pipeline.domain.rounds import Evidence, Uncertainty
from pipeline.errors import DataError, ShapeMismatch, UnknownPeer
from pipeline.events import Emit, silent

__all__ = ["ScoreSettings", "score"]

Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ScoreSettings(BaseModel):
    """`measures`: weight by name; the image's value is their weighted mean. `reduce`: from findings to image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    measures: Annotated[Mapping[str, Weight], Field(min_length=1)] = {"least_confidence": 1.0}
    reduce: Literal["max", "mean", "top3"] = "max"

    @field_validator("measures")
    @classmethod
    def _known(cls, weights: Mapping[str, float]) -> Mapping[str, float]:
        for name in weights:
            try:
                load_measure(name)
            except UnknownPeer as exc:
                raise ValueError(str(exc)) from exc
        return weights


def score(
    evidence: Iterable[Evidence],
    settings: ScoreSettings,
    rng_for: Callable[[str], np.random.Generator],
    emit: Emit = silent,
) -> Iterator[Uncertainty]:
    """One uncertainty an image, in order, each computed when it is asked for.

    `rng_for(sample_id)` is the image's own source of randomness; measures use it in the order of their names.
    Raises DataError if a measure gives a value that is not finite or not in [0, 1].
    """
    modules = {name: load_measure(name) for name in sorted(settings.measures)}
    total = sum(settings.measures.values())
    for item in evidence:
        rng = rng_for(item.sample_id)
        parts = {name: _image_value(name, module, item, settings.reduce, rng) for name, module in modules.items()}
        value = sum(settings.measures[name] * part for name, part in parts.items()) / total
        yield Uncertainty(item.sample_id, min(value, 1.0), parts, len(item.findings))
        emit("score.image", sample=item.sample_id, value=value)


def _image_value(name: str, module: Measure, evidence: Evidence, reducer: str, rng: np.random.Generator) -> float:
    values = module.measure(evidence, rng)
    expected = len(evidence.findings) if module.EMPTY is not None else 1
    if values.shape != (expected,):
        raise ShapeMismatch(
            f"measure {name!r} gave {values.shape} values, not ({expected},)", sample_id=evidence.sample_id
        )
    if not (np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()):
        raise DataError(
            f"measure {name!r} gave {values.tolist()}, not all in [0, 1]", sample_id=evidence.sample_id
        )
    if module.EMPTY is not None and values.size == 0:
        return module.EMPTY
    return REDUCERS[reducer](values)
