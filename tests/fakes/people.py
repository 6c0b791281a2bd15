"""Samples, instances and resources for tests of what people do, all on one small image size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Origin, OriginKind, Sample, Split, State
from pipeline.domain.rounds import Uncertainty
from pipeline.errors import UnknownPeer, WeightsUnavailable
from pipeline.ports import Annotator, Collected, Resources, Segmenter, TaskItem
from tests.fakes.brush import BrushSegmenter

__all__ = ["CLASSES", "NOW", "SIZE_HW", "answers_of", "proposed", "resources", "sample", "task", "true"]

CLASSES = ("ring", "star")
SIZE_HW = (64, 80)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def sample(name: str = "a", split: Split = "train") -> Sample:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Sample(digest, Path(f"{name}.png"), SIZE_HW, split, digest)


def true(name: str, box: tuple[float, float, float, float], label: str = "ring", *, mask: bool = True) -> Instance:
    """A true object that fills its box; `mask=False`: only the box is known."""
    return _instance(name, box, label, Origin(OriginKind.IMPORTED, "truth"), State.ACCEPTED, mask=mask)


def proposed(
    name: str, box: tuple[float, float, float, float], label: str = "ring", *, mask: bool = True
) -> Instance:
    return _instance(name, box, label, Origin(OriginKind.MODEL, "model"), State.PROPOSED, mask=mask)


def _instance(
    name: str, box: tuple[float, float, float, float], label: str, origin: Origin, state: State, *, mask: bool
) -> Instance:
    where = Box(*box)
    return Instance(name, label, where, Mask.from_box(where, SIZE_HW) if mask else None, origin, state)


def task(instances: Sequence[Instance] = (), name: str = "a", number: int = 1) -> TaskItem:
    of = sample(name)
    return TaskItem(of, tuple(instances), Uncertainty(of.id, 0.5, {"random": 0.5}, len(instances)), number)


def resources(
    work: Path,
    truth: Mapping[str, Sequence[Instance]] | None = None,
    segmenter: Callable[[], Segmenter] = BrushSegmenter,
    *,
    seed: int = 0,
    project: str = "",
) -> Resources:
    """`truth` by the name given to `sample`."""
    known = {sample(name).id: tuple(instances) for name, instances in (truth or {}).items()}

    def no_weights(name: str) -> Path:
        raise WeightsUnavailable(name, [work])

    def no_segmenter(kind: str, _settings: Mapping[str, Any]) -> NoReturn:
        raise UnknownPeer("segmenter", kind, ())

    return Resources(
        classes=CLASSES,
        seed=seed,
        work=work,
        find_weights=no_weights,
        read_image=lambda of: np.zeros((*of.size_hw, 3), dtype=np.uint8),
        truth=known.get,
        segmenter=segmenter,
        build_segmenter=no_segmenter,
        now=lambda: NOW,
        project=project,
    )


def answers_of(annotator: Annotator, since: str | None = None) -> Iterator[Collected]:
    """The answers that can be used, one at a time."""
    return (answer for answer in annotator.collect(since) if isinstance(answer, Collected))
