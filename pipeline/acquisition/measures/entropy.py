"""Entropy of the class scores: ask where they say least.

Shannon, "A Mathematical Theory of Communication", 1948; as binary entropies of a detector's sigmoid scores
in Roy, Unmesh, Namboodiri, "Deep Active Learning for Object Detection", BMVC 2018. YOLO's scores are one
yes-or-no question a class and do not add up to 1, so each class has its own Bernoulli entropy, in bits.
The value is their mean over all classes: in [0, 1] for any number of classes, 1 if each score is 0.5.
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
    return np.array([_mean_bits(finding.proposal.class_probs) for finding in evidence.findings], dtype=np.float64)


def _mean_bits(class_probs: tuple[float, ...] | None) -> float:
    if not class_probs:
        raise ConfigError(
            "entropy needs class_probs, which this detector does not tell; choose another measure",
            key="score.measures",
        )
    yes = np.asarray(class_probs, dtype=np.float64)
    both = np.stack([yes, 1.0 - yes])
    bits = np.log2(both, out=np.zeros_like(both), where=both != 0)
    return float(np.clip(-(both * bits).sum(axis=0).mean(), 0.0, 1.0))
