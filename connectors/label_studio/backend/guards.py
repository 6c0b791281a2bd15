"""Who may come in.

Label Studio sends basic authentication with what it asks, and nothing but the headers of a webhook with what it tells:
so the secret is the password of the user `maskloop`, or the header `X-Maskloop-Secret` of a webhook. Without a secret
only this machine is served, under its own name, and nothing that a page of another site could send unasked.
"""

from __future__ import annotations

import base64
import hmac

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.label_studio.project import BACKEND_USER, SECRET_HEADER
from connectors.serving.secrets import host_of, is_loopback
from connectors.serving.work import Refusal

__all__ = ["OPEN", "Door"]

OPEN = frozenset({"/", "/health"})
_WEBHOOK = "/webhook"


class Door:
    """Around an application. The secret is compared in constant time, and shown to nobody."""

    def __init__(self, app: ASGIApp, secret: str | None) -> None:
        self._app = app
        self._secret = secret.encode() if secret is not None else None
        self._basic = base64.b64encode(f"{BACKEND_USER}:{secret}".encode()) if secret is not None else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(Request(scope)) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        headers = {"WWW-Authenticate": 'Basic realm="maskloop"'} if refusal.status == 401 else {}
        answer = JSONResponse(refusal.body, refusal.status, {**headers, "Connection": "close"})
        await answer(scope, receive, send)

    def _refusal(self, request: Request) -> Refusal | None:
        if self._secret is None:
            if not is_loopback(host_of(request.headers.get("host", ""))):
                return Refusal(403, "ForbiddenHost", "without a secret, only this machine itself is served")
            return None
        # Not `request.url`, which is made of what the Host header says.
        path = request.scope["path"]
        if path in OPEN or self._has_basic(request) or (path == _WEBHOOK and self._has_header(request)):
            return None
        return Refusal(401, "Unauthorized", "the secret is missing or wrong")

    def _has_basic(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").encode("latin-1").partition(b" ")
        return hmac.compare_digest(given.strip(), self._basic) and scheme.lower() == b"basic"

    def _has_header(self, request: Request) -> bool:
        given = request.headers.get(SECRET_HEADER, "").encode("latin-1")
        return hmac.compare_digest(given, self._secret or b"\0")
