"""`pipeline serve-segmenter`: who may be served, what it says, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from connectors.segmenters import remote
from pipeline.cli import main
from pipeline.cli.serve_segmenter import serve_segmenter
from pipeline.domain.geometry import Box
from pipeline.domain.prompts import Prompt
from pipeline.errors import ConfigError, PipelineError

SECRET = "a-secret-of-some-length"


@pytest.fixture(autouse=True)
def _no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASKLOOP_SECRET", raising=False)


def serve(*arguments: str) -> Result:
    return CliRunner().invoke(serve_segmenter, list(arguments))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "gpu.example"])
def test_a_wide_address_without_a_secret_is_refused(host: str) -> None:
    result = serve("--segmenter", "ellipse", "--host", host)
    assert isinstance(result.exception, ConfigError)
    assert "set MASKLOOP_SECRET" in str(result.exception)


@pytest.mark.parametrize("secret", ["short", "with a space in the middle", "ümlaute-sind-nicht-erlaubt"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_weak_secret_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, host: str, secret: str
) -> None:
    monkeypatch.setenv("MASKLOOP_SECRET", secret)
    result = serve("--segmenter", "ellipse", "--host", host)
    assert isinstance(result.exception, ConfigError)
    assert secret not in str(result.exception)


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = serve("--segmenter", "ellipse", "--port", str(taken.getsockname()[1]))
    assert isinstance(result.exception, ConfigError)
    assert "--port" in str(result.exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--segmenter", "elipse"),
        ("--segmenter", "ellipse", "--set", "reach"),
        ("--segmenter", "ellipse", "--set", "reach=[1"),
        ("--segmenter", "ellipse", "--set", "reach=99"),
        ("--config", "nowhere.yaml"),
    ],
)
def test_what_cannot_be_served_is_told_in_words(arguments: tuple[str, ...]) -> None:
    result = serve(*arguments, "--port", "0")
    assert isinstance(result.exception, PipelineError)


@pytest.mark.parametrize("arguments", [(), ("--segmenter", "ellipse", "--config", "a.yaml")])
def test_one_segmenter_is_named(arguments: tuple[str, ...]) -> None:
    assert serve(*arguments).exit_code == 2


def test_it_serves_until_it_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "serve-segmenter", "--segmenter"]
    command += ["ellipse", "--set", "reach=1.5", "--port", "0", "--encodings", str(tmp_path / "kept")]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MASKLOOP_SECRET": SECRET, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert running.stdout is not None
        line = running.stdout.readline()
        found = re.fullmatch(r"serving ellipse-\w+ at (http://127\.0\.0\.1:\d+) to whoever has.*\n", line)
        assert found is not None, line
        monkeypatch.setenv("MASKLOOP_SECRET", SECRET)
        segmenter = remote.build(remote.Settings(url=found[1]), None)  # type: ignore[arg-type]
        [encoding] = segmenter.encode([np.zeros((20, 30, 3), dtype=np.uint8)])
        [[one]] = segmenter.decode(encoding, [Prompt(box=Box(2, 3, 20, 15))])
        assert one.mask.area_px
        running.send_signal(signal.SIGINT)
        said, errors = running.communicate(timeout=20)
    finally:
        running.kill()
        running.communicate()
    assert (running.returncode, errors) == (0, "stopped\n")
    assert SECRET not in line + said + errors


def test_it_is_a_command_of_the_pipeline() -> None:
    assert main.commands["serve-segmenter"] is serve_segmenter
