"""Encodings made ahead of the clicks: for a whole project, or for the images that people are about to see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.domain.geometry import Image
from pipeline.domain.records import Sample
from pipeline.errors import BackendError, DataError
from pipeline.events import Emit, silent
from pipeline.ports import Executor
from pipeline.segmenting.stored import StoredSegmenter

__all__ = ["Estimate", "Warmed", "estimate", "warm"]


@dataclass(frozen=True)
class Estimate:
    """What lies ahead. `bytes_each` is the size of one encoding, measured on the first image that could be read."""

    images: int
    bytes_each: int
    budget_bytes: int

    @property
    def bytes_all(self) -> int:
        return self.images * self.bytes_each

    @property
    def fits(self) -> bool:
        """Whether the store can hold them all at once."""
        return self.bytes_all <= self.budget_bytes


@dataclass(frozen=True)
class Warmed:
    """How many encodings were made, how many were there, and which images failed: (sample id, reason)."""

    made: int
    found: int
    failed: tuple[tuple[str, str], ...]


def estimate(
    samples: Sequence[Sample], segmenter: StoredSegmenter, read_image: Callable[[Sample], Image]
) -> Estimate:
    """Encodes one image, to know the size. Raises BackendError if the segmenter fails, DataError if no image can be
    read."""
    for sample in samples:
        try:
            [encoding] = segmenter.encode([read_image(sample)])
        except DataError:  # told by `warm`, with its name
            continue
        return Estimate(len(samples), encoding.size_bytes, segmenter.store.budget_bytes)
    if samples:
        raise DataError(f"none of {len(samples)} images can be read: `pipeline list quarantine` says why")
    return Estimate(0, 0, segmenter.store.budget_bytes)


def warm(
    samples: Sequence[Sample],
    segmenter: StoredSegmenter,
    read_image: Callable[[Sample], Image],
    executor: Executor,
    emit: Emit = silent,
) -> Warmed:
    """Make every encoding that is missing. What is there already is left, so that an interrupted call goes on.

    An image that cannot be read or encoded is told, and the rest go on. Tells `warm.started` with the `total`, and
    `warm.batch` for each image.
    """

    def work(sample: Sample) -> tuple[str, bool, str]:
        try:
            image = read_image(sample)
            there = segmenter.has(image)
            if not there:
                segmenter.encode([image])
        except (DataError, BackendError) as exc:
            return sample.id, False, str(exc)
        return sample.id, there, ""

    emit("warm.started", total=len(samples))
    made, found, failed = 0, 0, []
    results: Iterator[tuple[str, bool, str]] = executor.map(lambda: work, samples)
    for sample_id, there, reason in results:
        if reason:
            failed.append((sample_id, reason))
        else:
            made, found = made + (not there), found + there
        emit("warm.batch", done=1)
    return Warmed(made, found, tuple(failed))
