"""The client of a Roboflow inference server, against exchanges of its documented form (README.md)."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectors.remote.messages import png_of, read_png
from connectors.segmenters import remote
from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Prompt
from pipeline.errors import BackendRejected, BackendUnavailable, DataError
from pipeline.ports import Segmenter
from tests.fakes.served import serving

HERE = Path(__file__).parent
SIZE_HW = (24, 32)
BOX = Prompt(box=Box(2, 3, 20, 15))
POINT = Prompt(points_xy=((10.0, 8.0),), point_labels=(True,))
BOTH = Prompt(box=BOX.box, points_xy=((10.0, 8.0), (30.0, 20.0)), point_labels=(True, False))
KEY = "a-key"


def picture() -> Image:
    return np.random.default_rng(0).integers(0, 255, (*SIZE_HW, 3), dtype=np.uint8)


class Replay:
    """A server that answers what is recorded, if it is asked what is recorded."""

    def __init__(self, exchanges: list[dict[str, Any]]) -> None:
        self.left = list(exchanges)
        self.ids: set[str] = set()
        self.app = Starlette(routes=[Route("/{path:path}", self.answer, methods=["POST"])])

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        image = body.pop("image")
        assert image["type"] == "base64"
        seen = read_png(base64.b64decode(image["value"], validate=True), 10_000)
        np.testing.assert_array_equal(seen, picture())
        self.ids.add(body.pop("image_id"))
        told = self.left.pop(0)
        assert {"path": request.url.path, "query": dict(request.query_params), "body": body} == told["request"]
        return JSONResponse(told["answer"], told["status"])


def recorded(name: str) -> list[dict[str, Any]]:
    exchanges: list[dict[str, Any]] = json.loads((HERE / name).read_text(encoding="utf-8"))
    return exchanges


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)


def client(url: str) -> Segmenter:
    settings = remote.Settings(url=url, protocol="roboflow", retries=0)
    return remote.build(settings, None)  # type: ignore[arg-type]  # it uses no resources


@pytest.mark.parametrize("name", ["run_lengths.json", "prompt_results.json", "polygons.json"])
def test_the_documented_exchanges(name: str) -> None:
    replay = Replay(recorded(name))
    with serving(replay.app) as url:
        segmenter = client(url)
        [encoding] = segmenter.encode([picture()])
        answers = segmenter.decode(encoding, [BOX, POINT, BOTH, Prompt(box=BOX.box)])
    assert replay.left == []
    assert len(replay.ids) == 1, "one image, one id, under which the server keeps the embedding"
    wanted = [Box(2, 3, 20, 15), Box(5, 5, 15, 12), Box(3, 3, 20, 15), Box(2, 3, 19, 15)]
    assert [entry[0].mask for entry in answers] == [Mask.from_box(box, SIZE_HW) for box in wanted]
    assert [entry[0].predicted_iou for entry in answers] == [0.96, 0.7, 0.98, 0.91]
    assert all(len(entry) == 1 and entry[0].logits is None for entry in answers)


def test_the_key_is_in_no_log_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    exchanges = recorded("run_lengths.json")[:1]
    exchanges[0] |= {"status": 500, "answer": {"message": "Internal error."}}
    with (
        caplog.at_level(logging.DEBUG),
        serving(Replay(exchanges).app) as url,
        pytest.raises(BackendRejected, match="Internal error") as caught,
    ):
        client(url).encode([picture()])
    assert "POST" in caplog.text, "the test sees the log"
    assert KEY not in caplog.text
    assert KEY not in str(caught.value)


def broken(status: int, answer: object) -> Starlette:
    async def always(request: Request) -> Response:
        if request.url.path == "/sam3/embed_image":
            return JSONResponse({"image_id": "a", "time": 0.1})
        return JSONResponse(answer, status)

    return Starlette(routes=[Route("/{path:path}", always, methods=["POST"])])


def told(masks: object, confidence: object = 0.5) -> dict[str, Any]:
    return {"predictions": [{"masks": masks, "confidence": confidence}], "time": 0.1}


@pytest.mark.parametrize(
    ("status", "answer", "error", "match"),
    [
        (401, {"message": "Unauthorized"}, BackendRejected, "ROBOFLOW_API_KEY"),
        (422, {"detail": [{"msg": "Field required"}]}, BackendRejected, "Field required"),
        (503, {"message": "busy"}, BackendUnavailable, "busy"),
        (200, [], BackendRejected, "neither"),
        (200, {"predictions": []}, BackendRejected, "0 answers to 1"),
        (
            200,
            {"prompt_results": [{"prompt_index": 4, "predictions": [{"confidence": 1}]}]},
            BackendRejected,
            "ind",
        ),
        (200, {"prompt_results": [{"prompt_index": 0, "predictions": []}]}, BackendRejected, "no prediction"),
        (200, told([[[1, 2], "x"]]), BackendRejected, "polygon"),
        (200, told({"size": [9, 9], "counts": "a"}), BackendRejected, "run lengths"),
        (200, told(None), BackendRejected, "segmentation"),
        (200, told([], "high"), BackendRejected, "confidence"),
    ],
)
def test_what_is_not_the_documented_form_is_refused(
    status: int, answer: object, error: type[Exception], match: str
) -> None:
    with serving(broken(status, answer)) as url:
        segmenter = client(url)
        [encoding] = segmenter.encode([picture()])
        with pytest.raises(error, match=match):
            segmenter.decode(encoding, [BOX])


def test_no_mask_is_an_empty_one() -> None:
    with serving(broken(200, told([]))) as url:
        segmenter = client(url)
        [[one]] = segmenter.decode(segmenter.encode([picture()])[0], [BOX])
    assert (one.mask.area_px, one.predicted_iou, one.stability) == (0, 0.0, 0.0)


def test_what_the_endpoint_cannot_do_is_refused_before_it_is_asked() -> None:
    replay = Replay(recorded("run_lengths.json")[:1])
    with serving(replay.app) as url:
        segmenter = client(url)
        [encoding] = segmenter.encode([picture()])
        for prompt in (Prompt(prior=Mask.empty(SIZE_HW)), Prompt(box=BOX.box, text="a dog")):
            with pytest.raises(BackendRejected, match=r"it (takes|understands)"):
                segmenter.decode(encoding, [prompt])
        with pytest.raises(BackendRejected, match="mask_threshold"):
            segmenter.decode(encoding, [BOX], mask_threshold=0.5)
        with pytest.raises(DataError, match="outside"):
            segmenter.decode(encoding, [Prompt(points_xy=((99.0, 1.0),), point_labels=(True,))])
        assert segmenter.decode(encoding, []) == []


def test_the_picture_of_the_exchanges_is_whole() -> None:
    np.testing.assert_array_equal(read_png(png_of(picture()), 10_000), picture())
