"""Work that makes many objects and no reference cycle, without the search for cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["uncollected"]


@contextmanager
def uncollected() -> Iterator[None]:
    """Within it, Python's cyclic garbage collector does not run.

    It looks through all objects again and again while their number grows: half the time of reading a manifest of a
    million instances, a third of that of an evaluation.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
