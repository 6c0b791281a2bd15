"""Ultralytics' and PyTorch's exceptions, translated at the door."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import BackendRejected, BackendUnavailable, PipelineError

__all__ = ["translated"]


@contextmanager
def translated(backend: str, operation: str) -> Iterator[None]:
    """Raise BackendUnavailable where memory ran out, BackendRejected for any other exception in the block.

    Errors of maskloop and KeyboardInterrupt pass as they are.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as exc:
        reason = " ".join(str(exc).split()) or type(exc).__name__
        if isinstance(exc, MemoryError) or "out of memory" in reason.lower():
            raise BackendUnavailable(
                f"{reason}; use a smaller batch or imgsz", backend=backend, operation=operation
            ) from exc
        raise BackendRejected(f"{type(exc).__name__}: {reason}", backend=backend, operation=operation) from exc
