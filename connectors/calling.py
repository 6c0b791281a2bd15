"""HTTP requests that may be repeated: time limits, patience with a server that is busy, failures as our errors."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Collection, Mapping
from typing import Any

import httpx

from pipeline.errors import BackendRejected, BackendUnavailable

__all__ = ["Caller", "json_of"]

_CONNECT_TIMEOUT_S = 5.0
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0
_TOO_MANY = 429
_PASSING = frozenset({408, 425, _TOO_MANY, 502, 503, 504})


class _Transport(httpx.HTTPTransport):
    """Adds `query` to every request, below the level at which httpx writes addresses into its log."""

    def __init__(self, query: Mapping[str, str], proxy: str | None) -> None:
        super().__init__(trust_env=False, proxy=proxy)
        self._query = dict(query)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self._query:
            request = httpx.Request(
                request.method,
                request.url.copy_merge_params(self._query),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        return super().handle_request(request)


class Caller:
    """A server at `url`, asked by `backend`. Safe from many threads.

    The environment's proxies are not used: one that is set for the web would take what is meant for this machine.
    No redirect is followed, so a secret goes nowhere but to `url`. `hint` says what to do if nobody answers; statuses
    among `passing` may have passed a moment later.
    """

    def __init__(
        self,
        url: str,
        *,
        backend: str,
        hint: str,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        proxy: str | None = None,
        timeout_s: float = 120.0,
        retries: int = 3,
        passing: Collection[int] = _PASSING,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.backend = backend
        self._hint = hint
        self._retries = retries
        self._passing = passing
        self._sleep = sleep
        self._url = url.rstrip("/")
        self._client = httpx.Client(
            headers=dict(headers or {}),
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_TIMEOUT_S, timeout_s)),
            transport=_Transport(query or {}, proxy),
            trust_env=False,
        )
        weakref.finalize(self, self._client.close)

    def send(
        self,
        method: str,
        path: str,
        operation: str,
        *,
        content: bytes | None = None,
        content_type: str | None = None,
        json: Any = None,
        files: Any = None,
        headers: Mapping[str, str] | None = None,
        once: bool = False,
    ) -> httpx.Response:
        """The answer, whatever it says, once it is none that passes by itself. Raises BackendUnavailable when the
        last attempt, too, found nobody, nobody in time, or a server that is busy.

        `once` says that doing it twice would do it twice: it is tried again only where it cannot have arrived.
        """
        sent = dict(headers or {}) | ({"Content-Type": content_type} if content_type is not None else {})
        for attempt in range(self._retries + 1):
            pause, last = min(_FIRST_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S), attempt == self._retries
            try:
                answer = self._client.request(
                    method, self._url + path, content=content, headers=sent, json=json, files=files
                )
            except httpx.TransportError as exc:
                if last or (once and not isinstance(exc, (httpx.ConnectError, httpx.ConnectTimeout))):
                    raise self.unavailable(f"{type(exc).__name__}: {exc}", operation) from exc
            else:
                if answer.status_code not in self._passing:
                    return answer
                if last or (once and answer.status_code != _TOO_MANY):
                    raise self.unavailable(f"{answer.status_code}: {_told(answer)}", operation, does="answers")
                pause = max(pause, _wanted_pause(answer))
            self._sleep(pause)
        raise self.unavailable("no attempt was allowed", operation)

    def refused(self, answer: httpx.Response, operation: str) -> BackendRejected:
        """The error that an answer of 4xx or 5xx is."""
        return BackendRejected(
            f"{self._url} answers {answer.status_code}: {_told(answer)}", backend=self.backend, operation=operation
        )

    def unavailable(self, reason: str, operation: str, *, does: str = "does not answer") -> BackendUnavailable:
        """The error of a server that is not there now, or `does` something else than answer."""
        return BackendUnavailable(
            f"{self._url} {does} ({reason}); {self._hint}", backend=self.backend, operation=operation
        )


def json_of(answer: httpx.Response) -> Any:
    """The answer's JSON; None where it is none."""
    try:
        return answer.json()
    except ValueError:  # not JSON, or not even text
        return None


def _wanted_pause(answer: httpx.Response) -> float:
    wanted = answer.headers.get("Retry-After", "")
    return min(float(wanted), _LONGEST_PAUSE_S) if wanted.isdecimal() and wanted.isascii() else 0.0


def _told(answer: httpx.Response) -> str:
    """What the body says, in a few words."""
    body = json_of(answer)
    if isinstance(body, dict):
        error = body.get("error")
        said = error.get("message") if isinstance(error, dict) else body.get("message", body.get("detail"))
        if said is not None:
            return f"{said!s:.500}"
    return " ".join(answer.text.split())[:200] or answer.reason_phrase
