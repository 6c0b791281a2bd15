"""The backend's routes. What each of them takes stands in the OpenAPI description at `/openapi.json`.

    GET  /health, /    {"status": "UP"}                      open to all
    POST /setup        {"model_version"}
    GET  /versions     {"versions"}
    POST /predict      {"results": […]}, one for each task
    POST /webhook      a hint                                 or with X-Maskloop-Secret
    GET  /metrics      for Prometheus
    GET  /jobs         rounds started here                    POST starts one
    GET  /jobs/{id}    one of them, and the end of its log    DELETE stops it

All but `/health` need the secret, where there is one. Errors are `{"error": {"type", "message"}}`, as in
`connectors.remote.protocol`. Whatever takes time is done in threads, so that `/health` answers at once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connectors.label_studio.backend.bodies import Hint, Nothing, Predict, Setup
from connectors.label_studio.backend.guards import Door
from connectors.label_studio.backend.metrics import Metrics, Timings
from connectors.label_studio.backend.served import Served
from connectors.label_studio.backend.services import Limits, Services
from connectors.serving.work import Refusal, refused
from pipeline.errors import BackendUnavailable, DataError, PipelineError

__all__ = ["application"]

_JSON = "application/json"
_REF = "#/components/schemas/{model}"
_BODIES = (Hint, Predict, Setup, Nothing)
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def application(services: Services, *, secret: str | None, limits: Limits | None = None) -> ASGIApp:
    """The backend as an ASGI application; its lifespan begins and ends what goes on in the background.

    Without a `secret` only requests to a loopback name are answered.
    """
    served = Served(services, limits or Limits())

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        served.start()
        try:
            yield
        finally:
            served.close()

    handlers: dict[Any, Any] = {
        Refusal: refused,
        PipelineError: _failed,
        HTTPException: _unrouted,
        ClientDisconnect: _gone,
    }
    app = _App(title="maskloop", lifespan=lifespan, docs_url=None, redoc_url=None, exception_handlers=handlers)
    _add_asked(app, served)
    _add_jobs(app, served)
    return Door(_Counting(app, served.metrics), secret)


def _add_asked(app: FastAPI, served: Served) -> None:
    """What Label Studio asks, and what it tells."""

    @app.get("/health")
    @app.get("/", include_in_schema=False)
    async def health() -> JSONResponse:
        return JSONResponse({"status": "UP", "model_class": "maskloop"})

    @app.get("/versions")
    async def versions() -> JSONResponse:
        return JSONResponse(await served.versions())

    @app.post("/setup", openapi_extra=_body(Setup))
    async def setup(request: Request) -> JSONResponse:
        return JSONResponse(await served.setup(request))

    @app.post("/predict", openapi_extra=_body(Predict))
    async def predict(request: Request) -> Response:
        timings = Timings()
        answer = await served.predict(request, timings)
        for part, seconds in timings.parts.items():
            served.metrics.parts.labels(part).observe(seconds)
        return Response(answer, media_type=_JSON, headers={"Server-Timing": timings.header()})

    @app.post("/webhook", openapi_extra=_body(Hint))
    async def webhook(request: Request) -> JSONResponse:
        await served.hint(request)
        return JSONResponse({"status": "heard"})

    @app.get("/metrics")
    async def metrics() -> Response:
        served.metrics.places.set(served.places.taken)
        return Response(served.metrics.text(), media_type=_PROMETHEUS)


def _add_jobs(app: FastAPI, served: Served) -> None:
    @app.get("/jobs")
    async def jobs() -> JSONResponse:
        return JSONResponse({"jobs": [asdict(job) for job in await served.jobs()]})

    @app.post("/jobs", openapi_extra=_body(Nothing))
    async def run(request: Request) -> JSONResponse:
        return JSONResponse(asdict(await served.run(request)), 202)

    @app.get("/jobs/{job_id}")
    async def job(job_id: str) -> JSONResponse:
        found, log = await served.job(job_id)
        return JSONResponse({**asdict(found), "log": log})

    @app.delete("/jobs/{job_id}")
    async def cancel(job_id: str) -> JSONResponse:
        return JSONResponse(asdict(await served.cancel(job_id)))


class _App(FastAPI):
    """With the bodies in its description, which are read in threads and not by the framework."""

    def openapi(self) -> dict[str, Any]:
        described = super().openapi()
        _, definitions = models_json_schema([(model, "validation") for model in _BODIES], ref_template=_REF)
        described.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
        return described


def _body(model: type[BaseModel]) -> dict[str, Any]:
    """What a route takes, for the OpenAPI description."""
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {_JSON: {"schema": schema}}}}


class _Counting:
    """Around an application: counts answers by the route's own form. An address that somebody made up is no label."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                self._metrics.answers.labels(route, str(message["status"])).inc()
                self._metrics.seconds.labels(route).observe(time.perf_counter() - begun)
            await send(message)

        begun = time.perf_counter()
        await self._app(scope, receive, counted if scope["type"] == "http" else send)


def _failed(_request: Request, exc: PipelineError) -> Response:
    # Where a file lies here is nobody's business elsewhere: of what is wrong with it the reason is enough.
    message = exc.reason if isinstance(exc, DataError) else str(exc)
    body = {"error": {"type": type(exc).__name__, "message": message[:500]}}
    if isinstance(exc, BackendUnavailable):
        return JSONResponse(body, 503, {"Retry-After": "1"})
    return JSONResponse(body, 422)


def _unrouted(_request: Request, exc: HTTPException) -> Response:
    return JSONResponse({"error": {"type": "NotFound", "message": exc.detail}}, exc.status_code, exc.headers)


def _gone(_request: Request, _exc: ClientDisconnect) -> Response:
    return JSONResponse({"error": {"type": "Gone", "message": "the client went away"}}, 400)
