"""`pipeline doctor`: is everything there that the loop needs, and if not, what to do."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.common import ERROR, as_json, config_options, json_option

if TYPE_CHECKING:
    from pipeline.ports import Check

__all__ = ["doctor"]

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}
_NAME_WIDTH = 14
_WIDTH = 110


@click.command(short_help="Check everything that the loop needs, with remedies.")
@config_options
@json_option
def doctor(config: Path, overrides: tuple[str, ...], workspace: Path | None, json_: bool) -> None:
    """Check everything that the loop of CONFIG needs, and say what to do about what is not right.

    The configuration, the workspace, disk space, packages, weights and their hashes, a click that the segmenter must
    answer; with Label Studio also its address, token, version, project, storage and backend, and a click through it.
    Nothing is changed. Exit code 0 if all is well (there may be warnings), 1 if not.
    """
    from pipeline.cli.examining import examine

    found: list[Check] = []
    for check in examine(config, overrides, workspace=workspace):
        found.append(check)
        if not json_:
            click.echo(_told(check))
    healthy = all(check.state != "failed" for check in found)
    if json_:
        click.echo(as_json({"healthy": healthy, "checks": found}))
    else:
        counts = {state: sum(check.state == state for check in found) for state in _COLOURS}
        said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        click.echo(f"\n{'healthy' if healthy else 'not healthy'}: {said}")
    if not healthy:
        sys.exit(ERROR)


def _told(check: Check) -> str:
    """The finding, and below it the remedy."""
    state = click.style(f"{check.state:<9}", fg=_COLOURS[check.state])
    indent = " " * (9 + _NAME_WIDTH + 1)
    lines = textwrap.wrap(check.found, _WIDTH - len(indent), break_on_hyphens=False) or [""]
    if check.remedy and check.state != "ok":
        lines += textwrap.wrap(
            f"→ {check.remedy}", _WIDTH - len(indent), subsequent_indent="  ", break_on_hyphens=False
        )
    return f"{state}{check.name:<{_NAME_WIDTH}} " + f"\n{indent}".join(lines)
