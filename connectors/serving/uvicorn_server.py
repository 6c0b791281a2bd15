"""The server under an ASGI application."""

from __future__ import annotations

from typing import Literal

import uvicorn
from starlette.types import ASGIApp

__all__ = ["server_of"]


def server_of(app: ASGIApp, *, lifespan: Literal["on", "off"] = "off") -> uvicorn.Server:
    """In this process alone: `run(sockets=[bound])` serves until Ctrl-C, which lets requests end first.

    With `lifespan` "on" the application is told when it starts and when it ends.
    """
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan=lifespan,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    return uvicorn.Server(config)
