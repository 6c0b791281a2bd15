"""What the worker is asked, and what its failures mean here."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any

from connectors.fiftyone.processes import environment
from connectors.fiftyone.worker import FAILED
from pipeline.errors import BackendRejected, BackendUnavailable, ConfigError

__all__ = ["NAME", "ask"]

NAME = "fiftyone"

_WORKER = "connectors.fiftyone.worker"


def ask(database: str, *question: str | Path, own: bool, operation: str) -> Iterator[dict[str, Any]]:
    """The worker's answers, one at a time. It is ended if they are not wanted any more.

    Raises BackendRejected for what FiftyOne or its database refuse, ConfigError for packages that do not fit each
    other, and BackendUnavailable for a worker that ends otherwise.
    """
    command = [sys.executable, "-m", _WORKER, *map(str, question)]
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(  # noqa: S603  # a module of our own
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=environment(database, own=own),
            start_new_session=True,
        ) as worker,
    ):
        try:
            last = yield from _answers(worker.stdout)
            code = worker.wait()
        finally:
            if worker.poll() is None:
                worker.kill()
        if code == FAILED and last.get("kind") == "import":
            raise ConfigError(f"FiftyOne cannot be imported: {last['error']}", key="reviewer.kind")
        if code == FAILED:
            raise BackendRejected(last["error"], backend=NAME, operation=operation)
        if code:
            complaints.seek(0)
            end = " ".join(complaints.read().decode(errors="replace").split())[-500:]
            raise BackendUnavailable(f"its process ended with {code}: {end}", backend=NAME, operation=operation)


def _answers(lines: IO[bytes] | None) -> Generator[dict[str, Any], None, dict[str, Any]]:
    """Lines of JSON, and the error that is the last of them; whatever else FiftyOne prints is no answer of ours."""
    failed: dict[str, Any] = {}
    for line in lines or ():
        if line.startswith(b"{"):
            answer = json.loads(line)
            if "error" in answer:
                failed = answer
            else:
                yield answer
    return failed
