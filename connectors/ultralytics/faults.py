"""Ultralytics' and PyTorch's exceptions, translated at the door."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import BackendRejected, BackendUnavailable, PipelineError

__all__ = ["out_of_memory", "translated"]

_NO_MEMORY = (
    "out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_internal_error",
    "can't allocate memory",
)
"""What the libraries below PyTorch say of it."""


def out_of_memory(exc: BaseException) -> bool:
    """Whether it says that memory ran out, on a device or on the machine."""
    return isinstance(exc, MemoryError) or any(words in str(exc).lower() for words in _NO_MEMORY)


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
        if out_of_memory(exc):
            raise BackendUnavailable(
                f"{reason}; use a smaller batch or imgsz", backend=backend, operation=operation
            ) from exc
        raise BackendRejected(f"{type(exc).__name__}: {reason}", backend=backend, operation=operation) from exc
