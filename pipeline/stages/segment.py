"""segment: a mask for every proposed box."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import ConfigDict, Field

from pipeline.domain.geometry import Box, Image, SizeHW
from pipeline.domain.prompts import Encoding, MaskPrediction, Prompt, Proposal
from pipeline.errors import BackendRejected, DataError
from pipeline.events import Emit, silent
from pipeline.ports import Executor, Segmenter
from pipeline.segmenting.careful import MOST_PROMPTS
from pipeline.segmenting.cleaning import MaskSettings

__all__ = ["SegmentSettings", "segment"]

Item = tuple[str, Image, Sequence[Proposal]]
Answer = tuple[str, list[MaskPrediction | None]]


class SegmentSettings(MaskSettings):
    """How boxes become prompts; and, for every use of the segmenter, which masks count and how they are cleaned.

    `box_expand` moves every side of a box outwards by this share of the box's width or height; detectors cut
    corners. `chunk` prompts are decoded at once: that bounds the memory of an image with thousands of boxes. A
    segmenter that gives each of its boxes another mask (fastsam) does so within a chunk.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    box_expand: Annotated[float, Field(ge=0, le=1)] = 0.0
    chunk: Annotated[int, Field(ge=1, le=MOST_PROMPTS)] = 512


def segment(
    items: Iterable[Item],
    segmenter: Segmenter,
    settings: SegmentSettings,
    executor: Executor,
    emit: Emit = silent,
) -> Iterator[Answer]:
    """The masks of every (sample id, image, proposals), in the order they came; reads ahead as `executor` does.

    One entry per proposal, in order; None where the segmenter saw no mask, or where the box has nothing inside
    the image. An image is encoded once, and not at all without proposals. Logits are not kept.

    Tells `segment.answered` with `images`, `proposals` and `masks`. Raises BackendRejected for an answer that
    breaks the port's promises, DataError naming the sample for a box that is not finite or inverted.
    """

    def work(item: Item) -> Answer:
        sample_id, image, proposals = item
        return sample_id, _segment_one(sample_id, image, proposals, segmenter, settings)

    for sample_id, predictions in executor.map(lambda: work, items):
        masks = sum(prediction is not None for prediction in predictions)
        emit("segment.answered", images=1, proposals=len(predictions), masks=masks)
        yield sample_id, predictions


def _segment_one(
    sample_id: str, image: Image, proposals: Sequence[Proposal], segmenter: Segmenter, settings: SegmentSettings
) -> list[MaskPrediction | None]:
    size_hw = (int(image.shape[0]), int(image.shape[1]))
    boxes = [_expanded(proposal.box, settings.box_expand).clipped(size_hw) for proposal in proposals]
    asked = [index for index, box in enumerate(boxes) if not _is_empty(box)]
    predictions: list[MaskPrediction | None] = [None] * len(boxes)
    if not asked:
        return predictions
    try:
        prompts = [Prompt(box=boxes[index], label=proposals[index].label) for index in asked]
    except DataError as exc:
        raise DataError(exc.reason, sample_id=sample_id) from exc
    encoding = _encoded(sample_id, image, segmenter)
    for start in range(0, len(asked), settings.chunk):
        chunk = prompts[start : start + settings.chunk]
        answers = segmenter.decode(encoding, chunk)
        complaint = _complaint(answers, len(chunk), size_hw)
        if complaint is not None:
            raise BackendRejected(
                f"its answer for image {sample_id} has {complaint}", backend=segmenter.name, operation="segment"
            )
        for index, (best, *_) in zip(asked[start:], answers, strict=False):
            predictions[index] = replace(best, logits=None) if best.mask.area_px else None
    return predictions


def _expanded(box: Box, share: float) -> Box:
    dx, dy = share * box.width, share * box.height
    return Box(box.x1 - dx, box.y1 - dy, box.x2 + dx, box.y2 + dy)


def _is_empty(box: Box) -> bool:
    """No width or no height; an inverted box, or one that is not finite, is a fault and not empty."""
    return box.x1 == box.x2 or box.y1 == box.y2


def _encoded(sample_id: str, image: Image, segmenter: Segmenter) -> Encoding:
    encodings = segmenter.encode([image])
    if len(encodings) != 1:
        raise BackendRejected(
            f"{len(encodings)} encodings for the one image {sample_id}", backend=segmenter.name, operation="encode"
        )
    return encodings[0]


def _complaint(answers: Sequence[Sequence[MaskPrediction]], prompts: int, size_hw: SizeHW) -> str | None:
    """What is wrong with a decoded chunk, in words; None if nothing is."""
    if len(answers) != prompts:
        return f"{len(answers)} entries for {prompts} prompts"
    if not all(answers):
        return "an entry without any prediction"
    for best, *_ in answers:
        if best.mask.size_hw != size_hw:
            return f"a mask of {best.mask.size_hw}, the image is {size_hw}"
        if not (0.0 <= best.predicted_iou <= 1.0 and 0.0 <= best.stability <= 1.0):
            return f"scores outside [0, 1]: {best.predicted_iou}, {best.stability}"
    return None
