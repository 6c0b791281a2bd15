"""evaluate: box and mask average precision on the frozen held-out split, and whether the model is promoted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipeline.domain.average_precision import ApAccumulator
from pipeline.domain.bootstrap import compare
from pipeline.domain.gate import Decision, decide
from pipeline.domain.hits import Hits
from pipeline.domain.metrics import Metrics
from pipeline.domain.prompts import Proposal
from pipeline.domain.records import Instance, Sample

__all__ = ["ANY_OTHER", "EvaluateSettings", "Judgement", "evaluate", "gate"]

ANY_OTHER = "*"
"""Among tolerances: every class that is not named."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
By = Literal["mask", "box"]


class EvaluateSettings(BaseModel):
    """How a model is judged.

    `split` is the held-out split. `confidence` is the floor the detector is built with here: average
    precision needs the doubtful detections too. Mask mAP50-95 decides, or box as `by` says: where held-out masks were
    made from boxes by a segmenter, only boxes are a person's word.

    A challenger is promoted if its gain over the champion is real: if the interval of the difference, of
    `confidence_level` and from `resamples` draws of the held-out images, lies over `min_gain`. A negative `min_gain`
    promotes what is not worse by more than that. And no class may lose more than its `tolerance`, one for all or by
    class ("*": any that is not named, which otherwise has none): this guards against forgetting, whatever the gain.
    1 switches it off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: Literal["val", "test"] = "val"
    confidence: Share = 0.001
    by: By = "mask"
    min_gain: Annotated[float, Field(ge=-1.0, le=1.0)] = 0.0
    tolerance: Mapping[str, Share] = {ANY_OTHER: 0.05}
    confidence_level: Annotated[float, Field(ge=0.5, lt=1.0)] = 0.95
    resamples: Annotated[int, Field(ge=100)] = 1000

    @field_validator("tolerance", mode="before")
    @classmethod
    def _one_for_all(cls, tolerance: object) -> object:
        return {ANY_OTHER: tolerance} if isinstance(tolerance, int | float) else tolerance

    def tolerances(self, classes: Sequence[str]) -> dict[str, float]:
        """What each class may lose."""
        return {name: self.tolerance.get(name, self.tolerance.get(ANY_OTHER, 0.0)) for name in classes}


@dataclass(frozen=True)
class Judgement:
    """What a model came to: its figures, and which of its masks (or boxes, `by`) hit, image by image."""

    metrics: Metrics
    hits: Hits
    by: By


def evaluate(
    answers: Iterable[tuple[Sample, Sequence[Proposal]]],
    truth: Callable[[str], tuple[Instance, ...]],
    classes: Sequence[str],
    by: By = "mask",
) -> Judgement:
    """Judge a model by its proposals for every held-out sample; `truth(sample_id)` gives what is there, nothing
    meaning a negative image. `answers` is read once, one at a time. By masks only where every truth has one.
    """
    scores = ApAccumulator(classes)
    for sample, proposals in answers:
        scores.add(sample.id, sample.size_hw, truth(sample.id), proposals)
    decisive: By = "mask" if by == "mask" and scores.has_masks else "box"
    return Judgement(scores.metrics(), scores.hits("segm" if decisive == "mask" else "bbox"), decisive)


def gate(
    candidate: Judgement,
    champion: Judgement,
    group_of: Mapping[str, str],
    settings: EvaluateSettings,
    rng: np.random.Generator,
) -> Decision:
    """Whether `candidate` takes the champion's place (see `domain.gate`). Both were judged on the same split, of
    whose images `group_of` knows the groups: those of one group are drawn together.
    """
    compared = compare(
        candidate.hits,
        champion.hits,
        [group_of[sample_id] for sample_id in candidate.hits.images],
        rng,
        by=candidate.by,
        resamples=settings.resamples,
        confidence_level=settings.confidence_level,
        min_gain=settings.min_gain,
    )
    return decide(
        compared,
        found=(candidate.hits.found, champion.hits.found),
        min_gain=settings.min_gain,
        tolerance=settings.tolerances(candidate.hits.classes),
    )
