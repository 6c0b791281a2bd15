"""One minus the detector's confidence: ask where its best guess is weak.

Lewis, Gale, "A Sequential Algorithm for Training Text Classifiers", SIGIR 1994.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.domain.rounds import Evidence

__all__ = ["EMPTY", "measure"]

EMPTY: float | None = 0.5
"""Nothing passed the confidence floor: there is nothing, or everything was missed. That is an even bet."""


def measure(evidence: Evidence, _rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return 1.0 - np.array([finding.proposal.confidence for finding in evidence.findings], dtype=np.float64)
