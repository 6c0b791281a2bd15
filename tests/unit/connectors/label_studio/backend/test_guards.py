"""Who is let in."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import httpx
import pytest

from benchmarks._attacks import basic, wrong_headers
from tests.unit.connectors.label_studio.backend._tools import SECRET, services, talking

RIGHT = basic("maskloop", SECRET)
WRONG = wrong_headers(SECRET)
OTHERS = [
    ("GET", "/versions"),
    ("GET", "/metrics"),
    ("GET", "/jobs"),
    ("GET", "/jobs/x"),
    ("GET", "/openapi.json"),
    ("GET", "/nothing"),
    ("POST", "/setup"),
    ("POST", "/predict"),
    ("POST", "/webhook"),
    ("POST", "/jobs"),
    ("DELETE", "/jobs/x"),
    ("GET", "/health/"),
]


@pytest.fixture(scope="module")
def locked() -> Iterator[httpx.Client]:
    with (
        talking(services(), secret=SECRET) as known,
        httpx.Client(base_url=known.base_url, trust_env=False, timeout=30) as stranger,
    ):
        yield stranger


def test_there_are_forty_wrong_headers() -> None:
    assert len(WRONG) >= 40


def told(url: httpx.URL, header: str | bytes | None) -> tuple[int, str | None, bytes]:
    """As it stands on the wire: `httpx` itself would refuse to send some of them."""
    line = http.client.HTTPConnection(url.host, url.port or 80, timeout=10)
    line.putrequest("GET", "/versions")
    if header is not None:
        line.putheader("Authorization", header)
    line.endheaders()
    answer = line.getresponse()
    found = answer.status, answer.headers["www-authenticate"], answer.read()
    line.close()
    return found


@pytest.mark.parametrize("header", WRONG, ids=range(len(WRONG)))
def test_whoever_has_not_the_secret_is_told_so(locked: httpx.Client, header: str | bytes | None) -> None:
    status, challenge, body = told(locked.base_url, header)
    assert status == 401
    assert (challenge or "").startswith("Basic")
    assert SECRET.encode() not in body


@pytest.mark.parametrize(("method", "path"), OTHERS)
def test_every_way_but_health_is_locked(locked: httpx.Client, method: str, path: str) -> None:
    assert locked.request(method, path, json={} if method == "POST" else None).status_code == 401


@pytest.mark.parametrize("header", [RIGHT, RIGHT.replace("Basic", "basic"), RIGHT.replace("Basic ", "BASIC  ")])
def test_whoever_has_it_comes_in(locked: httpx.Client, header: str) -> None:
    assert locked.get("/versions", headers={"Authorization": header}).status_code == 200
    assert locked.get("/health").status_code == 200


def test_webhooks_may_have_a_header_instead_and_nothing_else_may(locked: httpx.Client) -> None:
    with_header = {"X-Maskloop-Secret": SECRET}
    assert locked.post("/webhook", json={"action": "x"}, headers=with_header).status_code == 200
    assert locked.post("/webhook", json={"action": "x"}, headers={"Authorization": RIGHT}).status_code == 200
    wrong = {"X-Maskloop-Secret": SECRET + "x"}
    assert locked.post("/webhook", json={"action": "x"}, headers=wrong).status_code == 401
    assert locked.post("/setup", json={}, headers=with_header).status_code == 401


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9090", "[::1]:9090", "127.8.8.8"])
def test_without_a_secret_this_machine_is_served(host: str) -> None:
    with talking(services()) as client:
        assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "0.0.0.0", "[::]:9"])
def test_without_a_secret_no_other_name_is_answered(host: str) -> None:
    with talking(services()) as client:
        for path in ("/health", "/versions"):
            assert client.get(path, headers={"Host": host}).status_code == 403
