"""One minus the IoU of the detector's own mask and the segmenter's: ask where the two shapes differ.

Disagreement of a committee of two (Seung, Opper, Sompolinsky, "Query by Committee", COLT 1992): YOLO-seg
learned its masks from this project's labels, the segmenter from elsewhere or from nothing. A mask that is
missing counts as an empty one, so it disagrees fully with any mask and agrees with another missing one;
with a detector that makes boxes only, every finding with a mask is therefore worth the same.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.domain.mask import Mask
from pipeline.domain.rounds import Evidence, Finding

__all__ = ["EMPTY", "measure"]

EMPTY: float | None = 0.0
"""Neither model drew anything: they agree."""


def measure(evidence: Evidence, _rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Raises ShapeMismatch if the two masks are of different sizes."""
    empty = Mask.empty(evidence.size_hw)
    return np.array([_disagreement(finding, empty) for finding in evidence.findings], dtype=np.float64)


def _disagreement(finding: Finding, empty: Mask) -> float:
    detected = finding.proposal.mask or empty
    segmented = finding.prediction.mask if finding.prediction is not None else empty
    return 1.0 - detected.iou(segmented)
