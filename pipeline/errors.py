"""Every error that maskloop raises on purpose, in one tree.

    PipelineError
    ├─ ConfigError            .path .key        the YAML file, or a peer's settings, are wrong
    │   ├─ UnknownPeer        .family .kind .known
    │   └─ MissingExtra       .extra            an optional dependency is not installed
    ├─ DataError              .sample_id | .path
    │   ├─ ImageUnreadable
    │   ├─ ShapeMismatch
    │   ├─ BadFormat          .path .line       a label file breaks its format
    │   └─ SplitLeak          .other_id .other_path .distance .picture
    ├─ BackendError           .backend .operation .retryable
    │   ├─ BackendUnavailable
    │   ├─ BackendRejected
    │   └─ WeightsUnavailable .name .searched
    └─ LedgerError
        ├─ WorkspaceLocked    .pid .since
        └─ LedgerCorrupt

Each message says what happened and what to do next; the attributes carry the same facts for programs.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

__all__ = [
    "BackendError",
    "BackendRejected",
    "BackendUnavailable",
    "BadFormat",
    "ConfigError",
    "DataError",
    "ImageUnreadable",
    "LedgerCorrupt",
    "LedgerError",
    "MissingExtra",
    "PipelineError",
    "ShapeMismatch",
    "SplitLeak",
    "UnknownPeer",
    "WeightsUnavailable",
    "WorkspaceLocked",
]


class PipelineError(Exception):
    """The root: catch this to catch everything that maskloop raises on purpose."""


class ConfigError(PipelineError):
    """A configuration value is wrong. `key` is dotted (`select.budget.images`)."""

    def __init__(self, message: str, *, path: Path | str | None = None, key: str | None = None) -> None:
        self.message = message
        self.path = path
        self.key = key
        where = ": ".join(str(part) for part in (path, key) if part is not None)
        super().__init__(f"{where}: {message}" if where else message)


class UnknownPeer(ConfigError):
    """`kind` names no file of the family's folder; the nearest known name is suggested."""

    def __init__(
        self,
        family: str,
        kind: str,
        known: Sequence[str],
        *,
        path: Path | str | None = None,
        key: str | None = None,
    ) -> None:
        self.family = family
        self.kind = kind
        self.known = tuple(known)
        nearest = difflib.get_close_matches(kind, self.known, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        super().__init__(
            f"no {family} peer is called {kind!r}{hint} (known: {', '.join(self.known) or 'none'})",
            path=path,
            key=key,
        )


class MissingExtra(ConfigError):
    """A peer needs a package that is not installed; `extra` is the name to install."""

    def __init__(self, extra: str, *, needed_by: str, package: str) -> None:
        self.extra = extra
        super().__init__(f"{needed_by} needs the package {package!r}: pip install 'maskloop[{extra}]'")


class DataError(PipelineError):
    """Something is wrong with one sample or file; the run quarantines it and goes on."""

    def __init__(self, message: str, *, sample_id: str | None = None, path: Path | str | None = None) -> None:
        self.reason = message
        self.sample_id = sample_id
        self.path = path
        where = str(path) if path is not None else sample_id
        super().__init__(f"{where}: {message}" if where else message)


class ImageUnreadable(DataError):
    """The file is not an image that can be decoded safely."""


class ShapeMismatch(DataError):
    """Two arrays or masks that must have the same size do not."""


class BadFormat(DataError):
    """A label file breaks its format at `line` (1-based; None where the format has no lines)."""

    def __init__(
        self,
        message: str,
        *,
        path: Path | str | None = None,
        line: int | None = None,
        sample_id: str | None = None,
    ) -> None:
        self.line = line
        super().__init__(
            f"line {line}: {message}" if line is not None else message, path=path, sample_id=sample_id
        )


class SplitLeak(DataError):
    """A sample of one split was found in another, as itself, as a near-duplicate or by its group.

    `other_id` and `other_path` name the held-out one of the pair, `distance` says in how many of 64 bits their
    perceptual hashes differ, `picture` is a file that shows both; None where there is no pair.
    """

    def __init__(
        self,
        message: str,
        *,
        sample_id: str | None = None,
        path: Path | str | None = None,
        other_id: str | None = None,
        other_path: Path | str | None = None,
        distance: int | None = None,
        picture: Path | None = None,
    ) -> None:
        self.other_id = other_id
        self.other_path = other_path
        self.distance = distance
        self.picture = picture
        super().__init__(message, sample_id=sample_id, path=path)


class BackendError(PipelineError):
    """A model, server or tool outside the house failed while doing `operation`."""

    def __init__(self, message: str, *, backend: str, operation: str, retryable: bool = False) -> None:
        self.backend = backend
        self.operation = operation
        self.retryable = retryable
        super().__init__(f"{backend} could not {operation}: {message}")


class BackendUnavailable(BackendError):
    """The backend cannot be reached or has no room now; the same call may succeed later."""

    def __init__(self, message: str, *, backend: str, operation: str) -> None:
        super().__init__(message, backend=backend, operation=operation, retryable=True)


class BackendRejected(BackendError):
    """The backend understood the request and refused it; the same call will fail again."""


class WeightsUnavailable(BackendError):
    """A weights file is missing, or is not what it claims to be. `searched` lists every place looked in."""

    def __init__(self, name: str, searched: Sequence[Path | str] = (), *, reason: str | None = None) -> None:
        self.name = name
        self.searched = tuple(str(place) for place in searched)
        places = "".join(f"\n  - {place}" for place in self.searched)
        message = reason or "no such file"
        if places:
            message += (
                f"; searched:{places}\nput the file into one of these, or set MASKLOOP_WEIGHTS to its folder"
            )
        super().__init__(message, backend=name, operation="load weights")


class LedgerError(PipelineError):
    """The workspace's record of what happened cannot be used."""


class WorkspaceLocked(LedgerError):
    """Another process is the workspace's one writer."""

    def __init__(self, workspace: Path | str, *, pid: int | None, since: str | None) -> None:
        self.pid = pid
        self.since = since
        holder = f"process {pid}" if pid is not None else "another process"
        super().__init__(
            f"{workspace} is in use by {holder}{f' since {since}' if since else ''}: "
            "wait for it to end, or stop it, and run the same command again"
        )


class LedgerCorrupt(LedgerError):
    """The ledger, a shard or a blob does not hold what it must, or was made by a newer version."""
