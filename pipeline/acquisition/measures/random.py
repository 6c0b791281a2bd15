"""Chance: every image is as doubtful as every other. The baseline that each measure has to beat.

Random sampling is the reference of the field's surveys (Settles, "Active Learning Literature Survey", 2009).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.domain.rounds import Evidence

__all__ = ["EMPTY", "measure"]

EMPTY: float | None = None
"""One lot is drawn for the image: the largest of many lots would favour crowded images."""


def measure(_evidence: Evidence, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return rng.random(1)
