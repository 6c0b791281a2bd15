"""Everything that was seen in an image, as plain arrays and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import SizeHW
from pipeline.domain.mask import Mask

__all__ = ["Candidate", "pack", "unpack"]


@dataclass(frozen=True)
class Candidate:
    """One mask, not empty, with the network's confidence and the mask's stability, both in [0, 1]."""

    mask: Mask
    confidence: float
    stability: float


def pack(candidates: Sequence[Candidate]) -> Mapping[str, npt.NDArray[np.generic]]:
    """The masks' run-length strings one after the other in `counts`, `uint8`, with their `ends`, `int64 (n,)`;
    `scores`, `float64 (n, 2)`, are confidence and stability."""
    counts = b"".join(candidate.mask.counts for candidate in candidates)
    ends = np.cumsum([len(candidate.mask.counts) for candidate in candidates], dtype=np.int64)
    scores = [(candidate.confidence, candidate.stability) for candidate in candidates]
    return {
        "counts": np.frombuffer(counts, dtype=np.uint8).copy(),
        "ends": ends,
        "scores": np.array(scores, dtype=np.float64).reshape(-1, 2),
    }


def unpack(arrays: Mapping[str, npt.NDArray[np.generic]], size_hw: SizeHW) -> list[Candidate]:
    """What was packed, in the same order."""
    counts, ends = arrays["counts"].tobytes(), cast(list[int], arrays["ends"].tolist())
    masks = [Mask(counts[start:end], size_hw) for start, end in zip([0, *ends], ends, strict=False)]
    scores = cast(list[tuple[float, float]], arrays["scores"].tolist())
    return [Candidate(mask, *score) for mask, score in zip(masks, scores, strict=True)]
