"""Nothing lost, nothing doubled: `python -m benchmarks.faults [--json]`.

Every way in which a request to Label Studio can fail, at each of the requests that the annotator makes: once, six times
in a row (more than its patience, so that a run ends in an error and is begun anew), and once with the process killed as
soon as it would wait. After each the tasks, images, webhooks and answers must be what they are without a failure.

The server is the scripted one of `tests/fakes/label_studio`, which a test holds to the real one; waiting is counted,
not waited.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks._harness import machine
from connectors.label_studio.project import SECRET
from tests.fakes.label_studio import FAULTS, FakeLabelStudio
from tests.fakes.label_studio.story import REQUESTS, STORY_SECRET, Outcome, Request, tell

SEVERITIES = {"once": 1, "six times": 6, "once, and killed": 1}
KINDS = (*FAULTS, "connection refused")


def story(request: Request, kind: str, severity: str) -> Outcome:
    """One story on a fresh server and a fresh disk."""
    killed = severity == "once, and killed"
    with FakeLabelStudio() as fake, tempfile.TemporaryDirectory() as folder:
        return tell(fake, Path(folder), request, [kind] * SEVERITIES[severity], killed=killed)


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    arguments.add_argument("--json", action="store_true")
    as_json = arguments.parse_args().json
    os.environ[SECRET] = STORY_SECRET
    logging.disable(logging.ERROR)  # the server reports each answer that breaks off
    began = time.perf_counter()
    rows = [_row(kind) for kind in KINDS]
    total: Counter[str] = sum((Counter(row["counts"]) for row in rows), Counter())
    print(f"{'all':32} {_cells(total)}")
    for row in rows:
        for wrong in row["wrong"]:
            print(f"  {row['fault']}: {wrong}")
    if as_json:
        facts: dict[str, Any] = {
            "name": "faults",
            "ours": total["wrong"],
            "target": 0,
            "unit": "stories gone wrong",
        }
        table = [{"fault": row["fault"], **row["counts"]} for row in rows]
        facts |= {"agreement": total["wrong"] == 0, "stories": total["stories"], "table": table}
        print(json.dumps({**facts, "s": round(time.perf_counter() - began, 1), "machine": machine(["httpx"])}))


def _row(kind: str) -> dict[str, Any]:
    """All stories with one fault, as a line of the table."""
    if kind == KINDS[0]:
        print(f"{'fault':32} stories  failed  begun anew  gone wrong")
    counts: Counter[str] = Counter(stories=0, failures=0, errors=0, wrong=0)
    wrong = []
    for request in REQUESTS:
        for severity in SEVERITIES:
            outcome = story(request, kind, severity)
            counts["stories"] += 1
            counts["failures"] += outcome.failures
            counts["errors"] += outcome.errors.total()
            counts["wrong"] += bool(outcome.wrong)
            wrong += [f"{request.name}, {severity}: {said}" for said in outcome.wrong]
    print(f"{kind:32} {_cells(counts)}", flush=True)
    return {"fault": kind, "counts": dict(counts), "wrong": wrong}


def _cells(counts: Counter[str]) -> str:
    return f"{counts['stories']:7d} {counts['failures']:7d} {counts['errors']:11d} {counts['wrong']:11d}"


if __name__ == "__main__":
    main()
