"""The process that FiftyOne lives in: `python -m connectors.fiftyone.worker fill|tags …`.

FiftyOne reads its settings when it is imported, keeps one database connection for as long as its process lives, and
takes seconds to import: none of that belongs into a process that trains. It answers with lines of JSON; an error of
ours is the last of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from connectors.fiftyone.rows import read_rows
from pipeline.errors import BackendRejected

__all__ = ["FAILED", "main"]

FAILED = 3
"""The exit code of an error that is told on the last line."""


def main(arguments: Sequence[str]) -> int:
    """`fill NAME PROJECT ROWS BRAIN` counts what it did; `tags NAME` gives a line for each tagged sample."""
    verb, *rest = arguments
    try:
        for answer in _VERBS[verb](*rest):
            _say(answer)
    except BackendRejected as exc:
        return _failed(str(exc), "rejected")
    except ImportError as exc:
        return _failed(f"a package does not fit the others here: {exc}", "import")
    return 0


def _say(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(answer)}\n")
    sys.stdout.flush()


def _failed(message: str, kind: str) -> int:
    _say({"error": message, "kind": kind})
    return FAILED


def _fill(name: str, project: str, rows: str, brain: str) -> Iterator[dict[str, Any]]:
    from connectors.fiftyone.datasets import fill

    with Path(rows).open("rb") as file:
        yield fill(name, project, read_rows(file), brain=brain == "brain")


def _tags(name: str) -> Iterator[dict[str, Any]]:
    from connectors.fiftyone.datasets import tagged

    return map(asdict, tagged(name))


_VERBS: Mapping[str, Callable[..., Iterator[dict[str, Any]]]] = {"fill": _fill, "tags": _tags}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
