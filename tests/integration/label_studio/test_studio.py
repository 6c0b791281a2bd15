"""`pipeline studio` and `pipeline doctor` at a real Label Studio, from the start to the end of all, and again."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from connectors.label_studio.client import Client
from connectors.label_studio.project import BACKEND_USER
from connectors.label_studio.starting import Studio, executable, free_port
from pipeline.cli.processes import pipeline_command
from tests.integration.label_studio.serving import accept_all

ROOT = Path(__file__).resolve().parents[3]
READY = "Label Studio is ready"
_START_S = 200.0

SECRET = "a-secret-of-some-length"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]


@contextmanager
def started(config: Path, folder: Path, port: int) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """The command, from when it says what to click; what it says is in the file."""
    said = folder.with_suffix(".out")
    command = pipeline_command("studio", str(config), "--folder", str(folder), "--port", str(port))
    environment = {**os.environ, "MASKLOOP_LABEL_STUDIO": str(executable(ROOT)), "OMP_NUM_THREADS": "1"}
    with said.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
    try:
        wait_for(said, READY, process)
        yield said, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait_for(said: Path, words: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_S
    while words not in said.read_text():
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < until, said.read_text()
        time.sleep(0.2)


def furnished(folder: Path, server: Studio) -> Path:
    """A folder as a first start leaves it, from a server that runs: its migrations need not be waited for again."""
    (folder / "data").mkdir(parents=True)
    source = server.log.parent / "data"
    shutil.copy(source / ".env", folder / "data")
    name = "label_studio.sqlite3"
    with sqlite3.connect(source / name) as running, sqlite3.connect(folder / "data" / name) as copy:
        running.backup(copy)
    running.close()
    copy.close()
    keys = {
        "MASKLOOP_STUDIO_LOGIN": server.account.email,
        "MASKLOOP_STUDIO_PASSWORD": server.account.password,
        "LABEL_STUDIO_API_KEY": server.account.legacy_token,
        "MASKLOOP_SECRET": SECRET,
    }
    (folder / "env").write_text("".join(f"export {key}='{value}'\n" for key, value in keys.items()))
    return folder


def configured(folder: Path) -> Path:
    """The dry run, with people, at ports that are free."""
    data = yaml.safe_load((ROOT / "configs" / "dry.yaml").read_text(encoding="utf-8"))
    data |= {"project": {**data["project"], "name": "one command"}, "workspace": "run", "rounds": 2}
    data["segmenter"] = {"kind": "grabcut"}
    data["annotator"] = {
        "kind": "label_studio",
        "url": "http://127.0.0.1:8080",
        "backend": f"http://127.0.0.1:{free_port()}",
    }
    data["ingest"]["sources"][0]["count"] = 16
    data["select"]["budget"] = {"images": 3}
    path = folder / "people.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def doctor(said: Path, **environment: str) -> tuple[int, dict[str, Any]]:
    """As the command tells people to ask it: exit code, and each check by its name."""
    [keys, arguments] = re.findall(r"In another terminal:   \. (\S+); pipeline (doctor .*)", said.read_text())[-1]
    held = dict(re.findall(r"export (\w+)='(.*)'", Path(keys).read_text()))
    done = subprocess.run(
        pipeline_command(*arguments.split(), "--json"),
        env={**os.environ, **held, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, {row["name"]: row for row in json.loads(done.stdout)["checks"]}


def state_of(checks: Mapping[str, Any]) -> dict[str, str]:
    return {name: row["state"] for name, row in checks.items() if row["state"] != "ok"}


def test_from_the_start_to_the_second_round_and_again(tmp_path: Path, studio: Studio) -> None:
    config, folder = configured(tmp_path), furnished(tmp_path / "studio", studio)
    with started(config, folder, free_port()) as (said, process):
        code, checks = doctor(said)
        assert (code, state_of(checks)) == (0, {})
        assert {"server", "token", "labels", "frame", "connection", "webhook", "studio click"} <= set(checks)
        found = re.search(r"(http://\S+)/projects/(\d+)/data", checks["project"]["found"])
        assert found is not None
        client, number = Client(found[1], studio.account.legacy_token), int(found[2])
        check_faults_are_found(said, client, number)
        assert accept_all(client, number) == 3
        wait_for(said, "round 2's 3 tasks are unanswered", process)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    check_nothing_is_left(client.url, said)
    with started(config, folder, free_port()) as (said, _):
        assert f"/projects/{number}/data" in said.read_text()
        code, checks = doctor(said)
        assert (code, state_of(checks)) == (0, {}), "at another port, with the same project"
        assert len(Client(studio_url(checks), studio.account.legacy_token).backends(number)) == 1


def check_faults_are_found(said: Path, client: Client, number: int) -> None:
    """A wrong secret, and a backend that is not interactive, which is put right again."""
    code, checks = doctor(said, MASKLOOP_SECRET="another-secret-of-some-length")
    assert (code, state_of(checks)) == (1, {"backend": "failed", "webhook": "warning"})
    [backend] = client.backends(number)
    body = {key: backend[key] for key in ("url", "title", "auth_method")} | {"project": number}
    body |= {"basic_auth_user": BACKEND_USER, "basic_auth_pass": SECRET}
    client.change(f"/api/ml/{backend['id']}", {**body, "is_interactive": False}, "make it deaf")
    code, checks = doctor(said)
    assert (code, state_of(checks)) == (1, {"connection": "failed"})
    client.change(f"/api/ml/{backend['id']}", {**body, "is_interactive": True}, "make it hear")


def studio_url(checks: Mapping[str, Any]) -> str:
    return str(checks["server"]["found"]).split()[0]


def check_nothing_is_left(url: str, said: Path) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/health", timeout=2, trust_env=False)
    text = said.read_text()
    assert "Traceback" not in text
    assert text.rstrip().endswith("goes on")
