"""What happens is told as events; progress bars, logs and fault tests listen to the same ones.

An event's name is `stage.what` (`propose.batch`, `blob.renamed`); its data are plain values. Whoever does
the work calls `emit(name, **data)`; nobody's behaviour depends on who listens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

__all__ = ["Emit", "Listener", "broadcast", "silent"]


class Emit(Protocol):
    """Tell that something has happened."""

    def __call__(self, name: str, /, **data: object) -> None: ...


class Listener(Protocol):
    """Hear of it: the event's name and its data."""

    def __call__(self, name: str, data: Mapping[str, object], /) -> None: ...


def silent(name: str, /, **data: object) -> None:
    """An `emit` that nobody hears."""


def broadcast(*listeners: Listener) -> Emit:
    """An `emit` that tells every listener, in order."""

    def emit(name: str, /, **data: object) -> None:
        for listener in listeners:
            listener(name, data)

    return emit
