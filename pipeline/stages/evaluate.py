"""evaluate: box and mask average precision on the frozen held-out split, and whether the model is promoted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.domain.answers import checked_answer
from pipeline.domain.average_precision import ApAccumulator
from pipeline.domain.geometry import Image
from pipeline.domain.metrics import Metrics
from pipeline.domain.records import Instance, Sample
from pipeline.events import Emit, silent
from pipeline.ports import Detector

__all__ = ["EvaluateSettings", "better", "evaluate"]


class EvaluateSettings(BaseModel):
    """How a model is judged.

    `split` is the held-out split. `confidence` is the floor the detector is built with here: average
    precision needs the doubtful detections too. A challenger must gain more than `min_gain` to be promoted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: Literal["val", "test"] = "val"
    batch: int = Field(default=16, ge=1)
    confidence: float = Field(default=0.001, ge=0.0, le=1.0)
    min_gain: float = Field(default=0.0, ge=0.0, le=1.0)


def evaluate(
    samples: Iterable[Sample],
    read_image: Callable[[Sample], Image],
    detector: Detector,
    truth: Callable[[str], tuple[Instance, ...]],
    classes: Sequence[str],
    *,
    settings: EvaluateSettings,
    emit: Emit = silent,
) -> Metrics:
    """Judge `detector` on `samples`; `truth(sample_id)` gives what is there, nothing meaning a negative image.

    The held-out split is frozen, so nothing is skipped: an image that cannot be read any more raises
    ImageUnreadable. Raises BackendRejected for an answer that breaks the port's promises.
    Tells `evaluate.batch` with `done`, the number of images.
    """
    scores = ApAccumulator(classes)
    remaining = iter(samples)
    while batch := list(islice(remaining, settings.batch)):
        sample_ids = [sample.id for sample in batch]
        sizes_hw = [sample.size_hw for sample in batch]
        raw = detector.propose([read_image(sample) for sample in batch], sample_ids)
        answer = checked_answer(raw, sample_ids, sizes_hw, classes, backend=detector.name)
        for sample, proposals in zip(batch, answer, strict=True):
            scores.add(sample.id, sample.size_hw, truth(sample.id), proposals)
        emit("evaluate.batch", done=len(batch))
    return scores.metrics()


def better(candidate: Metrics, champion: Metrics | None, settings: EvaluateSettings) -> bool:
    """Whether `candidate` takes the champion's place. Both were measured on the same split.

    A simple gate: mask mAP50-95 decides, box mAP50-95 where the split has no complete mask truth; the gain
    must exceed `min_gain`, so a tie keeps the champion. It knows no confidence interval: on a small split a
    lucky model can win. A candidate without a figure never wins; without a champion any figure does.
    """
    by_mask = candidate.mask_map50_95 is not None
    challenge = candidate.mask_map50_95 if by_mask else candidate.box_map50_95
    if challenge is None:
        return False
    if champion is None:
        return True
    standing = champion.mask_map50_95 if by_mask else champion.box_map50_95
    return standing is None or challenge - standing > settings.min_gain
