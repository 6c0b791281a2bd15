"""The backend's part of `benchmarks.fuzz`: what strangers and broken clients send, against a process of its own.

    requests     made from the backend's own description, and recorded clicks with parts bent:  no 500, no crash, and
                 bounded memory
    headers      wrong Authorizations:                                                          401 each
    addresses    images at addresses that lead inside:                                          0 hits on the canary
    secrets      in everything that was sent, with the server's log at its most talkative:      0 hits in log, answers

`python -m benchmarks._fuzz_backend [--count 2000] [--json]` does these alone.
"""

from __future__ import annotations

import argparse
import http.client
import http.server
import json
import logging
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks._attacks import inside, wrong_headers
from benchmarks._load_scenes import SIZE_HW, FloodSegmenter, name_of, picture, sample, truths
from connectors.label_studio.backend.app import application
from connectors.label_studio.backend.services import Services
from connectors.label_studio.convert import Region, brush_row
from connectors.label_studio.labeling_config import labeling_config, read_config
from connectors.serving.uvicorn_server import server_of
from pipeline.cli.serving import bound

__all__ = ["fuzz_backend"]

SECRET = "canary-of-the-backend"  # noqa: S105  # it is looked for in logs
TOKEN = "canary-of-label-studio"  # noqa: S105  # likewise
PERSONAL = "canary-of-somebody"
CONFIG = labeling_config(["object"])
GOAL_GROWTH_MB = 150.0
_AUTH = ("maskloop", SECRET)
_STRANGE: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, -1e308, float("nan"), float("inf"), 2**63, 10**400, "", "\0", "x" * 10_000, "💥", "../..",
    [], {}, [[]], [None], {"a": None}, [1] * 5000, "brushlabels", {"x": "1", "y": []}, "<View/>", [0, 0, 0, 0, 255] * 9,
)  # fmt: skip


class _Studio:
    """Label Studio, at an address where nobody is."""

    url = "http://127.0.0.1:1"

    def authorization(self, stale: str | None = None) -> str:
        del stale
        return f"Token {TOKEN}"


