"""What every command shares: options, exit codes, and how errors are told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline.errors import ConfigError, PipelineError

__all__ = ["ERROR", "USAGE", "WAITING", "HouseGroup", "as_json", "config_options", "fail", "json_option"]

ERROR, USAGE, WAITING = 1, 2, 3
"""Exit codes besides 0."""

Command = TypeVar("Command", bound=Callable[..., Any])


class HouseGroup(click.Group):
    """A group in the order its commands were added, which tells our errors as one message, without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as exc:
            fail(exc, USAGE)
        except PipelineError as exc:
            fail(exc, ERROR)
        except KeyboardInterrupt:
            click.echo("\nstopped; the workspace is whole: run the same command again to go on", err=True)
            sys.exit(130)


def fail(exc: PipelineError, code: int) -> None:
    """Tell an error and end the process."""
    click.echo(f"{click.style('error:', fg='red', bold=True)} {exc}", err=True)
    sys.exit(code)


def config_options(command: Command) -> Command:
    """CONFIG, --set and --workspace."""
    for decorate in (
        click.option("--workspace", type=click.Path(path_type=Path), help="Use this workspace folder instead."),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Override a value, as in segmenter.device=cpu.",
        ),
        click.argument("config", type=click.Path(path_type=Path, dir_okay=False)),
    ):
        command = decorate(command)
    return command


def json_option(command: Command) -> Command:
    """--json."""
    return click.option("--json", "json_", is_flag=True, help="Print one JSON object instead of text.")(command)


def as_json(value: object) -> str:
    """A value as one line of JSON; dataclasses, paths and tuples become plain."""
    import dataclasses
    import json

    def plain(item: object) -> object:
        if dataclasses.is_dataclass(item) and not isinstance(item, type):
            return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
        return str(item)

    return json.dumps(value, default=plain, ensure_ascii=False)
