"""Fifty people at once: `python -m benchmarks.backend_load [--people 50] [--pause 0.3] [--quick] [--json]`.

The backend stands in a process of its own, over pictures with a truth of their own (`benchmarks._load_scenes`).
Scripted people click: every session is an object of one picture, begun by a click or by an edit of a mask that lacks a
half, and every request holds all points so far; between two clicks they look for `--pause` seconds. Each session is
done by two people at about the same time. Held must be:

    errors      no answer but 200                                                                       goal 0
    crossed     no mask that is not the truth of its own picture (IoU < 0.9), where asked alone it is   goal 0
    differing   the same request has the same bytes, from whoever, and as a fresh server that is asked
                one after the other answers                                                             goal 0
    growth      resident memory in the second half of the requests                                      goal <= 5 %
    health      `/health` asked meanwhile, 95th percentile                                              goal <= 100 ms
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks._harness import machine
from benchmarks._load_scenes import OBJECTS, SIZE_HW, FloodSegmenter, name_of, picture, sample, truths
from connectors.label_studio.backend.app import application
from connectors.label_studio.backend.services import Limits, Services
from connectors.label_studio.convert import Region, brush_row, read_regions
from connectors.label_studio.labeling_config import labeling_config, read_config
from connectors.serving.uvicorn_server import server_of
from pipeline.cli.serving import bound, serve_until_stopped
from pipeline.domain.mask import Mask
from pipeline.segmenting.careful import CarefulSegmenter
from pipeline.segmenting.cleaning import MaskSettings
from pipeline.segmenting.stored import StoredSegmenter
from pipeline.store.encodings import EncodingStore

__all__ = ["Load", "measure", "server"]

PICTURES = 200
POINTS = 5
CONFIG = labeling_config(["object"])
TAGS = read_config(CONFIG)
GOAL_GROWTH = 0.05
GOAL_HEALTH_MS = 100.0
_START_S = 60.0


@dataclass
class Load:
    """What happened; times in seconds, memory in bytes at each hundredth of the way."""

    seconds: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    digests: dict[tuple[int, int], set[str]] = field(default_factory=dict)
    wrong: list[tuple[int, int]] = field(default_factory=list)
    alone: dict[tuple[int, int], tuple[str, bool]] = field(default_factory=dict)
    took_s: float = 0.0

    @property
    def crossed(self) -> int:
        return sum(self.alone.get(key, ("", True))[1] for key in self.wrong)

    @property
    def differing(self) -> int:
        apart = sum(len(found) > 1 for found in self.digests.values())
        return apart + sum(self.digests[key] != {digest} for key, (digest, _) in self.alone.items())

    @property
    def growth(self) -> float:
        """Of the last tenth over the tenth after the middle."""
        tenth = max(1, len(self.memory) // 10)
        middle = len(self.memory) // 2
        before, after = (
            float(np.median(part)) for part in (self.memory[middle : middle + tenth], self.memory[-tenth:])
        )
        return after / before - 1


@contextmanager
def server() -> Iterator[tuple[str, int]]:
    """Address and process id of a fresh backend."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.backend_load", "--serve", str(port), folder])
        try:
            _wait_for(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()
            process.wait(30)


def measure(people: int, requests: int, *, pause_s: float = 0.0, checked: int = 1000) -> Load:
    """`checked` requests are asked again of a fresh server, one after the other."""
    load, lock = Load(), threading.Lock()
    sessions = max(1, requests // (2 * POINTS))
    with server() as (url, pid), _watched(url, pid, load):
        begun = time.perf_counter()
        half = max(1, people // 2)
        with ThreadPoolExecutor(people) as crowd:
            turns = [range(person % half, sessions, half) for person in range(2 * half)]
            list(crowd.map(lambda turn: _person(url, turn, pause_s, load, lock), turns))
        load.took_s = time.perf_counter() - begun
    with server() as (url, _), httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        step = max(1, sessions * POINTS // checked)
        for index in range(0, sessions * POINTS, step):
            session, count = index // POINTS, index % POINTS + 1
            answer = client.post("/predict", json=_request(session, count))
            load.alone[session, count] = _digest(answer.content), _is_right(session, answer.json())
    return load


def _person(url: str, sessions: Sequence[int], pause_s: float, load: Load, lock: threading.Lock) -> None:
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        for session in sessions:
            for count in range(1, POINTS + 1):
                begun = time.perf_counter()
                answer = _asked(client, _request(session, count))
                took = time.perf_counter() - begun
                right = answer.status_code == 200 and _is_right(session, answer.json())
                with lock:
                    load.seconds.append(took)
                    load.failed[str(answer.status_code)] += answer.status_code != 200
                    load.digests.setdefault((session, count), set()).add(_digest(answer.content))
                    if not right:
                        load.wrong.append((session, count))
                time.sleep(pause_s)


def _asked(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    """As Label Studio's own people would: where the backend says to come back, they click again."""
    while (answer := client.post("/predict", json=body)).status_code == 503:
        time.sleep(float(answer.headers["retry-after"]))
    return answer


def _request(session: int, count: int) -> dict[str, Any]:
    """The request with the first `count` points of a session; every second session edits a half of its object."""
    number, place = session % PICTURES, session // PICTURES % OBJECTS
    truth = truths(number)[place]
    rng = np.random.default_rng(session)
    edits = session % 2 == 1
    (left, top), crop = truth.crop()
    ys, xs = np.nonzero(crop)
    if edits:  # the right half is missing, and clicked first
        ys, xs = ys[xs > crop.shape[1] // 2 + 1], xs[xs > crop.shape[1] // 2 + 1]
    chosen = rng.integers(0, len(xs), POINTS)
    points = [(float(xs[at] + left), float(ys[at] + top), True) for at in chosen]
    points[2] = (2.0, 2.0, False)
    rows = [_row(f"s{session}p{at}", *point) for at, point in enumerate(points[:count])]
    task: dict[str, Any] = {"id": session, "data": {"image": "x", "maskloop_sample": name_of(number)}}
    if edits:
        half = truth.bitmap().copy()
        half[:, int(left) + crop.shape[1] // 2 :] = False
        region = brush_row(Region(f"r{session}", "object", "brush", Mask.from_bitmap(half)), TAGS)
        task["drafts"] = [{"id": 1, "updated_at": "2026-01-01T00:00:00Z", "result": [region]}]
    context = {"result": rows}
    return {"tasks": [task], "project": "1.1", "label_config": CONFIG, "params": {"context": context}}


def _row(name: str, x: float, y: float, positive: bool) -> dict[str, Any]:
    height, width = SIZE_HW
    value = {"x": 100 * (x + 0.5) / width, "y": 100 * (y + 0.5) / height, "keypointlabels": ["object"]}
    size = {"original_width": width, "original_height": height, "image_rotation": 0}
    return {"id": name, "type": "keypointlabels", "is_positive": positive, "value": value, **size}


def _is_right(session: int, answer: dict[str, Any]) -> bool:
    regions = read_regions(answer["results"][0]["result"], SIZE_HW)
    truth = truths(session % PICTURES)[session // PICTURES % OBJECTS]
    return len(regions) == 1 and regions[0].mask is not None and regions[0].mask.iou(truth) >= 0.9


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def _watched(url: str, pid: int, load: Load) -> Iterator[None]:
    """Memory and health meanwhile, looked at by a process of its own, which waits for no thread of ours."""
    command = [sys.executable, "-m", "benchmarks.backend_load", "--watch", url, str(pid)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        for line in process.communicate(timeout=30)[0].splitlines():
            memory, seconds = line.split()
            load.memory.append(int(memory))
            load.health.append(float(seconds))


def _watch(url: str, pid: int) -> None:
    """Ten times a second, until Ctrl-C."""
    pages = os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(KeyboardInterrupt), httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
        while True:
            memory = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * pages
            begun = time.perf_counter()
            client.get("/health").raise_for_status()
            print(memory, time.perf_counter() - begun)
            time.sleep(0.1)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < until:
        try:
            httpx.get(f"{url}/health", trust_env=False).raise_for_status()
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the backend did not start")


def _serve(port: int, folder: Path) -> None:
    kept = StoredSegmenter(FloodSegmenter(), EncodingStore(folder, 10**9))
    known = {name_of(number): number for number in range(PICTURES)}
    services = Services(
        classes=("object",),
        segmenter=CarefulSegmenter(kept, MaskSettings()),
        propose=lambda pairs: [() for _ in pairs],
        model_version=lambda: "benchmark",
        sample_of=lambda name: sample(known[name]) if name in known else None,
        read_image=lambda one: picture(known[one.id]),
        decode_image=lambda _: picture(0),
        queue=tuple,
        now=lambda: datetime.now(UTC),
    )
    limits = Limits(kept_sessions_bytes=8 * 2**20, kept_encodings_bytes=32 * 2**20)
    app = application(services, secret=None, limits=limits)
    serve_until_stopped(server_of(app, lifespan="on"), bound("127.0.0.1", port))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and with --json one object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--requests", type=int, default=15_000)
    parser.add_argument("--pause", type=float, default=0.3, help="seconds; 0: how much it can take")
    parser.add_argument("--quick", action="store_true", help="eight people, 400 requests")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--watch", nargs=2, metavar=("URL", "PID"), help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=2, metavar=("PORT", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.serve:
        _serve(int(asked.serve[0]), Path(asked.serve[1]))
        return
    if asked.watch:
        _watch(asked.watch[0], int(asked.watch[1]))
        return
    people, requests = (8, 400) if asked.quick else (asked.people, asked.requests)
    load = measure(people, requests, pause_s=asked.pause)
    figures = {
        "people": people,
        "requests": len(load.seconds),
        "pause_s": asked.pause,
        "per_s": round(len(load.seconds) / load.took_s, 1),
        "p50_ms": round(1000 * float(np.percentile(load.seconds, 50)), 1),
        "p95_ms": round(1000 * float(np.percentile(load.seconds, 95)), 1),
        "health_p95_ms": round(1000 * float(np.percentile(load.health, 95)), 1),
        "errors": load.failed.total(),
        "crossed": load.crossed,
        "differing": load.differing,
        "alone": len(load.alone),
        "memory_mb": round(load.memory[-1] / 1e6, 1),
        "growth": round(load.growth, 4),
    }
    for name, value in figures.items():
        print(f"  {name:14s} {value}")
    held = not (load.failed.total() or load.crossed or load.differing)
    held = held and load.growth <= GOAL_GROWTH and figures["health_p95_ms"] <= GOAL_HEALTH_MS
    if asked.json:
        print(json.dumps({"name": "backend_load", **figures, "held": held, "machine": machine()}))


if __name__ == "__main__":
    main()
