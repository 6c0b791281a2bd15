"""A segmenter served by the protocol: an ASGI application around any segmenter of the house."""

from __future__ import annotations

import hashlib
import hmac
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.remote.messages import Question, logits_of, pack_answers, pack_logits, prompts_of, read_png, unpack
from connectors.remote.protocol import MESSAGE, PNG, VERSION, Limits
from connectors.serving.kept import KeptEncodings
from connectors.serving.secrets import host_of, is_loopback
from connectors.serving.work import Places, Refusal, in_thread, read_body, refused
from pipeline.domain.prompts import Encoding
from pipeline.errors import BackendRejected, BackendUnavailable, PipelineError
from pipeline.ports import Enlarger, Segmenter

__all__ = ["application"]


def application(
    segmenter: Segmenter, *, secret: str | None, limits: Limits | None = None, workers: int | None = None
) -> ASGIApp:
    """The protocol's server side. Without a `secret` only requests to a loopback name are answered, so that no page
    of another site reaches it by a name of its own. `workers` threads ask the segmenter."""
    served = _Served(segmenter, limits or Limits(), workers or min(4, os.cpu_count() or 1))
    routes = [
        Route("/v1/health", served.health),
        Route("/v1/segmenter", served.describe),
        Route("/v1/encodings", served.encode, methods=["POST"]),
        Route("/v1/decode", served.decode, methods=["POST"]),
        Route("/v1/enlarge", served.enlarge, methods=["POST"]),
    ]
    handlers = {
        Refusal: refused,
        PipelineError: _failed,
        HTTPException: _unrouted,
        ClientDisconnect: _gone,
    }
    return _Door(Starlette(routes=routes, exception_handlers=handlers), secret)  # type: ignore[arg-type]


class _Door:
    """Who may come in: known by the secret, or else by having asked for this machine itself."""

    def __init__(self, app: ASGIApp, secret: str | None) -> None:
        self._app = app
        self._wanted = f"Bearer {secret}".encode() if secret is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(Request(scope)) if scope["type"] == "http" else None
        if refusal is not None:
            headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else None
            await JSONResponse(refusal.body, refusal.status, headers)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, request: Request) -> Refusal | None:
        if self._wanted is None:
            host = request.headers.get("host", "")
            if not is_loopback(host_of(host)):
                return Refusal(403, "ForbiddenHost", "without a secret, only this machine itself is served")
        elif request.scope["path"] != "/v1/health":  # `request.url` is made of what the Host header says
            given = request.headers.get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(given, self._wanted):
                return Refusal(401, "Unauthorized", "the secret is missing or wrong")
        return None


class _Served:
    """The segmenter, the threads that ask it, and what it has encoded."""

    def __init__(self, segmenter: Segmenter, limits: Limits, workers: int) -> None:
        self._segmenter = segmenter
        self._limits = limits
        self._kept = KeptEncodings(limits.kept_bytes)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="segmenter")
        self._places = Places(workers + limits.waiting)

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def describe(self, _request: Request) -> Response:
        segmenter = self._segmenter
        return JSONResponse(
            {
                "protocol": VERSION,
                "name": segmenter.name,
                "fingerprint": segmenter.fingerprint,
                "storable": segmenter.storable,
                "limits": asdict(self._limits),
            }
        )

    async def encode(self, request: Request) -> Response:
        async with self._places.one():
            data = await self._body(request, PNG)
            key = hashlib.sha256(data).hexdigest()
            encoding = await in_thread(self._threads, lambda: self._encoded(key, data))
        return JSONResponse(
            {"id": key, "fingerprint": self._segmenter.fingerprint, "size_hw": list(encoding.size_hw)}
        )

    async def decode(self, request: Request) -> Response:
        async with self._places.one():
            data = await self._body(request, MESSAGE)
            return Response(await in_thread(self._threads, lambda: self._answered(data)), media_type=MESSAGE)

    async def enlarge(self, request: Request) -> Response:
        async with self._places.one():
            data = await self._body(request, MESSAGE)
            return Response(await in_thread(self._threads, lambda: self._enlarged(data)), media_type=MESSAGE)

    def _encoded(self, key: str, data: bytes) -> Encoding:
        return self._kept.get_or_make(
            key, lambda: self._segmenter.encode([read_png(data, self._limits.max_pixels)])[0]
        )

    def _answered(self, data: bytes) -> bytes:
        question, tensors = unpack(data, Question)
        if question.fingerprint != self._segmenter.fingerprint:
            raise Refusal(
                409,
                "OtherSegmenter",
                f"{self._segmenter.name} is served here, and the encoding is of {question.fingerprint!r:.200}",
            )
        most = self._limits.max_prompts
        if len(question.prompts) > most:
            raise Refusal(413, "TooLarge", f"{len(question.prompts)} prompts at once: send {most}", limit=most)
        encoding = self._kept.get(question.id)
        if encoding is None:
            raise Refusal(404, "UnknownEncoding", "send the image to /v1/encodings, then ask again")
        answers = self._segmenter.decode(
            encoding,
            prompts_of(question, tensors, encoding.size_hw),
            multimask=question.multimask,
            mask_threshold=question.mask_threshold,
        )
        return pack_answers(answers, logits=question.logits)

    def _enlarged(self, data: bytes) -> bytes:
        (height, width), logits = logits_of(data)
        most = self._limits.max_pixels
        if height * width > most:
            raise Refusal(413, "TooLarge", f"{height} x {width} is more than {most} pixels", limit=most)
        if not isinstance(self._segmenter, Enlarger):
            raise BackendRejected(
                "its logits cannot be brought to the image's size",
                backend=self._segmenter.name,
                operation="enlarge",
            )
        return pack_logits(self._segmenter.enlarge(logits, (height, width)), (height, width))

    async def _body(self, request: Request, kind: str) -> bytes:
        limits = self._limits
        return await read_body(request, kind, most=limits.max_body_bytes, timeout_s=limits.body_timeout_s)


def _failed(_request: Request, exc: PipelineError) -> Response:
    """An error of the house goes over the wire as what it is."""
    body = {"error": {"type": type(exc).__name__, "message": str(exc)}}
    if isinstance(exc, BackendUnavailable):
        return JSONResponse(body, 503, {"Retry-After": "1"})
    return JSONResponse(body, 422)


def _unrouted(_request: Request, exc: HTTPException) -> Response:
    return JSONResponse({"error": {"type": "NotFound", "message": exc.detail}}, exc.status_code, exc.headers)


def _gone(_request: Request, _exc: ClientDisconnect) -> Response:
    return JSONResponse({"error": {"type": "Gone", "message": "the client went away"}}, 400)
