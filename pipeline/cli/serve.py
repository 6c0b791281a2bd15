"""`pipeline serve`: the backend that Label Studio asks for masks, by clicks and ahead of them."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from pipeline.cli.common import config_options
from pipeline.cli.processes import pipeline_command
from pipeline.cli.serving import bound, require_packages, secret_for, serve_until_stopped, url_of

__all__ = ["serve"]


@click.command(short_help="Answer Label Studio's clicks, and pre-annotate.")
@config_options
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9090, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--local-files",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder that /data/local-files/ addresses reach; by default the annotator's images.root.",
)
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    metavar="ORIGIN",
    help="Fetch images from this https://host too, at public addresses; may be repeated.",
)
@click.option(
    "--allow-private",
    "private",
    multiple=True,
    metavar="ORIGIN",
    help="Fetch images from this http://host:port of your own network too; may be repeated.",
)
@click.option(
    "--run-after",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Start `pipeline run` after N new annotations; 0: only when somebody presses Start Training.",
)
def serve(
    config: Path,
    overrides: tuple[str, ...],
    workspace: Path | None,
    host: str,
    port: int,
    local_files: Path | None,
    allowed: tuple[str, ...],
    private: tuple[str, ...],
    run_after: int,
) -> None:
    """Serve CONFIG's detector and segmenter to Label Studio: the address is its machine learning backend.

    Only this machine is served, unless MASKLOOP_SECRET is set in the environment (16 characters or more): then --host
    may be wider, and Label Studio must send it, as the password of the user `maskloop`. The connection is not
    encrypted: where others share the network, go through a proxy with HTTPS.

    Ctrl-C stops it, and the round that it may have started.
    """
    packages = ("fastapi", "httpx", "prometheus_client", "uvicorn", "defusedxml")
    require_packages("label-studio", packages, needed_by="`pipeline serve`")
    from connectors.label_studio.backend.app import application
    from connectors.label_studio.backend.services import Limits
    from connectors.serving.uvicorn_server import server_of
    from pipeline.wiring import open_backend

    secret = secret_for(host)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    with bound(host, port) as listening:
        services = open_backend(
            config,
            overrides,
            workspace=workspace,
            run_command=_run_command(config, overrides, workspace),
            local_files=local_files,
            allowed=allowed,
            private=private,
        )
        app = application(services, secret=secret, limits=Limits(run_after=run_after))
        who = "whoever has the secret" if secret is not None else "this machine alone"
        click.echo(f"serving {services.model_version()} at {url_of(host, listening)} to {who}; Ctrl-C stops it")
        serve_until_stopped(server_of(app, lifespan="on"), listening)


def _run_command(config: Path, overrides: tuple[str, ...], workspace: Path | None) -> tuple[str, ...]:
    """`pipeline run`, with what this command was given."""
    command = pipeline_command("run", str(config.absolute()))
    for override in overrides:
        command += ["--set", override]
    if workspace is not None:
        command += ["--workspace", str(workspace.absolute())]
    return tuple(command)
