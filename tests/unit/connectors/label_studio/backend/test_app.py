"""The backend's routes: one answer for each task, in order; what is refused, and how."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from connectors.label_studio.backend.services import Limits
from pipeline.domain.geometry import Image
from pipeline.domain.prompts import Encoding
from pipeline.domain.records import Instance
from pipeline.errors import BackendUnavailable, DataError
from tests.fakes.brush import BrushSegmenter
from tests.unit.connectors.label_studio.backend._tools import (
    CONFIG,
    SECRET,
    box,
    brush,
    disc,
    mask_in,
    name_of,
    point,
    prediction_of,
    predictions_of,
    services,
    talking,
)

Row = dict[str, Any]


def task(number: int, **more: Any) -> Row:
    return {"id": number + 1, "data": {"image": "x", "maskloop_sample": name_of(number)}, **more}


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["type"]


def test_it_says_what_it_is() -> None:
    with talking(services()) as client:
        for path in ("/health", "/"):
            assert client.get(path).json()["status"] == "UP"
        body = {
            "project": "1.17",
            "schema": CONFIG,
            "hostname": "http://x",
            "access_token": "t",
            "extra_params": {},
        }
        assert client.post("/setup", json=body).json() == {"model_version": "start + brush"}
        assert client.get("/versions").json() == {"versions": ["start + brush"]}
        assert client.get("/nothing").status_code == 404
        assert client.get("/predict").status_code == 405


def test_a_configuration_that_cannot_be_used_is_told_when_it_is_connected() -> None:
    with talking(services()) as client:
        answer = client.post("/setup", json={"project": "1", "schema": "<View/>"})
        assert refusal(answer) == (422, "BadFormat")
        assert "Image" in answer.json()["error"]["message"]


def test_what_would_keep_clicks_from_working_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    lacking = CONFIG.replace('smartonly="true"', "").replace('smart="true"', 'smart="false"')
    with talking(services()) as client, caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert client.post("/setup", json={"project": "1", "schema": lacking}).status_code == 200
    told = [row.getMessage() for row in caplog.records if "labelling configuration" in row.getMessage()]
    assert len(told) == len(set(told)) >= 2
    assert "smart" in told[0]


def test_every_task_gets_one_prediction_in_order_bad_images_or_not() -> None:
    broken = range(0, 256, 10)
    with talking(services(256, broken=broken), limits=Limits(batch=32)) as client:
        found = predictions_of(client, [task(number) for number in range(256)])
        assert [bool(one["result"]) for one in found] == [number not in broken for number in range(256)]
        assert all(one["model_version"] == "start + brush" for one in found)
        assert found[1]["score"] == 0.75
        assert [mask_in(found[n])[0] for n in (1, 2)] == [name_of(1)[:16], name_of(2)[:16]]
        told = client.get("/metrics").text
        assert 'maskloop_pictures_total{outcome="ImageUnreadable"} 26.0' in told
        assert 'maskloop_answers_total{route="/predict",status="200"} 1.0' in told


def test_a_task_that_has_this_versions_prediction_keeps_it() -> None:
    own = {"id": 3, "model_version": "start + brush", "score": 0.4, "result": [brush("kept", disc(9, 9))]}
    other = own | {"model_version": "before"}
    with talking(services()) as client:
        kept, made = predictions_of(client, [task(0, predictions=[own]), task(1, predictions=[other])])
    assert kept["result"] == own["result"]
    assert kept["score"] == 0.4
    assert mask_in(made)[0] == name_of(1)[:16]


def test_polygons_where_the_project_wants_them() -> None:
    with talking(services(polygons=True)) as client:
        [made] = predictions_of(client, [task(0)])
        assert [row["type"] for row in made["result"]] == ["polygonlabels"]
        assert prediction_of(client, task(1), point("p1", 40, 40))["result"][0]["type"] == "polygonlabels"


def test_what_is_wrong_with_one_proposal_leaves_the_others() -> None:
    def propose(images: Sequence[tuple[str, Image]]) -> list[tuple[Instance, ...] | DataError]:
        return [DataError("no") if name == name_of(1) else (box(name),) for name, _ in images]

    with talking(services(propose=propose)) as client:
        found = predictions_of(client, [task(number) for number in range(3)])
    assert [bool(one["result"]) for one in found] == [True, False, True]


def test_a_click_is_answered_alike_twice_and_tells_its_parts() -> None:
    with talking(services()) as client:
        body = {
            "tasks": [task(0)],
            "project": "1.17",
            "label_config": CONFIG,
            "params": {"login": None, "context": {"result": [point("p1", 40, 40)]}},
        }
        first, second = (client.post("/predict", json=body) for _ in range(2))
        assert first.content == second.content
        assert mask_in(first.json()["results"][0])[1] == disc(40, 40)
        parts = [part.partition(";")[0] for part in first.headers["server-timing"].split(", ")]
        assert parts == ["body", "parse", "encoding", "mask", "regions", "json"]


def test_destroyed_prompts_get_an_empty_answer_even_for_a_picture_that_is_gone() -> None:
    with talking(services(broken=[0])) as client:
        assert prediction_of(client, task(0))["result"] == []


def test_a_click_on_a_picture_that_cannot_be_read_is_told() -> None:
    with talking(services(broken=[0])) as client:
        body = {"tasks": [task(0)], "label_config": CONFIG, "params": {"context": {"result": [point("p", 1, 1)]}}}
        answer = client.post("/predict", json=body)
    assert refusal(answer) == (422, "ImageUnreadable")
    assert "no longer an image" in answer.text
    assert "/nowhere" not in answer.text


def test_a_server_that_is_away_is_a_reason_to_come_back() -> None:
    def away(_: object) -> Any:
        raise BackendUnavailable("gone", backend="elsewhere", operation="answer")

    with talking(services(sample_of=away)) as client:
        body = {"tasks": [task(0)], "label_config": CONFIG, "params": {"context": {"result": [point("p", 1, 1)]}}}
        answer = client.post("/predict", json=body)
    assert refusal(answer) == (503, "BackendUnavailable")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b"null", 422),
        (b"\xff\xfe", 422),
        (b"[" * 100_000, 422),
        (b'{"tasks": []}', 422),
        (b'{"tasks": [], "label_config": "<View/>"}', 422),
        (b'{"tasks": [{"id": 1}], "label_config": "<View/>"}', 422),
        (b'{"tasks": [{"id": 1}], "label_config": "<!DOCTYPE x [<!ENTITY a \\"b\\">]><View>&a;</View>"}', 422),
        (json.dumps({"tasks": [{}] * 5, "label_config": CONFIG}).encode(), 413),
        (json.dumps({"tasks": [{}], "label_config": CONFIG, "params": {"context": {"result": [{}] * 9}}}), 413),
        (json.dumps({"tasks": [{}] * 2, "label_config": CONFIG, "params": {"context": {"result": [{}]}}}), 422),
        (b" " * 100_001, 413),
    ],
)
def test_bodies_that_are_wrong_are_refused_and_not_repeated(body: bytes | str, status: int) -> None:
    limits = Limits(max_tasks=4, max_points=8, max_body_bytes=100_000)
    with talking(services(), limits=limits) as client:
        answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status
        assert "Traceback" not in answer.text
        assert len(answer.text) < 700
        assert client.get("/health").status_code == 200


def test_the_body_must_be_said_to_be_json() -> None:
    with talking(services()) as client:
        for path in ("/predict", "/setup", "/webhook", "/jobs"):
            answer = client.post(path, content=b"{}", headers={"Content-Type": "text/plain"})
            assert refusal(answer) == (415, "WrongType")


class Slow(BrushSegmenter):
    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        self.begun.release()
        assert self.go.wait(120), "nobody let it go"
        return super().encode(images)


def test_health_answers_while_the_model_is_busy_and_too_much_is_put_off() -> None:
    segmenter = Slow()
    with (
        talking(services(segmenter=segmenter), limits=Limits(click_threads=1, waiting=1)) as client,
        ThreadPoolExecutor(3) as people,
    ):
        answers = [people.submit(prediction_of, client, task(number), point("p", 40, 40)) for number in range(3)]
        assert segmenter.begun.acquire(timeout=60)
        until = time.monotonic() + 60
        while "maskloop_places_taken 3.0" not in client.get("/metrics").text and time.monotonic() < until:
            time.sleep(0.01)
        assert client.get("/health").status_code == 200
        assert "maskloop_places_taken 3.0" in client.get("/metrics").text, "answered while the model was busy"
        body = {"tasks": [task(0)], "label_config": CONFIG, "params": {"context": {"result": []}}}
        busy = client.post("/predict", json=body)
        assert refusal(busy) == (503, "Busy")
        assert busy.headers["retry-after"] == "1"
        segmenter.go.set()
        assert all(answer.result()["result"] for answer in answers)


def test_a_defect_is_told_by_its_number_alone(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: object) -> Any:
        raise ZeroDivisionError("what somebody sent")

    with talking(services(sample_of=broken)) as client, caplog.at_level(logging.DEBUG):
        body = {"tasks": [task(0)], "label_config": CONFIG, "params": {"context": {"result": [point("p", 1, 1)]}}}
        answer = client.post("/predict", json=body)
    assert refusal(answer) == (500, "Internal")
    told = [row.getMessage() for row in caplog.records if answer.json()["error"]["id"] in row.getMessage()]
    assert len(told) == 1
    assert "ZeroDivisionError at" in told[0]
    assert "what somebody sent" not in caplog.text + answer.text
    assert "Traceback" not in caplog.text


def test_eight_people_on_eight_pictures_get_their_own_masks() -> None:
    def one(client: httpx.Client, number: int) -> bool:
        x, y = 20 + number * 10, 10 + number * 8
        return mask_in(prediction_of(client, task(number), point(f"p{number}", x, y)))[1] == disc(x, y)

    with talking(services(8)) as client, ThreadPoolExecutor(8) as people:
        assert all(people.map(lambda turn: one(client, turn % 8), range(64)))


def test_what_it_takes_is_described() -> None:
    with talking(services(), secret=SECRET) as client:
        described = client.get("/openapi.json").json()
    named = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert named.rpartition("/")[2] in described["components"]["schemas"]
