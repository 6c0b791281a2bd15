"""What reviewers decided: the report's tally of their verdicts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.stages.review import FIX, HOLD_OUT
from pipeline.store.decisions import Decided

__all__ = ["WORDS", "Reviewer", "reviewers_of"]

WORDS = ("accept", "relabel", "reject", FIX, HOLD_OUT)
"""What a reviewer can say, in the order in which it is told. A class that goes with it is not told."""


@dataclass(frozen=True)
class Reviewer:
    """How often one person gave each verdict, on whole images or single objects of so many different `images`."""

    name: str
    counts: Mapping[str, int]
    images: int


def reviewers_of(decided: Iterable[Decided]) -> list[Reviewer]:
    """By name. Every verdict counts, also one whose author said something else later."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    images: dict[str, set[str]] = defaultdict(set)
    for row in decided:
        said = row.verdict
        counts[said.author][said.decision.partition(":")[0]] += 1
        images[said.author].add(said.sample_id)
    return [
        Reviewer(name, {word: counts[name][word] for word in WORDS}, len(images[name])) for name in sorted(counts)
    ]
