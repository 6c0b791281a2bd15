"""Call `pipeline` as a person does, within this process: arguments in, exit code and both streams out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.domain.records import Annotation
from pipeline.wiring import open_house

__all__ = ["TINY", "import_", "imported", "json_of", "pipeline", "places"]

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


def import_(workspace: Path, path: Path, kind: str, *more: str | Path, config: Path = TINY) -> dict[str, Any]:
    return json_of(pipeline("import", config, path, "--workspace", workspace, "--format", kind, "--json", *more))


def imported(workspace: Path) -> dict[str, Annotation]:
    """Sample id -> the newest labels that were imported."""
    _, opened, _ = open_house(TINY, workspace=workspace, create=False)
    return {said.sample_id: said for said in opened.ledger.annotations.imported()}


def places(workspace: Path) -> dict[str, tuple[str, str]]:
    _, opened, _ = open_house(TINY, workspace=workspace, create=False)
    return {sample.id: (sample.split, sample.group) for sample in opened.ledger.samples.all()}
