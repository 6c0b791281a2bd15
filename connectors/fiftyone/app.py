"""The FiftyOne App: its server, on an address of this machine, for as long as somebody looks."""

from __future__ import annotations

import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connectors.fiftyone.calling import NAME
from connectors.fiftyone.mongod import listens
from connectors.fiftyone.processes import environment, process, tail
from pipeline.errors import BackendUnavailable, ConfigError

__all__ = ["App", "serving"]

_SERVER = "connectors.fiftyone.app_server"
_START_S = 120.0
_LOOK_S = 0.2


class App:
    """A server that runs."""

    def __init__(self, url: str, watched: Iterator[None]) -> None:
        self.url = url
        self._watched = watched

    def wait(self) -> None:
        """Until it or its own database ends, which they do only when something is wrong: raises BackendUnavailable."""
        for _ in self._watched:
            time.sleep(1)


@contextmanager
def serving(database: str, log: Path, *, host: str, port: int, own: bool) -> Iterator[App]:
    """The server, ended when the block is left. Raises ConfigError for a port that is taken, BackendUnavailable, with
    the end of its log, if it does not come up.
    """
    _check_free(host, port)
    command = [sys.executable, "-m", _SERVER, "--address", host, "--port", str(port)]
    with process(command, log, environment(database, own=own)) as started:
        shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104  # asked for, with its own setting
        url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"

        def watched() -> Iterator[None]:
            while started.poll() is None:
                if own and not listens(database):
                    raise BackendUnavailable(
                        f"its database at {database} has ended; start the review again: what was tagged is kept",
                        backend=NAME,
                        operation="serve the App",
                    )
                yield
            raise BackendUnavailable(f"its log ends: {tail(log)}", backend=NAME, operation="serve the App")

        app = App(url, watched())
        until = time.monotonic() + _START_S
        for _ in watched():
            if _answers(url):
                break
            if time.monotonic() > until:
                raise BackendUnavailable(
                    f"it did not come up; its log ends: {tail(log)}", backend=NAME, operation="serve the App"
                )
            time.sleep(_LOOK_S)
        yield app


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as exc:
        raise ConfigError(
            f"cannot listen at {host}, port {port}: {exc.strerror or exc}; choose another with --port",
            key="reviewer.port",
        ) from exc


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/fiftyone", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
