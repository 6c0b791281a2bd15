"""Images by address, asked only of those who may be asked.

An origin (scheme, host and port) is Label Studio's own, or one that the person who serves has named. A name is resolved
once, and the connection goes to that very address: what the name means a moment later does not matter. An origin that
was allowed as a public one has a public address, or is not asked; no origin is ever asked at a link-local address,
where clouds keep their machines' credentials. Every redirect is judged anew. Label Studio's token goes to Label Studio
alone.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

import httpx

from connectors.label_studio.backend.services import Studio
from pipeline.errors import BackendUnavailable, ConfigError, ImageUnreadable

__all__ = ["Fetcher", "Origin", "origin_of"]

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = 3
_MOVED = frozenset({301, 302, 303, 307, 308})
_TUNNELS = tuple(ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
"""Addresses of version 6 with one of version 4 inside (RFC 6052, 8215, 3056, 4380)."""

Kind = Literal["studio", "private", "public"]
Resolve = Callable[[str, int], list[str]]
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Origin:
    """Who is asked. `host` in lower case, of version 6 without brackets."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


def origin_of(url: str) -> Origin:
    """Raises ValueError for anything but http or https to a plain host, without user or password."""
    parts = urlsplit(url)
    host = parts.hostname
    if parts.scheme not in _PORTS or not host or parts.username is not None or parts.password is not None:
        raise ValueError("an address is http://host or https://host, without a user")
    if not host.isascii() or not host.isprintable() or set(host) & set(" \\%#?/@") or "\\" in parts.netloc:
        raise ValueError("a host's name is plain ASCII")
    return Origin(parts.scheme, host.lower(), parts.port or _PORTS[parts.scheme])


class Fetcher:
    """Asks `studio`, and the origins that were named: `allowed` at public addresses, `private` anywhere.

    Raises ConfigError for an origin that is none.
    """

    def __init__(
        self,
        studio: Studio | None,
        allowed: tuple[str, ...] = (),
        private: tuple[str, ...] = (),
        *,
        most: int,
        timeout_s: float,
        resolve: Resolve | None = None,
    ) -> None:
        self._studio = studio
        self._kinds: dict[Origin, Kind] = {}
        kinds: tuple[tuple[tuple[str, ...], Kind], ...] = ((allowed, "public"), (private, "private"))
        for names, kind in kinds:
            self._kinds |= {_named(name): kind for name in names}
        if studio is not None:
            self._kinds[_named(studio.url)] = "studio"
        self._most = most
        self._timeout_s = timeout_s
        self._resolve = resolve or _resolved

    def fetch(self, url: str) -> bytes:
        """The body, 200 alone. Raises ImageUnreadable for an address that may not be asked, or that answers
        something else; BackendUnavailable for one that does not answer in time."""
        until = time.monotonic() + self._timeout_s
        for _ in range(_REDIRECTS + 1):
            answer = self._asked(url, until)
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
        raise ImageUnreadable(f"its address leads on more than {_REDIRECTS} times")

    def _asked(self, url: str, until: float) -> bytes | str:
        """The body, or where it is said to be."""
        try:
            origin = origin_of(url)
        except ValueError as exc:
            raise ImageUnreadable("its address is none that is asked: http or https alone") from exc
        kind = self._kinds.get(origin)
        if kind is None:
            raise ImageUnreadable(
                f"{origin} is not asked: allow it with --allow, or with --allow-private if it lies in your own network"
            )
        address = self._address(origin, kind)
        stale = None
        for _ in range(2):
            authorization = (
                self._studio.authorization(stale) if kind == "studio" and self._studio is not None else None
            )
            status, told = self._sent(url, origin, address, authorization, until)
            if status != 401 or authorization is None:
                break
            stale = authorization
        if status in _MOVED and isinstance(told, str):
            return told
        if status != 200 or isinstance(told, str):
            raise ImageUnreadable(f"{origin} answers {status}")
        return told

    def _address(self, origin: Origin, kind: Kind) -> str:
        """The one address to connect to; all that the name has must be of the kind."""
        try:
            found = [ipaddress.ip_address(text) for text in self._resolve(origin.host, origin.port)]
        except (OSError, ValueError, UnicodeError) as exc:
            raise BackendUnavailable(f"{origin.host} has no address", backend="images", operation="fetch") from exc
        if not found or not all(_may(address, kind) for address in found):
            raise ImageUnreadable(f"{origin} has an address inside a network, and is not asked there")
        return str(found[0])

    def _sent(
        self, url: str, origin: Origin, address: str, authorization: str | None, until: float
    ) -> tuple[int, bytes | str]:
        """Status, and the body or the redirect's target."""
        headers = {"Host": _authority(origin), "Accept-Encoding": "identity"}
        if authorization is not None:
            headers["Authorization"] = authorization
        left = max(0.1, until - time.monotonic())
        extensions: dict[str, Any] = {"sni_hostname": origin.host} if origin.scheme == "https" else {}
        try:
            with (
                httpx.Client(trust_env=False, follow_redirects=False, timeout=left) as client,
                client.stream(
                    "GET", httpx.URL(url).copy_with(host=address), headers=headers, extensions=extensions
                ) as answer,
            ):
                if answer.status_code in _MOVED:
                    return answer.status_code, answer.headers.get("location", "")
                return answer.status_code, self._body(answer, until) if answer.status_code == 200 else b""
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            reason = f"{origin} does not answer ({type(exc).__name__})"
            raise BackendUnavailable(reason, backend="images", operation="fetch") from exc

    def _body(self, answer: httpx.Response, until: float) -> bytes:
        """As it is sent, in time, and not too much of it."""
        data = bytearray()
        for chunk in answer.iter_raw():
            data += chunk
            if len(data) > self._most:
                raise ImageUnreadable(f"the file has more than {self._most} bytes")
            if time.monotonic() > until:
                raise BackendUnavailable("the file does not come in time", backend="images", operation="fetch")
        return bytes(data)


def _named(url: str) -> Origin:
    try:
        return origin_of(url)
    except ValueError as exc:
        raise ConfigError(f"{url!r:.200} is no origin: {exc}") from exc


def _authority(origin: Origin) -> str:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return host if origin.port == _PORTS[origin.scheme] else f"{host}:{origin.port}"


def _resolved(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in found]


def _may(address: _Address, kind: Kind) -> bool:
    """Whether an origin of that kind may be asked at this address."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return _may(address.ipv4_mapped, kind)
        if any(address in net for net in _TUNNELS):
            return False
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    return kind != "public" or address.is_global
