"""One minus the mask's stability: ask where a slightly other threshold would give another mask.

Kirillov et al., "Segment Anything", ICCV 2023: the stability score is the IoU of the masks that two
thresholds around the usual one cut from the same logits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.domain.rounds import Evidence

__all__ = ["EMPTY", "measure"]

EMPTY: float | None = 0.0
"""There is no mask that could be wrong; what the detector may have missed is for measures of the detector."""

_NO_MASK = 1.0
"""An object was proposed and the segmenter found none: nothing about its shape is known."""


def measure(evidence: Evidence, _rng: np.random.Generator) -> npt.NDArray[np.float64]:
    doubts = [
        1.0 - finding.prediction.stability if finding.prediction is not None else _NO_MASK
        for finding in evidence.findings
    ]
    return np.array(doubts, dtype=np.float64)
