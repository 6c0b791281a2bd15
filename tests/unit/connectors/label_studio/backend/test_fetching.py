"""Addresses that may be asked, and those that may not: a canary listens where nobody must come."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from benchmarks._attacks import inside
from connectors.label_studio.backend.fetching import Fetcher, origin_of
from pipeline.errors import BackendUnavailable, ConfigError, ImageUnreadable

TOKEN = "Bearer canary-token"
PUBLIC = "93.184.215.14"


@dataclass
class Site:
    """A server on loopback that keeps what it was asked; `pages` are path -> (status, location or body)."""

    pages: dict[str, tuple[int, str | bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    url: str = ""
    port: int = 0


@pytest.fixture
def site() -> Iterator[Site]:
    kept = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kept.asked.append((self.path, self.headers.get("Authorization"), self.headers.get("Host")))
            status, told = kept.pages.get(self.path, (200, b"image"))
            self.send_response(status)
            if isinstance(told, str):
                self.send_header("Location", told)
                told = b""
            self.end_headers()
            self.wfile.write(told)
            if self.path == "/slow":
                with contextlib.suppress(OSError):  # who asks has had enough
                    for _ in range(2400):  # two minutes
                        time.sleep(0.05)
                        self.wfile.write(b"x")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.port = server.server_port
    kept.url = f"http://127.0.0.1:{kept.port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield kept
    server.shutdown()
    server.server_close()


@dataclass
class Studio:
    url: str
    refused: list[str | None] = field(default_factory=list)

    def authorization(self, stale: str | None = None) -> str:
        self.refused.append(stale)
        return TOKEN if stale is None else f"{TOKEN}-2"


def fetcher(
    studio: Studio | None = None,
    *,
    allowed: tuple[str, ...] = (),
    private: tuple[str, ...] = (),
    addresses: dict[str, list[str]] | None = None,
    timeout_s: float = 5.0,
) -> Fetcher:
    known = addresses or {}
    return Fetcher(
        studio,
        allowed,
        private,
        most=1000,
        timeout_s=timeout_s,
        resolve=lambda host, _: known.get(host, [host]),
    )


def test_label_studio_is_asked_with_the_token(site: Site) -> None:
    assert fetcher(Studio(site.url)).fetch(f"{site.url}/data/upload/1/a.png") == b"image"
    assert site.asked == [("/data/upload/1/a.png", TOKEN, f"127.0.0.1:{site.port}")]


def test_a_token_that_is_refused_is_renewed_once(site: Site) -> None:
    site.pages["/a"] = (401, b"")
    studio = Studio(site.url)
    with pytest.raises(ImageUnreadable, match="401"):
        fetcher(studio).fetch(f"{site.url}/a")
    assert studio.refused == [None, TOKEN]


def test_others_never_see_the_token(site: Site) -> None:
    studio = Studio("http://studio.example")
    assert fetcher(studio, private=(site.url,)).fetch(f"{site.url}/a") == b"image"
    assert site.asked[0][1] is None


def test_a_redirect_from_label_studio_leaves_the_token_behind(site: Site) -> None:
    site.pages["/tasks/1/presign/?fileuri=x"] = (303, f"http://minio.example:{site.port}/bucket/a.png?Signature=s")
    asking = fetcher(
        Studio(site.url),
        private=(f"http://minio.example:{site.port}",),
        addresses={"minio.example": ["127.0.0.1"], "127.0.0.1": ["127.0.0.1"]},
    )
    assert asking.fetch(f"{site.url}/tasks/1/presign/?fileuri=x") == b"image"
    assert [authorization for _, authorization, _ in site.asked] == [TOKEN, None]


def test_no_address_of_the_corpus_reaches_the_canary(site: Site) -> None:
    asking = fetcher(
        Studio("http://studio.example"), allowed=("http://allowed.example", f"http://rebinding.example:{site.port}"),
        addresses={"rebinding.example": ["127.0.0.1"], "allowed.example": ["127.0.0.1"]},
    )  # fmt: skip
    corpus = inside(site.port)
    assert len(corpus) >= 40
    for url in corpus:
        with pytest.raises((ImageUnreadable, BackendUnavailable)):
            asking.fetch(url)
    assert site.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.1.1", "172.20.0.1", "100.64.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1",
        "::1", "::", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
        "ff02::1", "255.255.255.255",
    ],
)  # fmt: skip
def test_a_public_origin_has_a_public_address(site: Site, address: str) -> None:
    asking = fetcher(allowed=(f"http://cdn.example:{site.port}",), addresses={"cdn.example": [PUBLIC, address]})
    with pytest.raises(ImageUnreadable, match="inside a network"):
        asking.fetch(f"http://cdn.example:{site.port}/a")


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "0.0.0.0"])
def test_nobody_is_asked_where_clouds_keep_their_credentials(address: str) -> None:
    asking = fetcher(private=("http://minio.example",), addresses={"minio.example": [address]})
    with pytest.raises(ImageUnreadable, match="inside a network"):
        asking.fetch("http://minio.example/a")


def test_a_name_is_resolved_once_and_its_address_is_asked(site: Site) -> None:
    asked: list[str] = []

    def resolve(host: str, _: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    origin = f"http://minio.example:{site.port}"
    asking = Fetcher(None, (), (origin,), most=1000, timeout_s=5, resolve=resolve)
    assert asking.fetch(f"{origin}/a?b=c%2Fd") == b"image"
    assert asked == ["minio.example"]
    assert site.asked == [("/a?b=c%2Fd", None, f"minio.example:{site.port}")]


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1:1/x", "http://169.254.169.254/latest", "file:///etc/passwd", "//evil.example/x", ""],
)
def test_every_redirect_is_judged_anew(site: Site, target: str) -> None:
    site.pages["/a"] = (302, target)
    with pytest.raises(ImageUnreadable):
        fetcher(Studio(site.url)).fetch(f"{site.url}/a")
    assert {path for path, *_ in site.asked} == {"/a"}


def test_three_redirects_are_followed_and_no_more(site: Site) -> None:
    for step in range(3):
        site.pages[f"/{step}"] = (302, f"/{step + 1}")
    assert fetcher(Studio(site.url)).fetch(f"{site.url}/0") == b"image"
    site.pages["/3"] = (302, "/4")
    with pytest.raises(ImageUnreadable, match="more than 3 times"):
        fetcher(Studio(site.url)).fetch(f"{site.url}/0")


def test_too_much_is_not_read(site: Site) -> None:
    site.pages["/a"] = (200, b"x" * 1001)
    with pytest.raises(ImageUnreadable, match="more than 1000 bytes"):
        fetcher(Studio(site.url)).fetch(f"{site.url}/a")


def test_what_comes_too_slowly_is_given_up(site: Site) -> None:
    begun = time.monotonic()
    with pytest.raises(BackendUnavailable):
        fetcher(Studio(site.url), timeout_s=0.3).fetch(f"{site.url}/slow")
    assert time.monotonic() - begun < 60


def test_who_is_not_there_is_told_without_the_path() -> None:
    with pytest.raises(BackendUnavailable) as told:
        fetcher(Studio("http://127.0.0.1:1")).fetch("http://127.0.0.1:1/a?Signature=secret")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("name", ["cdn.example", "ftp://cdn.example", "https://", "https://a:b@cdn.example"])
def test_an_origin_that_is_none_is_told(name: str) -> None:
    with pytest.raises(ConfigError):
        fetcher(allowed=(name,))


def test_origins_are_compared_by_scheme_host_and_port() -> None:
    assert origin_of("HTTPS://CDN.example/a") == origin_of("https://cdn.example:443")
    assert origin_of("http://cdn.example") != origin_of("https://cdn.example")
    assert origin_of("http://[::1]:80/") == origin_of("http://[::1]")
