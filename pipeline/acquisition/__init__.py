"""Which images are worth a person's time: measures doubt, selectors choose. Both folders are registries.

A measure is a file of `measures/` with

- `EMPTY`, its value for an image without findings, in [0, 1], with the reason beside it; or None if the
  measure speaks of the image as a whole and so needs no findings;
- `measure(evidence, rng) -> float64 (n,)`: the uncertainty of each of the n findings, in order, in [0, 1]
  (1 = ask a person); `(1,)`, one for the whole image, where `EMPTY` is None.

`rng` belongs to this image alone; only measures that draw lots use it.

A selector is a file of `selectors/` with

- `Settings`, a frozen pydantic model with `extra="forbid"`;
- `NEEDS_EMBEDDINGS`, whether candidates must carry an embedding;
- `select(candidates, budget, rng, settings, labelled) -> list[str]`: ids, most wanted first, within the
  budget, without repeats. `labelled` is `float32 (m, d)`, the embeddings of what is labelled already, or
  None. The order of the candidates makes no difference: equals are ranked by sample id.

Image-level values come from findings by a reducer: the largest, the mean, or the mean of the largest three.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from pipeline.acquisition import measures as _measures
from pipeline.acquisition import selectors as _selectors
from pipeline.domain.rounds import Budget, Candidate, Evidence
from pipeline.errors import UnknownPeer

__all__ = [
    "REDUCERS",
    "Measure",
    "Selector",
    "Uncertainties",
    "load_measure",
    "load_selector",
    "measures",
    "selectors",
    "within_budget",
]

Uncertainties = npt.NDArray[np.float64]
"""`float64 (n,)` in [0, 1]; 1 = ask a person."""


class Measure(Protocol):
    """A module of `measures/`."""

    EMPTY: float | None

    def measure(self, evidence: Evidence, rng: np.random.Generator, /) -> Uncertainties: ...


class Selector(Protocol):
    """A module of `selectors/`."""

    Settings: type[BaseModel]
    NEEDS_EMBEDDINGS: bool

    def select(
        self,
        candidates: Sequence[Candidate],
        budget: Budget,
        rng: np.random.Generator,
        settings: Any,
        labelled: npt.NDArray[np.float32] | None,
        /,
    ) -> list[str]: ...


def _mean_top3(values: Uncertainties) -> float:
    return float(np.sort(values)[-3:].mean())


REDUCERS: Mapping[str, Callable[[Uncertainties], float]] = MappingProxyType(
    {"max": lambda values: float(values.max()), "mean": lambda values: float(values.mean()), "top3": _mean_top3}
)
"""From the values of at least one finding to the value of the image."""


def measures() -> tuple[str, ...]:
    """The names of all measures, sorted."""
    return _names(_measures)


def selectors() -> tuple[str, ...]:
    """The names of all selectors, sorted."""
    return _names(_selectors)


def load_measure(name: str) -> Measure:
    """Raises UnknownPeer."""
    return cast(Measure, _load("measure", _measures, name))


def load_selector(name: str) -> Selector:
    """Raises UnknownPeer."""
    return cast(Selector, _load("selector", _selectors, name))


def within_budget(ranked: Iterable[Candidate], budget: Budget) -> list[str]:
    """The ids from the front of `ranked` that the budget pays for; no more of `ranked` is drawn than needed.

    In instances, images are taken until the next one would exceed the budget, but at least one; an image
    without proposals counts as one, because it is looked at all the same.
    """
    chosen: list[str] = []
    spent = 0
    if budget.amount <= 0:
        return chosen
    for candidate in ranked:
        spent += 1 if budget.unit == "images" else max(1, candidate.uncertainty.instances)
        if spent > budget.amount and chosen:
            break
        chosen.append(candidate.sample_id)
        if spent >= budget.amount:
            break
    return chosen


def _names(family: ModuleType) -> tuple[str, ...]:
    return tuple(sorted(module.name for module in pkgutil.iter_modules(family.__path__)))


def _load(kind: str, family: ModuleType, name: str) -> ModuleType:
    known = _names(family)
    if name not in known:
        raise UnknownPeer(kind, name, known)
    return importlib.import_module(f"{family.__name__}.{name}")
