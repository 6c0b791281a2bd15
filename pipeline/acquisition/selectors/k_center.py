"""Images that cover the pool: each next one lies farthest from all that are labelled or chosen.

The greedy k-center of Sener, Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set
Approach", ICLR 2018 (farthest-first traversal, Gonzalez 1985), by Euclidean distance of image embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from pipeline.acquisition import within_budget
from pipeline.domain.rounds import Budget, Candidate
from pipeline.errors import DataError, ShapeMismatch

__all__ = ["NEEDS_EMBEDDINGS", "Settings", "select"]

NEEDS_EMBEDDINGS = True

_Rows = npt.NDArray[np.float32]

_TIE = 1e-6
"""Squared distances closer than this part of the longest squared length are equal: rounding must not rank."""

_BLOCK = 64
"""Labelled embeddings compared at once; bounds the memory."""


class Settings(BaseModel):
    """Nothing to choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def select(
    candidates: Sequence[Candidate],
    budget: Budget,
    _rng: np.random.Generator,
    _settings: Settings,
    labelled: npt.NDArray[np.float32] | None = None,
) -> list[str]:
    """Starts from the labelled embeddings, or without any from the most uncertain image.

    A step costs O(n d) time and O(n) memory. Raises DataError for an embedding that is absent or not
    finite, ShapeMismatch for embeddings of different lengths.
    """
    if not candidates:
        return []
    ordered = sorted(candidates, key=lambda candidate: candidate.sample_id)
    points = np.stack(_embeddings(ordered))
    centres = points[:0] if labelled is None else np.asarray(labelled, dtype=np.float32)
    if centres.ndim != 2 or centres.shape[1] != points.shape[1]:
        raise ShapeMismatch(f"labelled embeddings are {centres.shape}, candidates have {points.shape[1]} numbers")
    if not np.isfinite(centres).all():
        raise DataError("a labelled embedding is not finite")
    origin = points.mean(axis=0)  # near the points, squared lengths lose fewer digits
    doubts = [candidate.uncertainty.value for candidate in ordered]
    order = _farthest_first(points - origin, centres - origin, int(np.argmax(doubts)))
    return within_budget((ordered[index] for index in order), budget)


def _embeddings(candidates: Sequence[Candidate]) -> list[_Rows]:
    rows: list[_Rows] = []
    for candidate in candidates:
        if candidate.embedding is None:
            raise DataError("k_center needs an embedding", sample_id=candidate.sample_id)
        row = np.asarray(candidate.embedding, dtype=np.float32)
        if not np.isfinite(row).all():
            raise DataError("the embedding is not finite", sample_id=candidate.sample_id)
        if row.ndim != 1 or (rows and row.shape != rows[0].shape):
            expected = rows[0].shape if rows else "(d,)"
            raise ShapeMismatch(f"the embedding is {row.shape}, not {expected}", sample_id=candidate.sample_id)
        rows.append(row)
    return rows


def _farthest_first(points: _Rows, centres: _Rows, start: int) -> Iterator[int]:
    """Indices of `points (n, d)`, all of them, farthest from `centres (m, d)` and the earlier ones first."""
    lengths = np.einsum("nd,nd->n", points, points)
    tolerance = _TIE * float(lengths.max())
    nearest = np.full(len(points), np.inf, dtype=np.float32)
    for block in (centres[index : index + _BLOCK] for index in range(0, len(centres), _BLOCK)):
        np.minimum(nearest, _squared_distances(points, lengths, block).min(axis=1), out=nearest)
    for step in range(len(points)):
        from_scratch = step == 0 and len(centres) == 0
        chosen = start if from_scratch else int(np.argmax(nearest >= nearest.max() - tolerance))
        yield chosen
        distances = _squared_distances(points, lengths, points[chosen : chosen + 1])[:, 0]
        np.minimum(nearest, distances, out=nearest)
        nearest[chosen] = -np.inf


def _squared_distances(points: _Rows, lengths: _Rows, centres: _Rows) -> _Rows:
    """`float32 (n, m)`, at least 0; `lengths (n,)` are the squared lengths of the points."""
    squared = lengths[:, None] - 2.0 * (points @ centres.T) + np.einsum("md,md->m", centres, centres)
    clipped: _Rows = np.maximum(squared, 0.0)
    return clipped
