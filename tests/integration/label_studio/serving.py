"""`pipeline serve` as a process of its own, and people who answer without looking."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from connectors.label_studio.client import Client
from pipeline.cli.processes import pipeline_command

__all__ = ["accept_all", "serving"]

_START_S = 90.0


@contextmanager
def serving(config: Path, port: int, log: Path) -> Iterator[str]:
    """The server's address, from when it is healthy to the end of the block."""
    command = pipeline_command("serve", str(config), "--port", str(port))
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(process, url, log)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def accept_all(client: Client, project: int, *, but: frozenset[int] = frozenset()) -> int:
    """Submit every task's newest prediction as it is; how many were submitted."""
    done = 0
    for listed in client.tasks(project, include="id,total_annotations"):
        if listed["total_annotations"] or listed["id"] in but:
            continue
        shown = client.task(listed["id"])["predictions"][-1]["result"]
        client.create(f"/api/tasks/{listed['id']}/annotations/", {"result": shown, "lead_time": 3.0}, "submit")
        done += 1
    return done


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=2, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"`pipeline serve` did not come up: {log.read_text(errors='replace')[-2000:]}")
