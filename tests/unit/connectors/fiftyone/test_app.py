"""How long the App lives. A small web server stands in for FiftyOne's, which takes long to import."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest

from connectors.fiftyone.app import App, serving
from connectors.fiftyone.processes import free_port
from pipeline.errors import BackendUnavailable, ConfigError

SERVER = """
import http.server, sys

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

http.server.HTTPServer((sys.argv[2], int(sys.argv[4])), Page).serve_forever()
"""
START = """
import sys
from pathlib import Path
from connectors.fiftyone.app import serving
log, port = Path(sys.argv[1]), int(sys.argv[2])
with serving("mongodb://elsewhere", log, host="127.0.0.1", port=port, own=False):
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "packages" / "fiftyone" / "server"
    folder.mkdir(parents=True)
    for package in (folder.parent, folder):
        (package / "__init__.py").touch()
    (folder / "main.py").write_text(SERVER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))


def served(port: int, log: Path) -> AbstractContextManager[App]:
    return serving("mongodb://elsewhere", log, host="127.0.0.1", port=port, own=False)


def test_the_app_ends_with_its_block(tmp_path: Path) -> None:
    port, before = free_port(), psutil.Process().children()
    with served(port, tmp_path / "log") as app:
        (child,) = (one for one in psutil.Process().children() if one not in before)
        assert app.url == f"http://127.0.0.1:{port}"
    assert not child.is_running()


def test_whoever_waits_is_told_that_the_database_has_ended(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as database:
        address = f"mongodb://127.0.0.1:{database.getsockname()[1]}"
        with serving(address, tmp_path / "log", host="127.0.0.1", port=free_port(), own=True) as app:
            database.close()
            with pytest.raises(BackendUnavailable, match="has ended; start the review again"):
                app.wait()


def test_the_app_does_not_outlive_a_starter_that_was_killed(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", START, str(tmp_path / "log"), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"up\n"
        (app,) = psutil.Process(starter.pid).children()
        with pytest.raises(ConfigError, match="choose another"), served(port, tmp_path / "other"):
            pytest.fail("two cannot listen there")
        starter.kill()
    until = time.monotonic() + 10
    while app.is_running() and app.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.05)
    with served(port, tmp_path / "log") as again:
        assert again.url.endswith(f":{port}")
