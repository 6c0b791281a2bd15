"""A segmenter from afar is the segmenter at home, whatever happens in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connectors.remote.protocol import Limits
from connectors.remote.server import application
from connectors.segmenters import grabcut, remote
from pipeline.domain.prompts import MaskPrediction, Prompt
from pipeline.errors import BackendRejected, BackendUnavailable, ConfigError, DataError, ShapeMismatch
from tests.fakes.served import served, serving
from tests.unit.connectors.remote._tools import BOX, POINT, SECRET, at_home, bearer, caller, far, picture

DESCRIPTION = {
    "protocol": 1,
    "name": "n",
    "fingerprint": "f",
    "limits": {"max_pixels": 9999, "max_body_bytes": 99999, "max_prompts": 9},
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(at_home()) as address:
        yield address


def said(answers: list[list[MaskPrediction]]) -> list[Any]:
    return [
        (one.mask, one.predicted_iou, one.stability, None if one.logits is None else one.logits.tobytes())
        for entry in answers
        for one in entry
    ]


@pytest.mark.parametrize("multimask", [None, False, True])
@pytest.mark.parametrize("peer", [grabcut, None])
def test_masks_are_those_of_the_segmenter_at_home(peer: Any, multimask: bool | None) -> None:
    home = at_home() if peer is None else peer.build(peer.Settings(), None)
    [first], [prior] = home.decode(home.encode([picture()])[0], [BOX, POINT], multimask=False)
    prompts = [BOX, POINT, replace(POINT, prior=first.mask), Prompt(prior=first.mask, box=BOX.box)]
    prompts += [] if prior.logits is None else [replace(POINT, prior=prior.logits)]
    with served(home) as url:
        segmenter = far(url)
        told = segmenter.decode(segmenter.encode([picture()])[0], prompts, multimask=multimask, mask_threshold=0.5)
    wanted = home.decode(home.encode([picture()])[0], prompts, multimask=multimask, mask_threshold=0.5)
    assert [len(entry) for entry in told] == [len(entry) for entry in wanted]
    assert said(told) == said(wanted)


def test_it_is_called_by_what_is_served(url: str) -> None:
    assert far(url).name == f"remote-{at_home().name}"
    assert far(url).fingerprint != at_home().fingerprint, "its encodings hold other arrays"


class Enlarging:
    """A segmenter that can enlarge its logits, if by a factor of two."""

    name = fingerprint = "enlarging/1"
    storable = False
    encode = decode = None

    def enlarge(self, logits: Any, size_hw: tuple[int, int]) -> Any:
        if size_hw != (2 * logits.shape[0], 2 * logits.shape[1]):
            raise ShapeMismatch("not twice the size")
        return np.repeat(np.repeat(logits, 2, 0), 2, 1)


def test_logits_are_enlarged_where_they_are_understood(url: str) -> None:
    logits = np.arange(12, dtype=np.float32).reshape(3, 4)
    with served(Enlarging(), limits=Limits(max_pixels=100)) as able:  # type: ignore[arg-type]
        large = far(able).enlarge(logits, (6, 8))
        np.testing.assert_array_equal(large, Enlarging().enlarge(logits, (6, 8)))
        with pytest.raises(ShapeMismatch, match="twice"):
            far(able).enlarge(logits, (6, 9))
        with pytest.raises(ShapeMismatch):
            far(able).enlarge(logits[0], (6, 8))
        with pytest.raises(BackendRejected, match="100 pixels"):
            far(able).enlarge(logits, (60, 80))
    with pytest.raises(BackendRejected, match="cannot be brought"):
        far(url).enlarge(logits, (6, 8))


def test_more_prompts_than_the_server_takes_are_asked_in_parts() -> None:
    home = at_home()
    prompts = [BOX, POINT] * 10
    with served(home, limits=Limits(max_prompts=3)) as url:
        segmenter = far(url)
        told = segmenter.decode(segmenter.encode([picture()])[0], prompts)
    assert said(told) == said(home.decode(home.encode([picture()])[0], prompts))


def test_without_logits_answers_are_small(url: str) -> None:
    segmenter = far(url, logits=False)
    [[one]] = segmenter.decode(segmenter.encode([picture()])[0], [BOX])
    assert one.logits is None


def test_a_server_that_was_restarted_gets_the_image_again() -> None:
    with served(at_home()) as url:
        segmenter = far(url)
        encoding = segmenter.encode([picture()])[0]
        before = said(segmenter.decode(encoding, [BOX]))
    with served(at_home(), port=int(url.rpartition(":")[2])):
        assert said(segmenter.decode(encoding, [BOX])) == before


def test_a_click_sends_no_image() -> None:
    sizes: list[tuple[str, int]] = []
    app = application(at_home(), secret=None)

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        length = dict(scope.get("headers", [])).get(b"content-length", b"0")
        sizes.append((scope.get("path", ""), int(length)))
        await app(scope, receive, send)

    with serving(counted) as url:
        segmenter = far(url)
        encoding = segmenter.encode([picture(0, (200, 300))])[0]
        for _ in range(3):
            segmenter.decode(encoding, [BOX])
    assert [path for path, _ in sizes] == ["/v1/segmenter", "/v1/encodings", *["/v1/decode"] * 3]
    assert max(size for path, size in sizes if path == "/v1/decode") < 1000


def test_two_clients_with_more_images_than_the_server_keeps() -> None:
    home = at_home()
    with served(home, limits=Limits(kept_bytes=40)) as url:
        clients = [far(url), far(url)]
        encodings = [clients[0].encode([picture(seed)])[0] for seed in range(4)]

        def ask(number: int) -> list[Any]:
            for _ in range(20):  # the other one may push the encoding out before it is asked about
                try:
                    return said(clients[number % 2].decode(encodings[number % 4], [BOX, POINT]))
                except BackendUnavailable:
                    continue
            raise AssertionError("never answered")

        with ThreadPoolExecutor(2) as pool:
            told = list(pool.map(ask, range(24)))
    wanted = [said(home.decode(home.encode([picture(seed)])[0], [BOX, POINT])) for seed in range(4)]
    assert told == [wanted[number % 4] for number in range(24)]


def test_prompts_that_do_not_fit_are_refused_as_at_home(url: str) -> None:
    segmenter = far(url)
    encoding = segmenter.encode([picture()])[0]
    with pytest.raises(DataError, match="outside the image"):
        segmenter.decode(encoding, [Prompt(points_xy=((99.0, 1.0),), point_labels=(True,))])
    with pytest.raises(ShapeMismatch):
        segmenter.decode(encoding, [Prompt(prior=np.zeros(5, dtype=np.float32))])
    with pytest.raises(BackendRejected, match="no text"):
        segmenter.decode(encoding, [Prompt(text="a dog")])
    with pytest.raises(BackendRejected, match="was made by 'ellipse/1'"):
        segmenter.decode(at_home().encode([picture()])[0], [BOX])


def test_images_that_are_too_large_are_not_even_sent() -> None:
    with served(at_home(), limits=Limits(max_pixels=700)) as url, pytest.raises(BackendRejected, match="700"):
        far(url).encode([picture()])
    with served(at_home(), limits=Limits(max_body_bytes=100)) as url, pytest.raises(BackendRejected, match="100"):
        far(url).encode([picture()])


def test_secrets_open_and_wrong_ones_do_not() -> None:
    with served(at_home(), secret=SECRET) as url:
        segmenter = far(url, headers=bearer())
        assert segmenter.decode(segmenter.encode([picture()])[0], [BOX])
        for headers in ({}, bearer("another-secret-of-that-length")):
            with pytest.raises(BackendRejected, match="wants a secret"):
                far(url, headers=headers)


def test_another_segmenter_in_its_place_is_noticed() -> None:
    with served(at_home()) as url:
        segmenter = far(url)
        encoding = segmenter.encode([picture()])[0]
    with served(grabcut.build(grabcut.Settings(), None), port=int(url.rpartition(":")[2])):  # type: ignore[arg-type]
        with pytest.raises(BackendRejected, match="served here"):
            segmenter.decode(encoding, [BOX])
        with pytest.raises(BackendRejected, match="another segmenter is served now"):
            segmenter.encode([picture()])


def answering(status: int, body: bytes = b"", description: object = DESCRIPTION, **headers: str) -> Starlette:
    """A server that describes itself, and answers everything else alike."""

    async def describe(_: Request) -> Response:
        return Response(json.dumps(description), media_type="application/json")

    async def always(_: Request) -> Response:
        return Response(body, status, headers)

    return Starlette(
        routes=[Route("/v1/segmenter", describe), Route("/{path:path}", always, methods=["GET", "POST"])]
    )


@pytest.mark.parametrize(
    ("status", "body", "error", "match"),
    [
        (200, b"not JSON", BackendRejected, "another segmenter"),
        (200, b"[]", BackendRejected, "another segmenter"),
        (302, b"", BackendRejected, "302"),
        (400, b"<html>a proxy", BackendRejected, "400: <html>a proxy"),
        (422, b'{"error": {"type": "ShapeMismatch", "message": "sizes"}}', ShapeMismatch, "sizes"),
        (422, b'{"error": {"type": "KeyboardInterrupt", "message": "no"}}', BackendRejected, "no"),
        (500, b'{"error": {"type": "Internal", "message": "error 7"}}', BackendRejected, "error 7"),
        (503, b"", BackendUnavailable, "503"),
        (429, b"", BackendUnavailable, "429"),
    ],
)
def test_answers_become_errors(status: int, body: bytes, error: type[Exception], match: str) -> None:
    with serving(answering(status, body)) as url, pytest.raises(error, match=match):
        far(url).encode([picture()])


@pytest.mark.parametrize(
    "description",
    [None, [], {}, {**DESCRIPTION, "protocol": 2}, {**DESCRIPTION, "limits": {}}, {**DESCRIPTION, "name": 3}],
)
def test_a_server_of_another_kind_is_noticed(description: object) -> None:
    with (
        serving(answering(200, description=description)) as url,
        pytest.raises(BackendRejected, match=r"version|url"),
    ):
        far(url)


def test_a_server_that_is_busy_is_asked_again() -> None:
    app = application(at_home(), secret=None)
    asked: list[str] = []

    async def twice_busy(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        if len(asked) in {2, 3}:
            await Response(status_code=503, headers={"Retry-After": "7"})(scope, receive, send)
        else:
            await app(scope, receive, send)

    with serving(twice_busy) as url:
        pauses: list[float] = []
        line = caller(url)
        line._sleep = pauses.append
        remote_one = type(far(url))(line)
        assert remote_one.encode([picture()])
    assert pauses == [7.0, 7.0]


def test_nobody_there_and_nobody_in_time() -> None:
    with serving(answering(200)) as url:
        pass
    with pytest.raises(BackendUnavailable, match="start it") as caught:
        far(url, retries=1)
    assert caught.value.retryable

    async def never(scope: Any, receive: Any, send: Any) -> None:
        import asyncio

        await asyncio.sleep(10)

    with serving(never) as url, pytest.raises(BackendUnavailable, match="ReadTimeout"):
        far(url, retries=0, timeout_s=0.1)


def test_the_environment_s_proxy_is_not_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert far(url, retries=0).encode([picture()])


def test_the_peer_takes_its_secret_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(at_home(), secret=SECRET) as url:
        monkeypatch.setenv("HERS", SECRET)
        settings = remote.Settings(url=url, secret_env="HERS", retries=0)
        assert remote.build(settings, None).name.startswith("remote-ellipse")  # type: ignore[arg-type]
        for wrong in ("short", "with a space in the middle of it", "ümlaute-sind-nicht-erlaubt"):
            monkeypatch.setenv("HERS", wrong)
            with pytest.raises(ConfigError) as caught:
                remote.build(settings, None)  # type: ignore[arg-type]
            assert wrong not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:9090",
        "ftp://a",
        "http://",
        "http://a:99999",
        "http://me:word@a",
        "http://a/?key=1",
        "file:///x",
    ],
)
def test_addresses_are_checked(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        remote.Settings(url=url)