def fuzz_backend(count: int = 2000, seed: int = 0) -> dict[str, Any]:
    """All parts; `count` requests. `held` says whether every goal is."""
    with _server() as (url, pid, log), _canary() as (port, hits):
        with httpx.Client(base_url=url, auth=_AUTH, trust_env=False, timeout=60) as client:
            answers: list[str] = []
            _bent(client, 20, random.Random(seed), answers)  # noqa: S311  # what is loaded once is no growth
            before = _memory_mb(pid)
            made = _described(client, count // 2, seed, answers)
            made += _bent(client, count - count // 2, random.Random(seed), answers)  # noqa: S311
            growth = _memory_mb(pid) - before
            headers = _headers(client.base_url)
            addresses = _addresses(client, port, answers)
            alive = client.get("/health").status_code == 200
        told = log.read_text(encoding="utf-8", errors="replace") + "".join(answers)
    leaks = sum(told.count(canary) for canary in (SECRET, TOKEN, PERSONAL)) + told.count("Traceback")
    failed = sum(number for status, number in made.items() if status >= 500 and status != 503)
    return {
        "requests": made.total(),
        "statuses": {str(status): number for status, number in sorted(made.items())},
        "failed": failed,
        "alive": alive,
        "growth_mb": round(growth, 1),
        "headers": len(headers),
        "let_in": sum(status != 401 for status in headers),
        "addresses": addresses,
        "canary_hits": len(hits),
        "leaks": leaks,
        "log_bytes": len(told),
        "held": alive
        and not (failed or hits or leaks or any(status != 401 for status in headers))
        and growth <= GOAL_GROWTH_MB,
    }


def _described(client: httpx.Client, count: int, seed: int, answers: list[str]) -> Counter[int]:
    """From the OpenAPI description, by schemathesis; the labelling configuration is mostly a good one."""
    import hypothesis
    import schemathesis
    from schemathesis.core.result import Ok

    described = client.get("/openapi.json").json()
    config = described["components"]["schemas"]["Predict"]["properties"]["label_config"]
    described["components"]["schemas"]["Predict"]["properties"]["label_config"] = {
        "anyOf": [{"const": CONFIG}, config]
    }
    found: Counter[int] = Counter()
    read = schemathesis.openapi.from_dict(described).get_all_operations()
    operations = [one.ok() for one in read if isinstance(one, Ok)]
    taking = [one for one in operations if one.method.upper() in {"POST", "DELETE"} or "{" in one.path]
    for operation in taking:

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=-(-count // len(taking)),
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )
        @hypothesis.given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            told = case.as_transport_kwargs(base_url=str(client.base_url))
            wanted = {key: told[key] for key in ("method", "url", "params", "json") if told.get(key) is not None}
            if isinstance(told.get("data"), (str, bytes)):
                wanted["content"] = told["data"]
            _note(client.request(**wanted, headers={"Content-Type": "application/json"}), found, answers)

        ask()
    return found


def _bent(client: httpx.Client, count: int, rng: random.Random, answers: list[str]) -> Counter[int]:
    """Recorded requests in which one, two or three parts are something else; and bytes that are no JSON any more."""
    found: Counter[int] = Counter()
    recorded = _recorded()
    for _ in range(count):
        path, body = rng.choice(recorded)
        body = deepcopy(body)
        for _ in range(rng.randint(1, 3)):
            _bend(body, rng)
        content = json.dumps(body).encode()
        if rng.random() < 0.2:
            at = rng.randrange(len(content))
            content = content[:at] + rng.randbytes(rng.randint(0, 3)) + content[at + rng.randint(0, 40) :]
        _note(client.post(path, content=content, headers={"Content-Type": "application/json"}), found, answers)
    return found


def _recorded() -> list[tuple[str, dict[str, Any]]]:
    region = brush_row(Region("r1", "object", "brush", truths(0)[0]), read_config(CONFIG))
    value = {"x": 50.0, "y": 50.0, "width": 0.3, "keypointlabels": ["object"]}
    box = {"x": 10.0, "y": 10.0, "width": 30.0, "height": 30.0, "rotation": 0, "rectanglelabels": ["object"]}
    size = {"original_width": SIZE_HW[1], "original_height": SIZE_HW[0], "image_rotation": 0, "to_name": "image"}
    point = {"id": "p1", "type": "keypointlabels", "is_positive": True, "value": value, **size}
    rectangle = {"id": "b1", "type": "rectanglelabels", "value": box, **size}
    saved = [{"id": 1, "updated_at": "2026-01-01T00:00:00Z", "user": PERSONAL, "result": [region, point]}]
    task = {"id": 1, "data": {"image": "/data/upload/1/a.png", "maskloop_sample": name_of(0)}, "drafts": saved}
    body = {"tasks": [task], "project": "1.17", "label_config": CONFIG}
    params = {"login": PERSONAL, "password": PERSONAL}
    return [
        ("/predict", {**body, "params": {**params, "context": {"result": [point, {**point, "id": "p2"}]}}}),
        ("/predict", {**body, "params": {**params, "context": {"result": [rectangle]}}}),
        ("/predict", {**body, "params": {**params, "context": None}}),
        ("/setup", {"project": "1.17", "schema": CONFIG, "hostname": "http://x", "access_token": PERSONAL}),
        (
            "/webhook",
            {"action": "ANNOTATION_CREATED", "annotation": saved[0], "project": {"id": 1, "token": PERSONAL}},
        ),
    ]


def _bend(body: Any, rng: random.Random) -> None:
    """Walk down to some part, and put something strange in its place, or take it away."""
    here = body
    while True:
        keys: list[Any] = list(here) if isinstance(here, dict) else list(range(len(here)))
        if not keys:
            return
        key = rng.choice(keys)
        inner = here[key]
        if isinstance(inner, (dict, list)) and inner and rng.random() < 0.85:
            here = inner
        elif rng.random() < 0.2:
            del here[key]
            return
        else:
            here[key] = deepcopy(rng.choice(_STRANGE))
            return


def _headers(url: httpx.URL) -> list[int]:
    """The answers to every wrong header, as it stands on the wire: `httpx` would refuse to send some of them."""
    found = []
    for header in wrong_headers(SECRET):
        line = http.client.HTTPConnection(url.host, url.port or 80, timeout=10)
        line.putrequest("GET", "/versions")
        if header is not None:
            line.putheader("Authorization", header)
        line.endheaders()
        found.append(line.getresponse().status)
        line.close()
    return found


def _addresses(client: httpx.Client, port: int, answers: list[str]) -> int:
    """Ask for images at every one; how many there are."""
    _, body = _recorded()[0]
    found: Counter[int] = Counter()
    addresses = [*inside(port), f"/data/local-files/?d=../../..{os.sep}etc/passwd", f"//127.0.0.1:{port}/a"]
    for number, address in enumerate(addresses):
        asked = deepcopy(body)
        asked["tasks"][0] |= {"id": 10_000 + number, "data": {"image": address}}
        _note(client.post("/predict", json=asked), found, answers)
    if set(found) - {422, 503}:
        raise RuntimeError(f"addresses were answered with {dict(found)}")
    return len(addresses)


def _note(answer: httpx.Response, found: Counter[int], answers: list[str]) -> None:
    found[answer.status_code] += 1
    answers.append(answer.text[:2000] if answer.status_code != 200 else "")


def _memory_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def _canary() -> Iterator[tuple[int, list[str]]]:
    """A server that nobody must reach: its port, and who did."""
    hits: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def handle(self) -> None:
            hits.append(str(self.client_address))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as canary:
        threading.Thread(target=canary.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield canary.server_port, hits
        canary.shutdown()


@contextmanager
def _server() -> Iterator[tuple[str, int, Path]]:
    """A fresh backend: its address, its process, and its log."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        log = Path(folder) / "log"
        with log.open("wb") as said:
            command = [sys.executable, "-m", "benchmarks._fuzz_backend", "--serve", str(port), folder]
            process = subprocess.Popen(command, stdout=said, stderr=said)
        url = f"http://127.0.0.1:{port}"
        try:
            until = time.monotonic() + 60
            while not _answers(url):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"the backend did not start: {log.read_text()[-2000:]}")
                time.sleep(0.05)
            yield url, process.pid, log
        finally:
            process.terminate()
            process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _serve(port: int, folder: Path) -> None:
    logging.basicConfig(level=logging.DEBUG)
    (folder / "files").mkdir()
    services = Services(
        classes=("object",),
        segmenter=FloodSegmenter(),
        propose=lambda pairs: [() for _ in pairs],
        model_version=lambda: "benchmark",
        sample_of=lambda name: sample(0) if name == name_of(0) else None,
        read_image=lambda _: picture(0),
        decode_image=lambda _: picture(0),
        queue=tuple,
        now=lambda: datetime.now(UTC),
        run_command=(sys.executable, "-c", ""),
        jobs=folder / "jobs",
        local_files=folder / "files",
        studio=_Studio(),
        allowed=("http://allowed.example",),
    )
    server = server_of(application(services, secret=SECRET), lifespan="on")
    server.run(sockets=[bound("127.0.0.1", port)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", nargs=2, metavar=("PORT", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.serve:
        _serve(int(asked.serve[0]), Path(asked.serve[1]))
        return
    found = fuzz_backend(asked.count)
    for name, value in found.items():
        print(f"  {name:12s} {value}")
    if asked.json:
        print(json.dumps({"name": "fuzz_backend", **found}))


if __name__ == "__main__":
    main()
