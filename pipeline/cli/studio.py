"""`pipeline studio`: Label Studio, its backend and the loop on this machine, by one command."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from pipeline.cli.common import ERROR, WAITING, config_options, fail, short
from pipeline.cli.processes import child, free_port_from, pipeline_command, until_told
from pipeline.cli.serving import SECRET
from pipeline.errors import BackendUnavailable, ConfigError

if TYPE_CHECKING:
    from connectors.label_studio.starting import Account, Studio
    from pipeline.config import Config

__all__ = ["studio"]

_KIND = "label_studio"
_START_S = 120.0
_LOOK_S = "5"
"""Between two looks for answers."""
_WELCOME = """
{line}
Label Studio is ready, and the machine's masks are in it.

  address    {address}
  login      {email}
  password   {password}

  1  Open the address, log in, and press "Label All Tasks": the most doubtful picture comes first.
  2  Once: switch on "Auto-Annotation" at the bottom of the page.
  3  Something is missing? Choose the smart key point in the tool bar, then a label, and click on the object.
     Too much? Choose the label again, and Alt + click on what does not belong to it.
     To correct a mask that is there: Ctrl + click inside it, Ctrl + Alt + click to take away.
  4  Accept the mask with the check mark in the bottom bar, and press "Submit".

When the last picture of the round is submitted, the next model is trained here, and the next pictures come.
Ctrl-C ends it all; the same command goes on where you were.
In another terminal:   . {keys}; pipeline doctor {given}
{line}
"""


@click.command(short_help="Label Studio, its backend and the loop, on this machine.")
@config_options
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/studio"),
    show_default=True,
    help="Where Label Studio keeps its data, and the passwords that are made at the first start.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8080,
    show_default=True,
    help="Label Studio's, or the next free.",
)
def studio(config: Path, overrides: tuple[str, ...], workspace: Path | None, folder: Path, port: int) -> None:
    """Start Label Studio and its backend for CONFIG, run the loop up to where people are asked, and say what to click.

    Everything stays on this machine. Each round goes on by itself when its last picture is submitted. Ctrl-C ends it
    all; a second start finds everything again.
    """
    from connectors.label_studio.starting import executable, running
    from pipeline.wiring import checked_peer, load_config

    settings = load_config(config, overrides, workspace=workspace)
    if settings.annotator.kind != _KIND:
        raise ConfigError(
            f"it is {settings.annotator.kind!r}, and people work in Label Studio here: configs/studio.yaml shows how "
            "to name it",
            path=config,
            key="annotator.kind",
        )
    program = executable(Path.cwd())
    if program is None:
        raise ConfigError(
            "Label Studio is not installed here: `make label-studio` does that, or set MASKLOOP_LABEL_STUDIO to its "
            "program, as in an environment with `pip install label-studio`"
        )
    _, annotator = checked_peer("annotator", _KIND, settings.annotator.settings)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = _Keys.of(folder / "env")
    try:
        with until_told(), ExitStack() as stack:
            click.echo("Label Studio is starting; the first time takes a minute …")
            started = stack.enter_context(
                running(
                    program, folder.absolute(), keys.account(), port=free_port_from(port), files=_files(annotator)
                )
            )
            _work(stack, config, overrides, workspace, settings, started, keys)
    except KeyboardInterrupt:
        click.echo(f"\nended; everything is kept: `pipeline studio {config}` goes on", err=True)


def _work(
    stack: ExitStack,
    config: Path,
    overrides: tuple[str, ...],
    workspace: Path | None,
    settings: Config,
    started: Studio,
    keys: _Keys,
) -> None:
    """The backend, the loop up to its first question, and then both until somebody ends them."""
    told = settings.annotator.settings
    port = free_port_from(_port_of(told.get("backend")))
    backend = f"http://127.0.0.1:{port}"
    # Only what the file does not say already: people read these words again.
    moved = {key: value for key, value in (("url", started.url), ("backend", backend)) if told.get(key) != value}
    given = [str(config)]
    for own in (*overrides, *(f"annotator.{key}={value}" for key, value in moved.items())):
        given += ["--set", own]
    given += ["--workspace", str(workspace)] if workspace is not None else []
    environment = {**os.environ, **keys.values}
    log = keys.path.parent / "serve.log"
    click.echo("its backend is starting …")
    serve = stack.enter_context(
        child(pipeline_command("serve", *given, "--port", str(port)), environment, log=log)
    )
    _wait(serve, backend, log)
    work = settings.workspace / "work" / f"annotators-{_KIND}"
    _connect(work, started, backend, keys)
    _run(given, environment, serve, log)
    address = _connect(work, started, backend, keys)
    _welcome(address, keys, given)
    if _run([*given, "--watch", "--every", _LOOK_S], environment, serve, log) == 0:
        click.echo(f"All rounds are finished. Label Studio stays at {address} until Ctrl-C.")
    while serve.poll() is None:
        time.sleep(1)
    fail(f"`pipeline serve` has ended; its log is {short(log)}", ERROR)


def _welcome(address: str, keys: _Keys, given: Sequence[str]) -> None:
    account = keys.account()
    click.echo(
        _WELCOME.format(
            line="─" * 100,
            address=address,
            email=account.email,
            password=account.password,
            keys=short(keys.path.absolute()),
            given=shlex.join(given),
        )
    )


def _run(given: Sequence[str], environment: Mapping[str, str], serve: subprocess.Popen[bytes], log: Path) -> int:
    """`pipeline run`, which speaks here: 0 or WAITING; every other end is the end of all."""
    with child(pipeline_command("run", *given), environment) as process:
        while (code := process.poll()) is None:
            if serve.poll() is not None:
                fail(f"`pipeline serve` has ended; its log is {short(log)}", ERROR)
            time.sleep(0.2)
    if code not in {0, WAITING}:
        raise SystemExit(ERROR)
    return code


def _wait(serve: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Until it is healthy. Raises BackendUnavailable, with where its log is, if that does not come."""
    import httpx

    until = time.monotonic() + _START_S
    while time.monotonic() < until and serve.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=2, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    end = " ".join(log.read_text(errors="replace").split())[-300:]
    raise BackendUnavailable(
        f"it did not come up; {short(log)} ends: {end}", backend="pipeline serve", operation="start"
    )


