"""evaluate: box and mask average precision on the frozen held-out split, and whether the model is promoted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.domain.average_precision import ApAccumulator
from pipeline.domain.metrics import Metrics
from pipeline.domain.prompts import Proposal
from pipeline.domain.records import Instance, Sample

__all__ = ["EvaluateSettings", "better", "evaluate"]


class EvaluateSettings(BaseModel):
    """How a model is judged.

    `split` is the held-out split. `confidence` is the floor the detector is built with here: average
    precision needs the doubtful detections too. A challenger must gain more than `min_gain` to be promoted, in
    mask or in box mAP50-95 as `by` says: where held-out masks were made from boxes by a segmenter, only boxes
    are a person's word.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: Literal["val", "test"] = "val"
    confidence: float = Field(default=0.001, ge=0.0, le=1.0)
    min_gain: float = Field(default=0.0, ge=0.0, le=1.0)
    by: Literal["mask", "box"] = "mask"


def evaluate(
    answers: Iterable[tuple[Sample, Sequence[Proposal]]],
    truth: Callable[[str], tuple[Instance, ...]],
    classes: Sequence[str],
) -> Metrics:
    """Judge a model by its proposals for every held-out sample; `truth(sample_id)` gives what is there, nothing
    meaning a negative image. `answers` is read once, one at a time.
    """
    scores = ApAccumulator(classes)
    for sample, proposals in answers:
        scores.add(sample.id, sample.size_hw, truth(sample.id), proposals)
    return scores.metrics()


def better(candidate: Metrics, champion: Metrics | None, settings: EvaluateSettings) -> bool:
    """Whether `candidate` takes the champion's place. Both were measured on the same split.

    A simple gate: mask mAP50-95 decides, or box mAP50-95 by choice and where not every truth has a mask; the gain
    must exceed `min_gain`, so a tie keeps the champion. It knows no confidence interval: on a small split a
    lucky model can win. A candidate without a figure never wins; without a champion any figure does.
    Where the split has no truth at all, no model can ever have a figure: then the newest, which has learnt
    from the most answers, takes over, or the loop would never use what people said.
    """
    by_mask = settings.by == "mask" and candidate.mask_map50_95 is not None
    challenge = candidate.mask_map50_95 if by_mask else candidate.box_map50_95
    if challenge is None:
        return candidate.instances == 0
    if champion is None:
        return True
    standing = champion.mask_map50_95 if by_mask else champion.box_map50_95
    return standing is None or challenge - standing > settings.min_gain
