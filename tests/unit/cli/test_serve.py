"""`pipeline serve`: who may be served, what it says, how it ends; and that the next process knows the encodings."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from connectors.label_studio.labeling_config import labeling_config
from pipeline.cli import main
from pipeline.cli.serve import serve
from pipeline.errors import ConfigError
from pipeline.wiring import open_house
from tests.integration.commands import TINY, pipeline

SECRET = "a-secret-of-some-length"


@pytest.fixture(autouse=True)
def _no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASKLOOP_SECRET", raising=False)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("serve") / "workspace"
    assert pipeline("ingest", TINY, "--workspace", made).exit_code == 0
    return made


@contextmanager
def running(workspace: Path, *more: str) -> Iterator[tuple[httpx.Client, list[str]]]:
    """The command on a free port, and what it says: its first line, and all after Ctrl-C."""
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "serve", str(TINY), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--workspace", str(workspace), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MASKLOOP_SECRET": SECRET, "PYTHONUNBUFFERED": "1"},
    )
    said: list[str] = []
    try:
        assert process.stdout is not None
        said.append(process.stdout.readline())
        found = re.search(r"http://127\.0\.0\.1:\d+", said[0])
        assert found is not None, said[0] + (process.communicate(timeout=20)[1] if not said[0] else "")
        with httpx.Client(base_url=found[0], auth=("maskloop", SECRET), trust_env=False, timeout=30) as client:
            yield client, said
        process.send_signal(signal.SIGINT)
        said += process.communicate(timeout=20)
        said.append(str(process.returncode))
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7"])
def test_a_wide_address_without_a_secret_is_refused(host: str) -> None:
    result = CliRunner().invoke(serve, [str(TINY), "--host", host])
    assert isinstance(result.exception, ConfigError)
    assert "set MASKLOOP_SECRET" in str(result.exception)


def test_an_origin_that_is_none_is_told(workspace: Path) -> None:
    result = CliRunner().invoke(serve, [str(TINY), "--workspace", str(workspace), "--port", "0", "--allow", "cdn"])
    assert isinstance(result.exception, ConfigError)


@pytest.mark.slow
def test_it_serves_until_it_is_stopped_and_a_restart_answers_alike(workspace: Path) -> None:
    config, opened, _ = open_house(TINY, workspace=workspace)
    [sample, *_] = opened.ledger.samples.all()
    height, width = sample.size_hw
    label = config.project.classes[0]
    row = {
        "id": "p1",
        "type": "keypointlabels",
        "original_width": width,
        "original_height": height,
        "is_positive": True,
        "value": {"x": 50.0, "y": 50.0, "keypointlabels": [label]},
    }
    body = {
        "tasks": [{"id": 1, "data": {"image": "x", "maskloop_sample": sample.id}}],
        "project": "1.17",
        "label_config": labeling_config(config.project.classes),
        "params": {"context": {"result": [row]}},
    }
    answers = []
    for _ in range(2):
        with running(workspace) as (client, said):
            assert client.get("/health", auth=httpx.BasicAuth("", "")).status_code == 200
            assert client.get("/versions", auth=httpx.BasicAuth("maskloop", "x")).status_code == 401
            answer = client.post("/predict", json=body)
            assert answer.status_code == 200, answer.text
            answers.append(answer.content)
        assert said[0].startswith("serving start + ")
        assert "whoever has the secret" in said[0]
        assert said[1:] == ["", "stopped\n", "0"]
        assert SECRET not in "".join(said)
    assert answers[0] == answers[1]
    assert b'"rle"' in answers[0]


@pytest.mark.slow
def test_start_training_runs_the_loop(workspace: Path) -> None:
    with running(workspace) as (client, _):
        client.post("/webhook", json={"action": "START_TRAINING"}).raise_for_status()
        [job] = client.get("/jobs").json()["jobs"]
        end = time.monotonic() + 60
        while (told := client.get(f"/jobs/{job['id']}").json())["state"] == "running" and time.monotonic() < end:
            time.sleep(0.1)
    assert (told["state"], told["exit_code"]) == ("done", 0), told["log"]
    assert "round" in told["log"]


def test_it_is_a_command_of_the_pipeline() -> None:
    assert main.commands["serve"] is serve
