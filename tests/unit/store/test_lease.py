"""The lock file: whose it is, and who must not keep it."""

from __future__ import annotations

import os
import signal
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import WorkspaceLocked
from pipeline.store.lease import hold

SINCE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_second_holder_is_told_who_holds_it(tmp_path: Path) -> None:
    with hold(tmp_path, since=SINCE), pytest.raises(WorkspaceLocked) as raised, hold(tmp_path, since=SINCE):
        pass
    assert raised.value.pid == os.getpid()
    assert raised.value.since == "2026-01-02T03:04:05+00:00"
    with hold(tmp_path, since=SINCE):
        pass


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_damaged_text_of_a_dead_holder_does_no_harm(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "lock").write_bytes(text)
    with hold(tmp_path, since=SINCE), pytest.raises(WorkspaceLocked), hold(tmp_path, since=SINCE):
        pass


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A worker that outlives its killed parent is not the holder."""
    said, told = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
        with hold(tmp_path, since=SINCE):
            child = os.fork()
            if child == 0:
                os.write(told, b"x")
                signal.pause()
        try:
            os.read(said, 1)
            with hold(tmp_path, since=SINCE):
                pass
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(said)
            os.close(told)
