"""Call `pipeline` as a person does, within this process: arguments in, exit code and both streams out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from pipeline.cli import main

__all__ = ["TINY", "json_of", "pipeline"]

TINY = Path(__file__).resolve().parents[1] / "configs" / "tiny.yaml"
"""The smallest loop that goes through every stage, on dry peers."""


def pipeline(*arguments: str | Path) -> Result:
    """Run the command; what it did not mean to raise is raised here too."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def json_of(result: Result) -> dict[str, Any]:
    """The one JSON object on stdout."""
    (line,) = result.stdout.splitlines()
    found = json.loads(line)
    assert isinstance(found, dict)
    return found
