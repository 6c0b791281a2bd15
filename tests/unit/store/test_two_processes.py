"""Two real processes and one workspace: one writes, whatever happens to the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.errors import LedgerError, WorkspaceLocked
from pipeline.store.workspace import Workspace
from tests.fakes.store import NOON

PROCESS = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from pipeline.errors import LedgerError
from pipeline.store.workspace import Workspace

workspace = Workspace.open(Path(sys.argv[1]), now=lambda: datetime(2026, 1, 1, 12, tzinfo=UTC))
with workspace.write_lock():
    workspace.ledger.pointers.set("writer", "first")
    print("holding", flush=True)
    for value in map(str.strip, sys.stdin):
        try:
            workspace.ledger.pointers.set("writer", value)
            print("written", flush=True)
        except LedgerError as exc:
            print("refused:", exc, flush=True)
"""


class Holder:
    """Another process that holds the write lock and writes what it is told."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid
        assert self.hear() == "holding"

    def hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def tell(self, value: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{value}\n")
        self._process.stdin.flush()
        return self.hear()

    def send(self, signal_: signal.Signals) -> None:
        os.kill(self.pid, signal_)

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def workspace(root: Path) -> Iterator[Workspace]:
    opened = Workspace.open(root, now=lambda: NOON)
    yield opened
    opened.ledger.close()


@pytest.fixture
def hold(workspace: Workspace, root: Path) -> Iterator[Callable[[], Holder]]:
    holders: list[Holder] = []

    def start() -> Holder:
        holders.append(Holder(root))
        return holders[-1]

    yield start
    for holder in holders:
        holder.end()


def test_the_second_is_refused_by_name_and_may_read(workspace: Workspace, hold: Callable[[], Holder]) -> None:
    holder = hold()
    with pytest.raises(WorkspaceLocked, match=f"process {holder.pid} ") as raised, workspace.write_lock():
        pass
    assert raised.value.pid == holder.pid
    assert raised.value.since is not None
    assert datetime.fromisoformat(raised.value.since) == NOON
    assert workspace.ledger.pointers.get("writer") == "first"
    assert holder.tell("still mine") == "written"
    assert workspace.ledger.pointers.get("writer") == "still mine"


def test_a_killed_holder_leaves_the_lock_and_what_it_wrote(
    workspace: Workspace, hold: Callable[[], Holder]
) -> None:
    holder = hold()
    holder.send(signal.SIGKILL)
    holder.end()
    with workspace.write_lock():
        assert workspace.ledger.pointers.get("writer") == "first"
        workspace.ledger.pointers.set("writer", "second")
    assert workspace.ledger.pointers.get("writer") == "second"


def test_a_stopped_holder_is_still_the_holder(workspace: Workspace, hold: Callable[[], Holder]) -> None:
    holder = hold()
    holder.send(signal.SIGSTOP)
    with pytest.raises(WorkspaceLocked), workspace.write_lock():
        pass


def test_a_holder_that_wakes_up_after_another_has_taken_over_writes_nothing(
    workspace: Workspace, root: Path, hold: Callable[[], Holder]
) -> None:
    """Somebody deletes the lock file of a process that seems dead; then it goes on."""
    holder = hold()
    holder.send(signal.SIGSTOP)
    (root / "lock").unlink()
    with workspace.write_lock():
        workspace.ledger.pointers.set("writer", "second")
        holder.send(signal.SIGCONT)
        answer = holder.tell("zombie")
    assert answer.startswith("refused:")
    assert "another process has taken over" in answer
    assert workspace.ledger.pointers.get("writer") == "second"


def test_many_processes_make_one_workspace(tmp_path: Path) -> None:
    """All open a folder that none of them has seen; each makes what is missing, none trips over another."""
    root = tmp_path / "new"
    command = [sys.executable, "-c", PROCESS.partition("with workspace")[0] + "print('open')", str(root)]
    opening = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    ended = [process.communicate(timeout=60) for process in opening]
    assert [out.strip() for out, _ in ended] == ["open"] * 3, [err[-300:] for _, err in ended]


def test_without_the_lock_a_write_is_an_error(workspace: Workspace) -> None:
    with pytest.raises(LedgerError, match="write lock"):
        workspace.ledger.rounds.mark(1, "ingest", {})
