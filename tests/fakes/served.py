"""A segmenter served on loopback by a thread of the test."""

from __future__ import annotations

import atexit
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from connectors.remote.protocol import Limits
from connectors.remote.server import application
from connectors.serving.uvicorn_server import server_of
from pipeline.ports import Segmenter

__all__ = ["lasting", "served", "serving"]


class serving:
    """`with serving(app, port) as url`: an ASGI application on loopback; `stop()` may be called before the end."""

    def __init__(self, app: Any, port: int = 0) -> None:
        self._socket = socket.create_server(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as `pipeline serve` does
        self.port = int(self._socket.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = server_of(app)
        self._thread = threading.Thread(
            target=lambda: self._server.run(sockets=[self._socket]), name="served", daemon=True
        )
        self._thread.start()
        until = time.monotonic() + 20
        while not self._server.started:
            if time.monotonic() > until or not self._thread.is_alive():
                raise RuntimeError("the test's server did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()

    def __enter__(self) -> str:
        return self.url

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def served(
    segmenter: Segmenter, *, secret: str | None = None, limits: Limits | None = None, port: int = 0
) -> Iterator[str]:
    """The address of a server of the protocol."""
    with serving(application(segmenter, secret=secret, limits=limits, workers=2), port) as url:
        yield url


def lasting(segmenter: Segmenter) -> str:
    """The address of a server that lasts as long as this process."""
    server = serving(application(segmenter, secret=None, workers=4))
    atexit.register(server.stop)
    return server.url
