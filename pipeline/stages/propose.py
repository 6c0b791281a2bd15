"""propose: the detector's guesses at every object of an image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pydantic import BaseModel, ConfigDict, Field

from pipeline.domain.answers import checked_answer
from pipeline.domain.geometry import Image
from pipeline.domain.prompts import Proposal
from pipeline.events import Emit, silent
from pipeline.ports import Detector

__all__ = ["ProposeSettings", "propose"]


class ProposeSettings(BaseModel):
    """`batch` images go to the detector at once, and are what an interrupted run repeats at most."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = Field(default=16, ge=1)


def propose(
    batches: Iterable[Sequence[tuple[str, Image]]],
    detector: Detector,
    classes: Sequence[str],
    emit: Emit = silent,
) -> Iterator[tuple[str, list[Proposal]]]:
    """Proposals of every (sample id, image), in the order they came; reads one batch at a time.

    Tells `propose.answered` with `images`, `proposals` and `dropped` (boxes with nothing inside their image).
    Raises BackendRejected for an answer that breaks the port's promises (see `checked_answer`).
    """
    for batch in batches:
        sample_ids = [sample_id for sample_id, _ in batch]
        images = [image for _, image in batch]
        sizes_hw = [(int(image.shape[0]), int(image.shape[1])) for image in images]
        raw = detector.propose(images, sample_ids)
        answer = checked_answer(raw, sample_ids, sizes_hw, classes, backend=detector.name)
        kept = sum(len(proposals) for proposals in answer)
        dropped = sum(len(proposals) for proposals in raw) - kept
        emit("propose.answered", images=len(batch), proposals=kept, dropped=dropped)
        yield from zip(sample_ids, answer, strict=True)