def _connect(work: Path, started: Studio, backend: str, keys: _Keys) -> str:
    """The project's address, once its clicks go to the backend, wherever both were at the last start."""
    from connectors.label_studio.client import Client
    from connectors.label_studio.project import connect_backend
    from connectors.work_folder import atomic_write, read_json

    project = read_json(work / "project.json")
    if project is None:
        return started.url
    client = Client(started.url, keys.account().legacy_token)
    connect_backend(client, int(project["id"]), backend, keys.values[SECRET])
    address = f"{started.url}/projects/{project['id']}/data"
    atomic_write(work / "README.txt", f"{address}\n".encode())
    return address


def _files(annotator: Any) -> Path | None:
    """The folder that Label Studio may give out."""
    return annotator.images.root if annotator.images.kind == "local_files" else None


def _port_of(backend: str | None) -> int:
    return (urlsplit(backend).port if backend is not None else None) or 9090


@dataclass(frozen=True)
class _Keys:
    """What lets people and programs in: lines that a shell reads, in a file that its owner alone reads."""

    path: Path
    values: Mapping[str, str]

    @staticmethod
    def of(path: Path) -> _Keys:
        """Those in the file; drawn, and written, where there is none."""
        import secrets

        from connectors.label_studio.credentials import TOKEN
        from connectors.label_studio.starting import Account

        if not path.is_file():
            account = Account.drawn()
            values = {
                "MASKLOOP_STUDIO_LOGIN": account.email,
                "MASKLOOP_STUDIO_PASSWORD": account.password,
                TOKEN: account.legacy_token,
                SECRET: secrets.token_urlsafe(24),
            }
            lines = "".join(f"export {name}='{value}'\n" for name, value in values.items())
            fresh = path.with_suffix(".new")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(lines)
            fresh.replace(path)
        rows = (line.removeprefix("export ").partition("=") for line in path.read_text().splitlines())
        return _Keys(path, {name: value.strip("'") for name, equals, value in rows if equals})

    def account(self) -> Account:
        """Raises ConfigError for a file that holds something else."""
        from connectors.label_studio.credentials import TOKEN
        from connectors.label_studio.starting import Account

        try:
            return Account(
                self.values["MASKLOOP_STUDIO_LOGIN"], self.values["MASKLOOP_STUDIO_PASSWORD"], self.values[TOKEN]
            )
        except KeyError as exc:
            raise ConfigError(
                f"it lacks {exc.args[0]}: move the folder away, and begin again", path=self.path
            ) from exc
