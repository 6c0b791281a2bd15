"""What every command shares: options, exit codes, and how errors are told."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline.errors import ConfigError, PipelineError

__all__ = [
    "ERROR",
    "INTERRUPTED",
    "USAGE",
    "WAITING",
    "HouseGroup",
    "as_json",
    "config_options",
    "fail",
    "json_option",
    "short",
]

ERROR = 1
USAGE = 2
WAITING = 3
INTERRUPTED = 130
"""By Ctrl-C, as shells count it."""

Command = TypeVar("Command", bound=Callable[..., Any])


class HouseGroup(click.Group):
    """A group in the order its commands were added, which tells our errors as one message, without a traceback.

    The system's refusals (no permission, a full disk) are told in the same way; anything else is a defect of
    ours and keeps its traceback.
    """

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as exc:
            fail(exc, USAGE)
        except PipelineError as exc:
            fail(exc, ERROR)
        except OSError as exc:
            if exc.errno == errno.EPIPE:  # whoever read our output has read enough: click ends quietly
                raise
            where = f"{exc.filename}: " if exc.filename is not None else ""
            fail(f"{where}{exc.strerror or exc}", ERROR)
        except KeyboardInterrupt:
            click.echo("\nstopped; the workspace is whole: run the same command again to go on", err=True)
            sys.exit(INTERRUPTED)


def fail(exc: PipelineError | str, code: int) -> None:
    """Tell an error and end the process."""
    click.echo(f"{click.style('error:', fg='red', bold=True)} {exc}", err=True)
    sys.exit(code)


def config_options(command: Command) -> Command:
    """CONFIG, --set and --workspace."""
    for decorate in (
        click.option(
            "--workspace",
            type=click.Path(path_type=Path),
            help="Use this folder instead of the configuration's `workspace`.",
        ),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Override one value, as in segmenter.device=cpu; may be repeated.",
        ),
        click.argument("config", type=click.Path(path_type=Path, dir_okay=False)),
    ):
        command = decorate(command)
    return command


def json_option(command: Command) -> Command:
    """--json."""
    return click.option("--json", "json_", is_flag=True, help="Print one JSON object instead of text.")(command)


def short(path: Path | str) -> str:
    """A path relative to where the person stands, if it lies below."""
    here = Path.cwd()
    found = Path(path)
    return str(found.relative_to(here)) if found.is_relative_to(here) and found != here else str(path)


def as_json(value: object) -> str:
    """A value as one line of JSON; dataclasses, paths and tuples become plain."""
    import dataclasses
    import json

    def plain(item: object) -> object:
        if dataclasses.is_dataclass(item) and not isinstance(item, type):
            return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
        return str(item)

    return json.dumps(value, default=plain, ensure_ascii=False)
