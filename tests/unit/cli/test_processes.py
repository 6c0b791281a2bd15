"""Processes that a command starts end with it, and ports that are taken are passed by."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.cli.processes import child, free_port_from, pipeline_command, until_told
from pipeline.errors import ConfigError

TWO = (
    "import subprocess, sys, time\n"
    "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(inner.pid, flush=True)\n"
    "time.sleep(60)\n"
)


def is_alive(pid: int) -> bool:
    """Whether it runs; one that has ended and was not asked for is none that runs."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_port_that_is_taken_is_passed_by() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = free_port_from(port)
    assert port < found < port + 100
    with socket.create_server(("127.0.0.1", found)):
        pass


def test_no_port_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("taken")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(ConfigError, match="--port"):
        free_port_from(9000)


@pytest.mark.parametrize("raises", [False, True])
def test_a_child_and_its_own_children_end_with_the_block(tmp_path: Path, raises: bool) -> None:
    log = tmp_path / "log"
    pid = 0
    try:
        with child([sys.executable, "-c", TWO], os.environ, log=log) as process:
            while not log.read_text().endswith("\n"):
                time.sleep(0.02)
            pid = int(log.read_text())
            assert is_alive(process.pid)
            assert is_alive(pid)
            if raises:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert raises
    assert process.poll() is not None
    for _ in range(100):
        if not is_alive(pid):
            break
        time.sleep(0.02)
    assert not is_alive(pid)


def test_a_child_that_has_ended_keeps_its_exit_code() -> None:
    with child([sys.executable, "-c", "raise SystemExit(3)"], os.environ) as process:
        process.wait(30)
    assert process.returncode == 3


def disturbed(ended: list[bool]) -> None:
    """Told to end, and told again while it ends."""
    with until_told():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            ended.append(True)


def test_the_first_signal_ends_the_block_and_later_ones_do_not_disturb_the_end() -> None:
    before, ended = signal.getsignal(signal.SIGTERM), list[bool]()
    with pytest.raises(KeyboardInterrupt):
        disturbed(ended)
    assert ended == [True]
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_command_is_this_interpreters() -> None:
    done = subprocess.run(pipeline_command("--version"), capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("pipeline, version")
