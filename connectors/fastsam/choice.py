"""Which of the seen masks answers which prompt.

FastSAM's own rule gives each box its best mask: two boxes may share one, and a box without an object gets the
best of the wrong ones. Here boxes are matched one to one, and only to masks that agree well enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from connectors.fastsam.everything import Candidate
from pipeline.domain.geometry import Box, box_iou
from pipeline.domain.mask import Mask, mask_iou
from pipeline.domain.prompts import Prompt

__all__ = ["Similarity", "agreement", "assign", "ranked"]

Table = npt.NDArray[np.float64]
"""`float64 (prompts, candidates)` in [0, 1]; 0 means no answer."""


@dataclass(frozen=True)
class Similarity:
    """Of one text with every candidate: cosines `float32 (candidates,)`, and what they are multiplied by before a
    softmax is taken. A candidate under `floor` is not what the text says."""

    cosines: npt.NDArray[np.float32]
    scale: float
    floor: float


def agreement(
    prompts: Sequence[Prompt],
    candidates: Sequence[Candidate],
    floor: float,
    similar: Mapping[int, Similarity] | None = None,
) -> Table:
    """How well each candidate answers each prompt; `similar` holds what is known of texts, by the prompts'
    numbers.

    A box agrees by its IoU with the mask's tight box, a prior by its IoU with the mask; of both, the product
    counts. Below `floor` it is 0. Points alone agree by the candidate's confidence. A mask that misses a positive
    point, or holds a negative one, is no answer. A text shares its agreement out among the candidates that are left:
    the softmax of their similarities. Priors must be masks.
    """
    table = np.zeros((len(prompts), len(candidates)))
    if candidates:
        tight = [box for candidate in candidates if (box := candidate.mask.box) is not None]
        for number, prompt in enumerate(prompts):
            row = _agrees(prompt, candidates, tight, floor)
            table[number] = _described(row, similar[number]) if similar and number in similar else row
    return table


def assign(table: Table, prompts: Sequence[Prompt]) -> list[int | None]:
    """The candidate of each prompt, None where nothing agrees.

    Prompts with boxes are about different objects: no two get the same candidate, and the sum of their agreement
    is the greatest possible. Any other prompt is answered alone.
    """
    from scipy.optimize import linear_sum_assignment

    chosen: list[int | None] = [ranked(row)[0] if row.any() else None for row in table]
    boxed = [number for number, prompt in enumerate(prompts) if prompt.box is not None]
    for number in boxed:
        chosen[number] = None
    rows, columns = linear_sum_assignment(table[boxed], maximize=True)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if table[boxed[row], column] > 0:
            chosen[boxed[row]] = column
    return chosen


def ranked(row: Table) -> list[int]:
    """The candidates that agree, best first; of equal ones the first."""
    order = np.argsort(-row, kind="stable")
    return [int(number) for number in order if row[number] > 0]


def _agrees(prompt: Prompt, candidates: Sequence[Candidate], tight: Sequence[Box], floor: float) -> Table:
    """One prompt's row of the table."""
    masks = [candidate.mask for candidate in candidates]
    row = np.ones(len(candidates))
    if prompt.box is not None:
        row = row * box_iou([prompt.box], tight)[0]
    if isinstance(prompt.prior, Mask):
        row = row * mask_iou([prompt.prior], masks)[0]
    if prompt.box is not None or prompt.prior is not None:
        row = np.where(row < floor, 0.0, row)
    elif any(prompt.point_labels):
        row = np.array([candidate.confidence for candidate in candidates])
    elif not prompt.text:
        row = np.zeros(len(candidates))
    return row * _points_agree(prompt, masks) if prompt.points_xy else row


def _described(row: Table, similarity: Similarity) -> Table:
    row = np.where(similarity.cosines >= similarity.floor, row, 0.0)
    if not row.any():
        return row
    logits = np.where(row > 0, similarity.scale * similarity.cosines.astype(np.float64), -np.inf)
    shares = np.exp(logits - logits.max())
    described: Table = row * shares / shares.sum()
    return described


def _points_agree(prompt: Prompt, masks: Sequence[Mask]) -> list[bool]:
    """For each mask, whether it holds every positive point and no negative one."""
    answers = []
    for mask in masks:
        height, width = mask.size_hw
        bitmap = mask.bitmap()
        said = [bool(bitmap[min(int(y), height - 1), min(int(x), width - 1)]) for x, y in prompt.points_xy]
        answers.append(said == list(prompt.point_labels))
    return answers
