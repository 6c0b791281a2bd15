"""`pipeline serve-segmenter`: a segmenter for other machines, which ask it by the peer `remote`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.serving import bound, require_packages, secret_for, serve_until_stopped, url_of
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.ports import Segmenter

__all__ = ["serve_segmenter"]


@click.command(name="serve-segmenter", short_help="Serve a segmenter to other machines.")
@click.option("--segmenter", "kind", metavar="KIND", help="What to serve: a kind of `pipeline list segmenters`.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Serve the segmenter of this configuration instead.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the segmenter, as in device=cpu (with --config, segmenter.device=cpu); may be repeated.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9090, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--memory-gb",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    help="Memory for encodings, 10^9 bytes; those used least recently go first.",
)
@click.option(
    "--encodings",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep encodings in this folder too, for the next start.",
)
def serve_segmenter(
    kind: str | None,
    config: Path | None,
    overrides: tuple[str, ...],
    host: str,
    port: int,
    memory_gb: float,
    encodings: Path | None,
) -> None:
    """Serve one segmenter over HTTP, so that a laptop can use this machine's GPU.

    There, `segmenter: {kind: remote, url: http://HOST:PORT}` uses it. Ctrl-C stops the server.

    Only this machine is served, unless MASKLOOP_SECRET is set in the environment (16 characters or more): then
    --host may be wider, and whoever asks must have the same secret in theirs. The connection is not encrypted: go
    through an SSH tunnel, or a proxy with HTTPS, where others share the network.
    """
    if (kind is None) == (config is None):
        raise click.UsageError("give either --segmenter KIND or --config CONFIG")
    require_packages("serve", ("starlette", "uvicorn"), needed_by="`pipeline serve-segmenter`")
    from connectors.remote.protocol import Limits
    from connectors.remote.server import application
    from connectors.serving.uvicorn_server import server_of

    secret = secret_for(host)
    with bound(host, port) as listening:
        segmenter = _segmenter(kind, config, overrides, encodings)
        app = application(segmenter, secret=secret, limits=Limits(kept_bytes=round(memory_gb * 1e9)))
        who = "whoever has the secret" if secret is not None else "this machine alone"
        click.echo(f"serving {segmenter.name} at {url_of(host, listening)} to {who}; Ctrl-C stops it")
        serve_until_stopped(server_of(app), listening)


def _segmenter(
    kind: str | None, config: Path | None, overrides: Sequence[str], encodings: Path | None
) -> Segmenter:
    from pipeline.config import EncodingsSettings
    from pipeline.segmenting.stored import StoredSegmenter
    from pipeline.store.encodings import EncodingStore
    from pipeline.wiring import load_config, open_segmenter

    if config is not None:
        loaded = load_config(config, overrides)
        opened = open_segmenter(loaded.segmenter.kind, loaded.segmenter.settings, masks=loaded.segment)
    else:
        opened = open_segmenter(str(kind), _settings(overrides))
    if encodings is None:
        return opened
    return StoredSegmenter(opened, EncodingStore(encodings, round(EncodingsSettings().budget_gb * 1e9)))


def _settings(overrides: Sequence[str]) -> dict[str, Any]:
    import yaml

    settings: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"{override!r} is not of the form key=value", key="--set")
        try:
            settings[key] = yaml.safe_load(text)
        except yaml.YAMLError as exc:
            raise ConfigError(f"the value {text!r} is not YAML", key=key) from exc
    return settings
