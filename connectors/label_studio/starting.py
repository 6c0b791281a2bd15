"""A Label Studio on this machine alone: started from its own environment, with its own data, and ended again.

Its environment is made by `make label-studio`; it is a process that is spoken to over HTTP and nothing else.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from pipeline.errors import BackendUnavailable

__all__ = ["Account", "Studio", "executable", "free_port", "personal_token", "running"]

_NAME = "label_studio"
_START_S = 240.0
_STOP_S = 15.0


@dataclass(frozen=True)
class Account:
    """Who logs in; `legacy_token` is of 40 hexadecimal digits. None of it is shown by `repr`."""

    email: str
    password: str
    legacy_token: str

    def __repr__(self) -> str:
        return f"Account({self.email!r})"

    @staticmethod
    def drawn() -> Account:
        """With a password and a token that nobody knows."""
        # In hexadecimal: a password that begins with a minus would be an option to Label Studio's command.
        return Account("maskloop@example.org", secrets.token_hex(12), secrets.token_hex(20))


@dataclass(frozen=True)
class Studio:
    """A server that runs: its address, who may log in, and the folder whose images it gives out."""

    url: str
    account: Account
    files: Path
    log: Path


def executable(root: Path) -> Path | None:
    """Label Studio's own program: that of `root`'s environment, or of MASKLOOP_LABEL_STUDIO; None if there is none."""
    named = os.environ.get("MASKLOOP_LABEL_STUDIO")
    path = Path(named) if named else root / ".venv-label-studio" / "bin" / "label-studio"
    return path if path.is_file() else None


@contextmanager
def running(
    program: Path, folder: Path, account: Account, *, port: int = 0, files: Path | None = None
) -> Iterator[Studio]:
    """Start a server on loopback, with its data in `folder`, and end it, whatever happens, when the block is left.

    `files` is the folder whose sub-folders' images it may give out. The first start takes a minute. Raises
    BackendUnavailable, with the end of its log, if it does not come up.
    """
    served = files if files is not None else folder / "files"
    for path in (folder / "data", served):
        path.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    log = folder / "label-studio.log"
    arguments = ["start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    arguments += [
        "--username",
        account.email,
        "--password",
        account.password,
        "--user-token",
        account.legacy_token,
    ]
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603  # a program and arguments of our own
            [str(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=_environment(folder / "data", served),
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url, log)
        yield Studio(url, account, served, log)
    finally:
        _end(process)


def personal_token(studio: Studio) -> str:
    """A personal access token, as the account's page would give it. It is shown once: a second call is refused.

    Raises BackendUnavailable if the server does not give one.
    """
    with httpx.Client(base_url=studio.url, timeout=30, trust_env=False) as client:
        client.get("/user/login/")
        form = {
            "csrfmiddlewaretoken": client.cookies.get("csrftoken", ""),
            "email": studio.account.email,
            "password": studio.account.password,
        }
        client.post("/user/login/", data=form)
        answer = client.post("/api/token/", json={})
    if answer.status_code != 201:
        raise BackendUnavailable(
            f"it answers {answer.status_code} to the wish for a token", backend=_NAME, operation="make a token"
        )
    return str(answer.json()["token"])


def free_port() -> int:
    """A port of this machine that nobody listens at now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _environment(data: Path, files: Path) -> Mapping[str, str]:
    """That of this process without its secrets, and what makes Label Studio speak to this machine alone.

    Its guards against private addresses would refuse a backend on this machine; nothing else is asked of it.
    """
    kept = {key: value for key, value in os.environ.items() if "SECRET" not in key and "TOKEN" not in key}
    return {
        **kept,
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(files),
        "LABEL_STUDIO_ML_BLOCK_LOCAL_IP": "false",
        "LABEL_STUDIO_SSRF_PROTECTION_ENABLED": "false",
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "LABEL_STUDIO_SENTRY_DSN": "",
        "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    }


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/health", timeout=2, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    end = " ".join(log.read_text(errors="replace").split())[-500:]
    raise BackendUnavailable(f"it did not come up; its log ends: {end}", backend=_NAME, operation="start")


def _end(process: subprocess.Popen[bytes]) -> None:
    """It, and what it has started: a session of its own, so that nothing else is hit."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, how)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                continue
    process.wait()
