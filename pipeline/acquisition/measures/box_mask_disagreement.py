"""One minus the IoU of the detector's box and the mask's box: ask where the two drew different extents.

Disagreement of a committee of two (Seung, Opper, Sompolinsky, "Query by Committee", COLT 1992). A segmenter
asked with a box need not fill it: a mask that is much smaller, or spills over, points to one of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.domain.rounds import Evidence, Finding

__all__ = ["EMPTY", "measure"]

EMPTY: float | None = 0.0
"""Neither model drew anything: they agree."""

_NO_MASK = 1.0
"""One model sees an object, the other sees none: they could not disagree more."""


def measure(evidence: Evidence, _rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.array([_disagreement(finding) for finding in evidence.findings], dtype=np.float64)


def _disagreement(finding: Finding) -> float:
    box = finding.prediction.mask.box if finding.prediction is not None else None
    return _NO_MASK if box is None else 1.0 - finding.proposal.box.iou(box)
