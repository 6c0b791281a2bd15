"""A segmenter served by the protocol: an ASGI application around any segmenter of the house."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import os
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.remote.kept import KeptEncodings
from connectors.remote.messages import Question, logits_of, pack_answers, pack_logits, prompts_of, read_png, unpack
from connectors.remote.protocol import MESSAGE, PNG, VERSION, Limits, is_loopback
from pipeline.domain.prompts import Encoding
from pipeline.errors import BackendRejected, BackendUnavailable, PipelineError
from pipeline.ports import Enlarger, Segmenter

__all__ = ["application", "server_of"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


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
        _Refusal: _refused,
        PipelineError: _failed,
        HTTPException: _unrouted,
        ClientDisconnect: _gone,
    }
    return _Door(Starlette(routes=routes, exception_handlers=handlers), secret)  # type: ignore[arg-type]


def server_of(app: ASGIApp) -> uvicorn.Server:
    """In this process alone: `run(sockets=[bound])` serves until Ctrl-C, which lets requests end first."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    return uvicorn.Server(config)


class _Refusal(Exception):
    """An answer that is no error of the segmenter."""

    def __init__(self, status: int, kind: str, message: str, **more: object) -> None:
        self.status = status
        self.body = {"error": {"type": kind, "message": message, **more}}
        super().__init__(message)


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

    def _refusal(self, request: Request) -> _Refusal | None:
        if self._wanted is None:
            host = request.headers.get("host", "")
            name = host.partition("]")[0] if host.startswith("[") else host.partition(":")[0]
            if not is_loopback(name):
                return _Refusal(403, "ForbiddenHost", "without a secret, only this machine itself is served")
        elif request.scope["path"] != "/v1/health":  # `request.url` is made of what the Host header says
            given = request.headers.get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(given, self._wanted):
                return _Refusal(401, "Unauthorized", "the secret is missing or wrong")
        return None


class _Served:
    """The segmenter, the threads that ask it, and what it has encoded."""

    def __init__(self, segmenter: Segmenter, limits: Limits, workers: int) -> None:
        self._segmenter = segmenter
        self._limits = limits
        self._kept = KeptEncodings(limits.kept_bytes)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="segmenter")
        self._places = workers + limits.waiting

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
        async with self._place():
            data = await self._body(request, PNG)
            key = hashlib.sha256(data).hexdigest()
            encoding = await self._in_thread(lambda: self._encoded(key, data))
        return JSONResponse(
            {"id": key, "fingerprint": self._segmenter.fingerprint, "size_hw": list(encoding.size_hw)}
        )

    async def decode(self, request: Request) -> Response:
        async with self._place():
            data = await self._body(request, MESSAGE)
            return Response(await self._in_thread(lambda: self._answered(data)), media_type=MESSAGE)

    async def enlarge(self, request: Request) -> Response:
        async with self._place():
            data = await self._body(request, MESSAGE)
            return Response(await self._in_thread(lambda: self._enlarged(data)), media_type=MESSAGE)

    def _encoded(self, key: str, data: bytes) -> Encoding:
        return self._kept.get_or_make(
            key, lambda: self._segmenter.encode([read_png(data, self._limits.max_pixels)])[0]
        )

    def _answered(self, data: bytes) -> bytes:
        question, tensors = unpack(data, Question)
        if question.fingerprint != self._segmenter.fingerprint:
            raise _Refusal(
                409,
                "OtherSegmenter",
                f"{self._segmenter.name} is served here, and the encoding is of {question.fingerprint!r:.200}",
            )
        most = self._limits.max_prompts
        if len(question.prompts) > most:
            raise _Refusal(413, "TooLarge", f"{len(question.prompts)} prompts at once: send {most}", limit=most)
        encoding = self._kept.get(question.id)
        if encoding is None:
            raise _Refusal(404, "UnknownEncoding", "send the image to /v1/encodings, then ask again")
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
            raise _Refusal(413, "TooLarge", f"{height} x {width} is more than {most} pixels", limit=most)
        if not isinstance(self._segmenter, Enlarger):
            raise BackendRejected(
                "its logits cannot be brought to the image's size",
                backend=self._segmenter.name,
                operation="enlarge",
            )
        return pack_logits(self._segmenter.enlarge(logits, (height, width)), (height, width))

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """One of a bounded number: what waits holds memory."""
        if self._places <= 0:
            raise _Refusal(503, "Busy", "all places are taken: try again in a second")
        self._places -= 1
        try:
            yield
        finally:
            self._places += 1

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """A defect keeps its traceback here; the client learns where to look for it."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (PipelineError, _Refusal):
            raise
        except Exception as exc:
            number = uuid.uuid4().hex[:12]
            _log.exception("error %s", number)
            message = f"a defect of the server: error {number} in its log"
            raise _Refusal(500, "Internal", message, id=number) from exc

    async def _body(self, request: Request, kind: str) -> bytes:
        """The whole body, never more of it than is taken."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != kind:
            raise _Refusal(415, "WrongType", f"the body must be {kind}")
        most = self._limits.max_body_bytes
        told = request.headers.get("content-length", "")
        too_large = _Refusal(413, "TooLarge", f"the body has more than {most} bytes", limit=most)
        if told.isdecimal() and int(told) > most:
            raise too_large
        data = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                async for chunk in request.stream():
                    data += chunk
                    if len(data) > most:
                        raise too_large
        except TimeoutError as exc:
            raise _Refusal(408, "TooSlow", "the body did not come in time") from exc
        return bytes(data)


def _refused(_request: Request, exc: _Refusal) -> Response:
    # What is left of a refused body would be read as the next request.
    headers = {"Connection": "close"} if exc.status in {408, 413, 415} else {}
    if exc.status == 503:
        headers["Retry-After"] = "1"
    return JSONResponse(exc.body, exc.status, headers)


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
