"""Processes that a command starts, and ends again whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ConfigError

__all__ = ["child", "free_port_from", "pipeline_command", "until_told"]

_STOP_S = 30.0
_PORTS = 100
_SIGNALS = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)


def pipeline_command(*arguments: str) -> list[str]:
    """`pipeline` with these arguments, by this very interpreter."""
    return [sys.executable, "-c", "from pipeline.cli import main; main()", *arguments]


def free_port_from(wanted: int) -> int:
    """`wanted`, or the next port of this machine's own address that nobody listens at. Raises ConfigError."""
    for port in range(wanted, min(wanted + _PORTS, 65536)):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise ConfigError(f"neither port {wanted} nor the {_PORTS} after it are free", key="--port")


@contextmanager
def child(
    command: Sequence[str], environment: Mapping[str, str], *, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, so that Ctrl-C does not reach it before we do. It is asked to end as by
    Ctrl-C, and after half a minute made to. Without a `log` it speaks where this one speaks."""
    output = log.open("ab") if log is not None else None
    try:
        process = subprocess.Popen(  # noqa: S603  # commands of our own
            list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(environment),
            start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            for how in (signal.SIGINT, signal.SIGKILL):
                if process.poll() is None:
                    os.killpg(process.pid, how)
                    try:
                        process.wait(_STOP_S)
                    except subprocess.TimeoutExpired:
                        continue
    finally:
        if output is not None:
            output.close()


@contextmanager
def until_told() -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or closed terminal is a KeyboardInterrupt in the block; while that puts things in
    order, no other is heard."""

    def stop(*_: object) -> None:
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {one: signal.signal(one, stop) for one in _SIGNALS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
