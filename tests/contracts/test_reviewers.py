"""What every reviewer promises. A new file in the folder is tested without an edit here."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors import reviewers
from pipeline.errors import BackendUnavailable, ConfigError
from pipeline.ports import Reviewer
from tests.fakes.people import proposed, resources, task

KINDS = sorted(module.name for module in pkgutil.iter_modules(reviewers.__path__))
ROWS = [task([proposed("m1", (5, 5, 25, 25))], "a"), task([], "b")]


@pytest.fixture(params=KINDS)
def module(request: pytest.FixtureRequest) -> Any:
    peer = importlib.import_module(f"connectors.reviewers.{request.param}")
    for packages in peer.REQUIRES.values():
        for package in packages:
            pytest.importorskip(package, reason=f"{request.param} needs {package}")
    return peer


@pytest.fixture
def reviewer(module: Any, tmp_path: Path) -> Reviewer:
    try:
        built: Reviewer = module.build(module.Settings(), resources(tmp_path))
    except (BackendUnavailable, ConfigError, ValidationError) as exc:
        pytest.skip(f"{module.__name__} cannot be built here: {exc}")
    return built


def test_before_it_is_opened_there_is_no_verdict(reviewer: Reviewer) -> None:
    assert list(reviewer.verdicts()) == []


def test_opening_gives_no_verdict(reviewer: Reviewer) -> None:
    reviewer.open(ROWS)
    assert list(reviewer.verdicts()) == []


def test_it_can_be_opened_again_and_with_nothing(reviewer: Reviewer) -> None:
    reviewer.open(ROWS)
    reviewer.open([])
    assert list(reviewer.verdicts()) == []


def test_settings_are_closed(module: Any) -> None:
    with pytest.raises(ValidationError, match="no_such_setting"):
        module.Settings(no_such_setting=1)
