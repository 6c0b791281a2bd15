"""What the server lets in, and how it says no."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import pytest

from connectors.remote.messages import pack_question, png_of
from connectors.remote.protocol import MESSAGE, PNG, Limits
from pipeline.domain.geometry import Image
from pipeline.domain.prompts import Encoding, Prompt
from tests.fakes.served import served
from tests.unit.connectors.remote._tools import BOX, SECRET, at_home, bearer, picture

LIMITS = Limits(max_pixels=1000, max_body_bytes=20_000, max_prompts=3, body_timeout_s=0.5, waiting=0)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(at_home(), limits=LIMITS) as address:
        yield address


@pytest.fixture(scope="module")
def locked() -> Iterator[str]:
    with served(at_home(), secret=SECRET) as address:
        yield address


def post(url: str, path: str, body: bytes, kind: str, **headers: str) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=10) as client:
        return client.post(url + path, content=body, headers={"Content-Type": kind, **headers})


def get(url: str, path: str, headers: Any = None) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=10) as client:
        return client.get(url + path, headers=headers)


def question(*prompts: Prompt, about: str = "0" * 64, fingerprint: str | None = None) -> bytes:
    known = at_home().fingerprint if fingerprint is None else fingerprint
    return pack_question(prompts, id=about, fingerprint=known, multimask=None, mask_threshold=0.0, logits=False)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["type"]


def test_it_says_what_it_is(url: str) -> None:
    told = get(url, "/v1/segmenter").json()
    assert told["name"] == at_home().name
    assert told["protocol"] == 1
    assert told["limits"]["max_prompts"] == 3
    assert get(url, "/v1/health").json() == {"status": "ok"}


def test_an_image_is_known_by_its_bytes(url: str) -> None:
    png = png_of(picture())
    first, again = (post(url, "/v1/encodings", png, PNG).json() for _ in range(2))
    assert first == again
    assert first["size_hw"] == [24, 32]
    answer = post(url, "/v1/decode", question(BOX, about=first["id"]), MESSAGE)
    assert (answer.status_code, answer.headers["content-type"]) == (200, MESSAGE)


HEADERS = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer a b"},
    {"Authorization": SECRET},
    {"Authorization": f"Basic {SECRET}"},
    {"Authorization": f"Bearer {SECRET}x"},
    {"Authorization": f"Bearer {SECRET[:-1]}"},
    {"Authorization": b"Bearer \xff\xfe\xfd"},
    {"Authorization": "Bearer " + "a" * 60_000},
    {"authorization": f"bearer {SECRET}"},
]


@pytest.mark.parametrize("headers", HEADERS)
@pytest.mark.parametrize("path", ["/v1/segmenter", "/nowhere", "/v1/decode"])
def test_without_the_secret_nobody_learns_anything(locked: str, path: str, headers: dict[str, Any]) -> None:
    answer = get(locked, path, headers)
    assert refusal(answer) == (401, "Unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert SECRET not in answer.text


def test_with_the_secret_it_answers_and_health_needs_none(locked: str) -> None:
    assert get(locked, "/v1/segmenter", bearer()).status_code == 200
    assert get(locked, "/v1/health").status_code == 200
    assert get(locked, "/v1/segmenter", {**bearer(), "Host": "gpu.example:9090"}).status_code == 200


@pytest.mark.parametrize("host", ["x/v1/health?", "x/v1/health#", "a@x/v1/health?"])
def test_no_host_header_makes_a_path_that_needs_no_secret(locked: str, host: str) -> None:
    assert refusal(get(locked, "/v1/segmenter", {"Host": host})) == (401, "Unauthorized")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:9090", ""])
def test_without_a_secret_a_name_that_is_not_loopback_is_refused(url: str, host: str) -> None:
    assert refusal(get(url, "/v1/segmenter", {"Host": host})) == (403, "ForbiddenHost")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "127.9.9.9", "[::1]:9090"])
def test_loopback_has_many_names(url: str, host: str) -> None:
    assert get(url, "/v1/segmenter", {"Host": host}).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_form_of_another_site_is_refused(url: str, kind: str) -> None:
    assert refusal(post(url, "/v1/encodings", png_of(picture()), kind)) == (415, "WrongType")


def test_no_other_site_may_ask(url: str) -> None:
    with httpx.Client(trust_env=False) as client:
        headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
        answer = client.request("OPTIONS", url + "/v1/encodings", headers=headers)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("path", "body", "kind", "wanted"),
    [
        ("/v1/encodings", b"", PNG, (422, "ImageUnreadable")),
        ("/v1/encodings", b"\x80\x04K\x01.", PNG, (422, "ImageUnreadable")),
        ("/v1/encodings", png_of(picture(0, (40, 40))), PNG, (422, "ImageUnreadable")),
        ("/v1/encodings", b"\0" * 20_001, PNG, (413, "TooLarge")),
        ("/v1/decode", b"\x80\x04K\x01.", MESSAGE, (422, "DataError")),
        ("/v1/decode", question(BOX), MESSAGE, (404, "UnknownEncoding")),
        ("/v1/decode", question(BOX, about="../../etc/passwd"), MESSAGE, (404, "UnknownEncoding")),
        ("/v1/decode", question(BOX, fingerprint="other"), MESSAGE, (409, "OtherSegmenter")),
        ("/v1/decode", question(BOX, BOX, BOX, BOX), MESSAGE, (413, "TooLarge")),
        ("/v1/nowhere", b"", PNG, (404, "NotFound")),
        ("/v1/segmenter", b"", PNG, (405, "NotFound")),
    ],
)
def test_bad_requests_are_refused_in_words(
    url: str, path: str, body: bytes, kind: str, wanted: tuple[int, str]
) -> None:
    answer = post(url, path, body, kind)
    assert refusal(answer) == wanted
    assert answer.json()["error"]["message"]
    assert "Traceback" not in answer.text


def test_a_body_without_a_length_is_cut_off_too(url: str) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"\0" * 1000

    with httpx.Client(trust_env=False, timeout=10) as client:
        answer = client.post(url + "/v1/encodings", content=endless(), headers={"Content-Type": PNG})
    assert refusal(answer) == (413, "TooLarge")


def test_a_body_that_does_not_come_is_not_waited_for(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(
            f"POST /v1/encodings HTTP/1.1\r\nHost: {host}\r\nContent-Type: {PNG}\r\n"
            "Content-Length: 100\r\n\r\nabc".encode()
        )
        assert line.recv(100).startswith(b"HTTP/1.1 408")


class Waiting:
    """A segmenter that is busy until it is let go, and then breaks."""

    name = fingerprint = "waiting/1"
    storable = False

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        self.begun.release()
        assert self.go.wait(60)
        if images[0].shape[0] == 1:
            raise RuntimeError("a path such as /home/somebody")
        return [Encoding({"a": np.zeros(1)}, (24, 32), self.name) for _ in images]

    def decode(self, *_: object, **__: object) -> Any:
        raise AssertionError("nobody asks")


def test_when_all_places_are_taken_it_says_so_at_once() -> None:
    segmenter = Waiting()
    with served(segmenter, limits=LIMITS) as url:
        made: list[int] = []
        asking = [
            threading.Thread(
                target=lambda seed=seed: made.append(
                    post(url, "/v1/encodings", png_of(picture(seed)), PNG).status_code
                )
            )
            for seed in range(2)
        ]
        for thread in asking:
            thread.start()
        for _ in asking:
            assert segmenter.begun.acquire(timeout=10)
        answer = post(url, "/v1/encodings", png_of(picture(7)), PNG)
        assert refusal(answer) == (503, "Busy")
        assert answer.headers["retry-after"] == "1"
        assert get(url, "/v1/health").status_code == 200
        segmenter.go.set()
        for thread in asking:
            thread.join(10)
        assert made == [200, 200]
        assert post(url, "/v1/encodings", png_of(picture(7)), PNG).status_code == 200


def test_a_defect_is_told_by_its_number_alone(caplog: pytest.LogCaptureFixture) -> None:
    segmenter = Waiting()
    segmenter.go.set()
    with served(segmenter) as url, caplog.at_level(logging.ERROR):
        answer = post(url, "/v1/encodings", png_of(picture(0, (1, 1))), PNG)
    assert refusal(answer) == (500, "Internal")
    assert "somebody" not in answer.text
    assert answer.json()["error"]["id"] in caplog.text
    assert "somebody" in caplog.text
