"""How long a person waits for a mask: `python -m benchmarks.click_latency [--network mobile_sam] [--studio] [--json]`.

Two servers with the same network stand side by side (`benchmarks._click_servers`): the backend of `pipeline serve`, and
a literal re-creation of what the usual examples do. Each is clicked on like Label Studio clicks, every request with all
points of the region so far:

    warm        one picture, click after click, against a server that encodes at every click       goal <= 1/10
    in turn     two pictures alternately, against a server that remembers one                      goal <= 1/8
    nano        the backend alone with nano_sam: 50th and 95th percentile, one and eight people    goal p95 <= 150 ms
    studio      the same clicks through a real Label Studio (with --studio, if it is installed)

Both sides of a comparison must answer with equal masks. Random weights (all but nano_sam): times mean something, masks
do not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np

from benchmarks._click_servers import CONFIG
from benchmarks._harness import Comparison, alternate, machine
from benchmarks.encodings import picture
from connectors.label_studio.client import Client
from connectors.label_studio.project import connect_backend
from connectors.label_studio.starting import Account, Studio, executable, free_port, running

SIZE_HW = (960, 1280)
GOALS = {"warm": 1 / 10, "in turn": 1 / 8}
GOAL_P95_MS = 150.0
CLICKS = 6
"""Points of a region; then a new one begins."""
_START_S = 120.0


@contextmanager
def server(side: str, folder: Path, kind: str) -> Iterator[str]:
    """Its address, while it runs."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks._click_servers", side, str(port), str(folder), kind]
    with (folder / f"{side}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + _START_S
        while time.monotonic() < until and process.poll() is None:
            try:
                httpx.get(f"{url}/health", timeout=1, trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.2)
        else:
            raise RuntimeError((folder / f"{side}.log").read_text())
        yield url
    finally:
        process.terminate()
        process.wait(30)


class Person:
    """Clicks on pictures, one region after another; the same seed clicks the same."""

    def __init__(self, url: str, seed: int) -> None:
        self._client = httpx.Client(base_url=url, timeout=120, trust_env=False)
        self._rng = np.random.default_rng(seed)
        self._points: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self._regions = 0
        self._begun: dict[int, int] = defaultdict(int)
        self._seed = seed
        self.parts: list[str] = []

    def context(self, number: int) -> dict[str, Any]:
        """The prompts of the next click on a picture."""
        points = self._points[number]
        if len(points) == CLICKS:
            points.clear()
            self._begun[number] += 1
        self._regions += 1
        x, y = self._rng.uniform(20, 80, 2)
        points.append(
            {
                "id": f"p{self._seed}-{self._regions}",
                "from_name": "keypoint",
                "to_name": "image",
                "type": "keypointlabels",
                "original_width": SIZE_HW[1],
                "original_height": SIZE_HW[0],
                "image_rotation": 0,
                "is_positive": len(points) % 3 != 2,
                "value": {"x": float(x), "y": float(y), "width": 0.3, "keypointlabels": ["object"]},
            }
        )
        return {"result": list(points)}

    def click(self, number: int) -> list[int]:
        """The answer's code."""
        context = self.context(number)
        # A task for each person and region, so that none is understood as the correction of the one before.
        address = f"/data/local-files/?d=pictures/{number}.jpg"
        task = {"id": 1000 * (1000 * self._seed + self._begun[number]) + number, "data": {"image": address}}
        body = {"tasks": [task], "project": "1.1", "label_config": CONFIG, "params": {"context": context}}
        answer = self._client.post("/predict", json=body)
        answer.raise_for_status()
        self.parts.append(answer.headers.get("Server-Timing", ""))
        return _code(answer.json()["results"][0])


def _code(result: dict[str, Any]) -> list[int]:
    rows = result["result"]
    return rows[0]["value"]["rle"] if rows else []


def make_pictures(folder: Path, count: int) -> None:
    (folder / "pictures").mkdir(parents=True)
    for number in range(count):
        image = picture(number, SIZE_HW)
        cv2.imwrite(str(folder / "pictures" / f"{number}.jpg"), image[..., ::-1])


def compared(ours: str, peer: str, pictures: Sequence[int], pairs: int) -> tuple[Comparison, float]:
    """Both sides click alike, `pictures` in turn; and the share of first answers that are equal.

    Only a region's first click has to be answered alike: later ones carry the last answer's logits with us.
    """
    people = Person(ours, len(pictures)), Person(peer, len(pictures))
    answers: list[list[list[int]]] = [[], []]

    def one(side: int) -> None:
        for number in pictures:
            answers[side].append(people[side].click(number))

    found = alternate(lambda: one(0), lambda: one(1), pairs)
    firsts = [n for n in range(len(answers[0])) if (n // len(pictures)) % CLICKS == 0]
    same = [answers[0][n] == answers[1][n] for n in firsts]
    return found, float(np.mean(same))


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    return {"p50_ms": 1e3 * float(np.percentile(seconds, 50)), "p95_ms": 1e3 * float(np.percentile(seconds, 95))}


def timed(person: Person, pictures: Sequence[int], clicks: int) -> list[float]:
    times = []
    for turn in range(clicks):
        start = time.perf_counter()
        person.click(pictures[turn % len(pictures)])
        times.append(time.perf_counter() - start)
    return times


def by_people(url: str, people: int, clicks: int) -> dict[str, Any]:
    """Every person has pictures of their own; cold is the first click on a picture."""
    crowd = [Person(url, 100 * people + number) for number in range(people)]
    own = [[2 * number, 2 * number + 1] for number in range(people)]

    def all_of(count: int) -> list[float]:
        with ThreadPoolExecutor(people) as threads:
            return [one for times in threads.map(timed, crowd, own, [count] * people) for one in times]

    cold = all_of(2)
    return {
        "people": people,
        "cold": percentiles(cold),
        "warm": percentiles(all_of(clicks)),
        "parts": shares(crowd),
    }


def shares(crowd: Sequence[Person]) -> dict[str, float]:
    """The median milliseconds of each part of an answer, as the server tells them."""
    found: dict[str, list[float]] = defaultdict(list)
    for person in crowd:
        for header in person.parts[2:]:
            for part in header.split(","):
                name, _, duration = part.strip().partition(";dur=")
                if duration:
                    found[name].append(float(duration))
    return {name: round(statistics.median(values), 2) for name, values in found.items()}


def through(studio: Studio, url: str, name: str, clicks: int) -> dict[str, float]:
    """Clicks as the editor makes them, through Label Studio, on two pictures in turn."""
    client = Client(studio.url, studio.account.legacy_token)
    project = client.create(
        "/api/projects/", {"title": f"clicks {name}", "label_config": CONFIG}, "make a project"
    )["id"]
    connect_backend(client, project, url, None)
    rows = [{"data": {"image": f"/data/local-files/?d=pictures/{number}.jpg"}} for number in (0, 1)]
    tasks = client.import_tasks(project, rows)
    [backend] = client.backends(project)
    person, times = Person(url, 7), []
    for turn in range(clicks):
        start = time.perf_counter()
        answer = client.ask(int(backend["id"]), tasks[turn % 2], person.context(turn % 2))
        times.append(time.perf_counter() - start)
        if not answer.get("data", {}).get("result"):
            raise RuntimeError(f"no mask came back through Label Studio: {answer}")
    return percentiles(times[2:])


def side_by_side(folder: Path, kind: str, pairs: int) -> dict[str, Any]:
    """The two comparisons."""
    results: dict[str, Any] = {}
    with server("ours", folder, kind) as ours:
        for name, side, pictures in (("warm", "each", [0]), ("in turn", "one", [0, 1])):
            with server(side, folder, kind) as peer:
                found, same = compared(ours, peer, pictures, pairs)
            results[name] = {"ratio": found.ratio, "ci95": found.ci95, "goal": GOALS[name], "equal": same}
            faster, wanted = 1 / found.ratio, 1 / GOALS[name]
            print(f"{name:<8} {faster:6.1f} x the usual way (goal >= {wanted:.0f}), {same:.0%} equal masks")
    return results


def nano(folder: Path, clicks: int) -> list[dict[str, Any]]:
    rows = []
    with server("ours", folder, "nano_sam") as url:
        for people in (1, 8):
            rows.append(by_people(url, people, clicks))
            cold, warm = rows[-1]["cold"], rows[-1]["warm"]
            print(
                f"nano_sam, {people} at once: cold p50 {cold['p50_ms']:.0f} ms p95 {cold['p95_ms']:.0f} ms, warm p50 "
                f"{warm['p50_ms']:.0f} ms p95 {warm['p95_ms']:.0f} ms; parts (ms) {rows[-1]['parts']}"
            )
    return rows


def in_studio(folder: Path, kind: str, clicks: int) -> dict[str, Any]:
    program = executable(Path(__file__).resolve().parents[1])
    if program is None:
        print("studio: skipped, Label Studio is not installed here; `make label-studio` installs it")
        return {}
    found = {}
    with running(program, folder / "studio", Account.drawn(), files=folder) as studio:
        for side in ("ours", "one"):
            with server(side, folder, kind) as url:
                found[side] = through(studio, url, side, clicks)
            print(
                f"through Label Studio, {side}: p50 {found[side]['p50_ms']:.0f} ms p95 {found[side]['p95_ms']:.0f} ms"
            )
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what was measured; fail where answers differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", default="mobile_sam", help="the network of the comparisons")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--clicks", type=int, default=60, help="of each person, with nano_sam")
    parser.add_argument("--studio", action="store_true", help="also through a real Label Studio")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder, 16)
        results = side_by_side(folder, asked.network, asked.pairs)
        people = nano(folder, asked.clicks)
        studio = in_studio(folder, asked.network, 16) if asked.studio else {}
    if asked.json:
        facts = {
            "name": "click_latency",
            "ours": results,
            "nano_sam": people,
            "studio": studio,
            "goal_p95_ms": GOAL_P95_MS,
        }
        more = {"goal_p95_ms": GOAL_P95_MS, "network": asked.network, "machine": machine(("torch", "starlette"))}
        print(json.dumps({**facts, **more}))
    if any(found["equal"] < 1 for found in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
