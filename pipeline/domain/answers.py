"""What a detector answers, checked before anything is built on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from pipeline.domain.geometry import SizeHW
from pipeline.domain.prompts import Proposal
from pipeline.errors import BackendRejected

__all__ = ["checked_answer"]


def checked_answer(
    answer: Sequence[Sequence[Proposal]],
    sample_ids: Sequence[str],
    sizes_hw: Sequence[SizeHW],
    classes: Sequence[str],
    *,
    backend: str,
) -> list[list[Proposal]]:
    """The proposals of each image, boxes clipped to it; a box with nothing inside the image is left out.

    Raises BackendRejected, naming the image, for a wrong number of answers, a label that is not among the
    classes, a box that is inverted or not finite, class probabilities that are not one in [0, 1] for each
    class, or a mask of another size than the image.
    """
    if len(answer) != len(sample_ids):
        raise BackendRejected(
            f"it answered {len(answer)} images, it was asked about {len(sample_ids)}",
            backend=backend,
            operation="propose",
        )
    checked = []
    for sample_id, size_hw, proposals in zip(sample_ids, sizes_hw, answer, strict=True):
        for proposal in proposals:
            complaint = _complaint(proposal, size_hw, classes)
            if complaint is not None:
                raise BackendRejected(
                    f"its answer for image {sample_id} has {complaint}", backend=backend, operation="propose"
                )
        clipped = [replace(proposal, box=proposal.box.clipped(size_hw)) for proposal in proposals]
        checked.append([proposal for proposal in clipped if proposal.box.area_px > 0])
    return checked


def _complaint(proposal: Proposal, size_hw: SizeHW, classes: Sequence[str]) -> str | None:
    """What is wrong with one proposal, in words; None if nothing is."""
    box, mask = proposal.box, proposal.mask
    probabilities = proposal.class_probs if proposal.class_probs is not None else (0.0,) * len(classes)
    faults = {
        f"a label that is not among the classes: {proposal.label!r}": proposal.label not in classes,
        f"a box that is not finite: {tuple(box)}": not all(math.isfinite(value) for value in box),
        f"an inverted box, not x1, y1, x2, y2: {tuple(box)}": box.x2 < box.x1 or box.y2 < box.y1,
        f"{len(probabilities)} class probabilities for {len(classes)} classes": len(probabilities) != len(classes),
        f"class probabilities outside [0, 1]: {probabilities}": not all(
            0 <= value <= 1 for value in probabilities
        ),
        f"a mask of another size than the image, {size_hw}": mask is not None and mask.size_hw != size_hw,
    }
    return next((words for words, found in faults.items() if found), None)
