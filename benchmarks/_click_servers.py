"""Servers for `benchmarks.click_latency`: `python -m benchmarks._click_servers SIDE PORT FOLDER KIND`, a process each.

`ours` is the backend of `pipeline serve`. `each` and `one` are the strategies of the usual examples, literally: one
predictor behind one lock, which reads the picture and encodes it at every click, or where it is another picture than
at the last click; then one prompt with every point so far, and a region with an id of four random characters. They
are lent our segmenter and our brush codes, so that what differs is what is done, not how fast each part is; and our
rounding of encodings and points, so that masks can be compared.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sys
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from benchmarks.encodings import network
from connectors.label_studio.backend.app import application
from connectors.label_studio.backend.services import Limits, Services
from connectors.label_studio.convert import Region, brush_row, read_regions
from connectors.label_studio.labeling_config import labeling_config, read_config
from connectors.serving.uvicorn_server import server_of
from pipeline.cli.serving import bound
from pipeline.domain.geometry import Image
from pipeline.domain.prompts import Encoding, Prompt
from pipeline.formats.image import read_image
from pipeline.ports import Segmenter
from pipeline.segmenting.careful import CarefulSegmenter
from pipeline.segmenting.cleaning import MaskSettings
from pipeline.segmenting.stored import StoredSegmenter
from pipeline.store.encodings import EncodingStore, rounded
from pipeline.wiring import open_segmenter

CONFIG = labeling_config(["object"])


def segmenter_of(kind: str) -> Segmenter:
    """`nano_sam` as it comes along; others with random weights."""
    return open_segmenter(kind, {"device": "cpu"}) if kind == "nano_sam" else network(kind)


def ours(segmenter: Segmenter, folder: Path) -> ASGIApp:
    """With a store of its own, and nothing warmed ahead: what is measured is the click."""
    kept = StoredSegmenter(segmenter, EncodingStore(folder / "encodings", 10**9))
    services = Services(
        classes=("object",),
        segmenter=CarefulSegmenter(kept, MaskSettings()),
        propose=lambda pairs: [() for _ in pairs],
        model_version=lambda: "benchmark",
        sample_of=lambda _: None,
        read_image=lambda sample: read_image(sample.path).image,
        decode_image=_decoded,
        queue=tuple,
        now=lambda: datetime.now(UTC),
        local_files=folder,
    )
    return application(services, secret=None, limits=Limits(warm_ahead=0))


def _decoded(data: bytes) -> Image:
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        file.write(data)
        file.flush()
        return read_image(Path(file.name)).image


class Usual:
    """The other side."""

    def __init__(self, segmenter: Segmenter, folder: Path, *, remembers_one: bool) -> None:
        self._segmenter = segmenter
        self._folder = folder
        self._remembers_one = remembers_one
        self._current: tuple[str, Encoding] | None = None
        self._lock = threading.Lock()
        self._tags = read_config(CONFIG)

    async def predict(self, request: Request) -> JSONResponse:
        return JSONResponse(await run_in_threadpool(self._answer, await request.json()))

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        name = str(body["tasks"][0]["data"]["image"]).partition("?d=")[2]
        with self._lock:
            if not self._remembers_one or self._current is None or self._current[0] != name:
                [encoding] = self._segmenter.encode([read_image(self._folder / name).image])
                self._current = name, rounded(encoding)
            encoding = self._current[1]
            points = read_regions(body["params"]["context"]["result"], encoding.size_hw)
            prompt = Prompt(
                points_xy=tuple(
                    (int(x) + 0.5, int(y) + 0.5) for x, y in filter(None, (p.point_xy for p in points))
                ),
                point_labels=tuple(one.positive is not False for one in points),
            )
            [[answer, *_]] = self._segmenter.decode(encoding, [prompt])
        region = Region(secrets.token_hex(2), points[-1].label, "brush", answer.mask, score=answer.predicted_iou)
        row = brush_row(region, self._tags)
        return {"results": [{"result": [row], "score": answer.predicted_iou, "model_version": "usual"}]}


async def _healthy(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "UP"})


async def _set_up(_request: Request) -> JSONResponse:
    return JSONResponse({"model_version": "usual"})


def usual(segmenter: Segmenter, folder: Path, *, remembers_one: bool) -> ASGIApp:
    served = Usual(segmenter, folder, remembers_one=remembers_one)
    routes = [
        Route("/health", _healthy),
        Route("/setup", _set_up, methods=["POST"]),
        Route("/webhook", _set_up, methods=["POST"]),
        Route("/predict", served.predict, methods=["POST"]),
    ]
    return Starlette(routes=routes)


def main() -> None:
    side, port, folder, kind = sys.argv[1:]
    segmenter = segmenter_of(kind)
    where = Path(folder)
    app = ours(segmenter, where) if side == "ours" else usual(segmenter, where, remembers_one=side == "one")
    with bound("127.0.0.1", int(port)) as listening:
        print(
            json.dumps({"side": side, "weights": hashlib.sha256(segmenter.name.encode()).hexdigest()}), flush=True
        )
        server_of(app, lifespan="on").run(sockets=[listening])


if __name__ == "__main__":
    main()
