"""Processes that FiftyOne needs, each in a session of its own, and what they are told of this one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["environment", "free_port", "plain_environment", "process", "tail"]

_STOP_S = 15.0

_PLAIN = {
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR"),
}
_PLAIN_BEGINNINGS = ("LC_", "XDG_", "PYTHON", "FIFTYONE_", "OMP_", "OPENBLAS_", "MKL_")
"""What a Python program needs to run here, and FiftyOne's own settings. Keys and passwords have too many names for a
list of what must not be told."""


@contextmanager
def process(
    command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes to `log`; whatever happens, it is ended when the block is left, with what it started.

    Ctrl-C reaches this process alone: the block's end is what ends the other. Its standard input is open for as long
    as this process lives, so that it can notice when nobody is there to end it.
    """
    with log.open("wb") as output:
        started = subprocess.Popen(  # noqa: S603  # programs and arguments of our own
            list(command), stdin=subprocess.PIPE, stdout=output, stderr=output, env=env, start_new_session=True
        )
    try:
        yield started
    finally:
        if started.stdin is not None:
            started.stdin.close()
        for how in (signal.SIGTERM, signal.SIGKILL):
            if started.poll() is None:
                os.killpg(started.pid, how)
                try:
                    started.wait(_STOP_S)
                except subprocess.TimeoutExpired:
                    continue


def plain_environment() -> dict[str, str]:
    """Of this process's environment what every program needs, and nothing that might be a secret of another."""
    return {key: value for key, value in os.environ.items() if key in _PLAIN or key.startswith(_PLAIN_BEGINNINGS)}


def environment(database: str, *, own: bool) -> dict[str, str]:
    """The plain one, for a process that imports FiftyOne: it speaks to `database` and to nobody else.

    `own`: the server is ours, and its version is known to do; of another one FiftyOne may say what it thinks.
    """
    told = {
        "FIFTYONE_DATABASE_URI": database,
        "FIFTYONE_DO_NOT_TRACK": "true",
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
        "PYTHONWARNINGS": "ignore",  # FiftyOne's own; its errors are read
    }
    return {**plain_environment(), **told, **({"FIFTYONE_DATABASE_VALIDATION": "false"} if own else {})}


def free_port() -> int:
    """A port of this machine that nobody listens at now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def tail(log: Path) -> str:
    """The end of a log, as one line."""
    return " ".join(log.read_text(errors="replace").split())[-500:]
