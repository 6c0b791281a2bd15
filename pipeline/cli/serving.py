"""What commands that serve share: the secret, the address, and serving until Ctrl-C."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from pipeline.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    import uvicorn

__all__ = ["SECRET", "bound", "require_packages", "secret_for", "serve_until_stopped", "url_of"]

_TURN_S = 0.0005
SECRET = "MASKLOOP_SECRET"  # noqa: S105  # the variable's name


def require_packages(extra: str, packages: Iterable[str], *, needed_by: str) -> None:
    """Raises MissingExtra for the first that is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(extra, needed_by=needed_by, package=package)


def secret_for(host: str) -> str | None:
    """The environment's. Raises ConfigError for a weak one, and where a wide address has none."""
    from connectors.serving.secrets import MIN_SECRET, is_loopback, is_secret

    secret = os.environ.get(SECRET) or None
    if secret is None and not is_loopback(host):
        raise ConfigError(
            f"{host} is reached from elsewhere: set {SECRET} in the environment (python -c "
            "'import secrets; print(secrets.token_urlsafe())' makes one), or stay with 127.0.0.1",
            key="--host",
        )
    if secret is not None and not is_secret(secret):
        raise ConfigError(f"it must be {MIN_SECRET} or more printable characters without spaces", key=SECRET)
    return secret


def bound(host: str, port: int) -> socket.socket:
    """Before the weights are read: a port that is taken is told at once. Raises ConfigError."""
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # asyncio does this only for sockets that it makes itself; without it every answer is 40 ms late.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as exc:
        raise ConfigError(
            f"cannot listen at {host}, port {port}: {exc.strerror or exc}; choose others", key="--host, --port"
        ) from exc


def url_of(host: str, listening: socket.socket) -> str:
    """The address that a bound socket answers at."""
    address = f"[{host}]" if ":" in host else host
    return f"http://{address}:{listening.getsockname()[1]}"


def serve_until_stopped(server: uvicorn.Server, listening: socket.socket) -> None:
    """Ctrl-C ends it, after the requests that are being answered.

    Threads that compute hand over to the one that answers ten times as often as Python has them do it: under load every
    answer would wait for some such turns.
    """
    sys.setswitchinterval(_TURN_S)
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
