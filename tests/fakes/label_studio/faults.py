"""Every way in which a request can fail, in front of any ASGI application."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["FAULTS", "Faults"]

_PAGE = b"<html><body>one moment, please</body></html>"


@dataclass(frozen=True)
class _Fault:
    """`done`: whether the application did what was asked, before the answer failed."""

    done: bool
    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    late_s: float = 0.0
    """Longer than a test's client waits."""


FAULTS: Mapping[str, _Fault] = {
    "answer lost": _Fault(done=True, cut=True),
    "request lost": _Fault(done=False, cut=True),
    "429": _Fault(done=False, status=429, body=b'{"detail":"slow down"}', headers={"retry-after": "1"}),
    "500": _Fault(done=False, status=500, body=b'{"detail":"something broke"}'),
    "500 after the work": _Fault(done=True, status=500, body=b'{"detail":"something broke"}'),
    "502": _Fault(done=False, status=502, body=_PAGE, headers={"content-type": "text/html"}),
    "503": _Fault(done=False, status=503, body=b"", headers={"retry-after": "1"}),
    "504 after the work": _Fault(done=True, status=504, body=_PAGE, headers={"content-type": "text/html"}),
    "a page with 200": _Fault(done=False, body=_PAGE, headers={"content-type": "text/html"}),
    "a page with 200 after the work": _Fault(done=True, body=_PAGE, headers={"content-type": "text/html"}),
    "half the JSON": _Fault(done=True, body=b"", headers={"content-type": "application/json"}),
    "too late": _Fault(done=True, late_s=0.5),
    "token expired": _Fault(done=False, status=401, body=b'{"detail":"Token is expired"}'),
}
"""By name. A connection that is refused needs a server that is away: see `FakeLabelStudio.away`."""


class Faults:
    """In front of `app`: requests whose method and path match a plan fail, each plan's as often as it says."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._plans: list[tuple[str, str, list[str]]] = []
        self.seen: Counter[str] = Counter()

    def plan(self, method: str, part: str, *kinds: str) -> None:
        """The next requests of `method` with `part` in their address fail: one of `kinds` each, in this order."""
        unknown = set(kinds) - FAULTS.keys()
        if unknown:
            raise ValueError(f"no such faults: {unknown}")
        self._plans.append((method, part, list(kinds)))

    @property
    def left(self) -> int:
        """How many planned failures have not come about."""
        return sum(len(kinds) for _, _, kinds in self._plans)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.seen[f"{scope['method']} {scope['path']}"] += 1
        fault = self._next(scope["method"], f"{scope['path']}?{scope['query_string'].decode()}")
        if fault is None:
            await self._app(scope, receive, send)
            return
        answer = await _answer(self._app, scope, receive) if fault.done else []
        await asyncio.sleep(fault.late_s)
        await _fail(fault, answer, send)

    def _next(self, method: str, address: str) -> _Fault | None:
        for wanted, part, kinds in self._plans:
            if kinds and wanted == method and part in address:
                return FAULTS[kinds.pop(0)]
        return None


async def _answer(app: ASGIApp, scope: Scope, receive: Receive) -> list[Message]:
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, keep)
    return messages


async def _fail(fault: _Fault, answer: list[Message], send: Send) -> None:
    if fault.late_s:
        for message in answer:
            await send(message)
        return
    status, body, headers = fault.status, fault.body, dict(fault.headers)
    if headers.get("content-type") == "application/json" and answer:
        whole = b"".join(message.get("body", b"") for message in answer[1:])
        status, body = answer[0]["status"], whole[: len(whole) // 2]
    # A body that was announced and does not come is how a connection breaks off.
    length = 10_000 if fault.cut else len(body or b"")
    start: dict[str, Any] = {"type": "http.response.start", "status": status}
    start["headers"] = [(key.encode(), value.encode()) for key, value in headers.items()]
    start["headers"].append((b"content-length", str(length).encode()))
    await send(start)
    if not fault.cut:
        await send({"type": "http.response.body", "body": body or b""})
