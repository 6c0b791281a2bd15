"""Logits that say which of two segmenters made them.

Low-resolution logits mean something only to the segmenter that made them: another one lays the image out otherwise
(one pads it to a square, the next stretches it), even where their shapes are equal. Copies, files and wires keep
nothing but the numbers, so the name stands among these: in one row above the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from pipeline.domain.prompts import Logits, MaskPrediction
from pipeline.errors import ShapeMismatch

__all__ = ["Role", "signed", "whose"]

Role = Literal["fast", "better"]

_SIGNS: dict[Role, float] = {"fast": 1024.0, "better": 2048.0}
"""Exact in half precision too, and no logit that a network gives to a whole row."""


def signed(answers: Sequence[MaskPrediction], role: Role) -> list[MaskPrediction]:
    """The same answers; logits `(h', w')` become `(1 + h', w')`, the first row saying whose they are."""
    return [
        answer
        if answer.logits is None
        else replace(answer, logits=np.pad(answer.logits, ((1, 0), (0, 0)), constant_values=_SIGNS[role]))
        for answer in answers
    ]


def whose(logits: Logits) -> tuple[Role, Logits]:
    """Who made them, and the logits as they were made. Raises ShapeMismatch for logits without that row."""
    if logits.ndim == 2 and logits.shape[0] > 1:
        for role, sign in _SIGNS.items():
            if (logits[0] == sign).all():
                return role, np.ascontiguousarray(logits[1:])
    raise ShapeMismatch(
        f"logits {logits.shape} are not of an answer of this segmenter: give the mask as the prior instead"
    )
