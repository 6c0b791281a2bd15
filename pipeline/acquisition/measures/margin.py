"""One minus the lead of the best class over the second: ask where two classes compete.

Scheffer, Decomain, Wrobel, "Active Hidden Markov Models for Information Extraction", IDA 2001; for object
detectors Brust, Käding, Denzler, "Active Learning for Deep Object Detection", VISAPP 2019 ("1-vs-2").
YOLO scores each class on its own; with one class only, its rival is its absence, of probability 1 - p.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.domain.rounds import Evidence
from pipeline.errors import ConfigError

__all__ = ["EMPTY", "measure"]

EMPTY: float | None = 0.5
"""Nothing passed the confidence floor: there is nothing, or everything was missed. That is an even bet."""


def measure(evidence: Evidence, _rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Raises ConfigError if the detector tells no probabilities by class: another measure is needed then."""
    return np.array([_doubt(finding.proposal.class_probs) for finding in evidence.findings], dtype=np.float64)


def _doubt(class_probs: tuple[float, ...] | None) -> float:
    if not class_probs:
        raise ConfigError(
            "margin needs class_probs, which this detector does not tell; choose another measure",
            key="score.measures",
        )
    rivals = class_probs if len(class_probs) > 1 else (class_probs[0], 1.0 - class_probs[0])
    second, first = sorted(rivals)[-2:]
    return 1.0 - (first - second)
