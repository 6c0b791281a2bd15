"""What every reviewer promises. A new file in the folder is tested without an edit here."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from connectors import reviewers
from pipeline.domain.records import Sample
from pipeline.errors import BackendUnavailable, ConfigError
from pipeline.ports import Reviewer, ReviewRow
from tests.fakes.people import proposed, resources, sample, true

KINDS = sorted(module.name for module in pkgutil.iter_modules(reviewers.__path__))


@pytest.fixture(params=KINDS)
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The peer, where it can be used; it is kept from servers that belong to somebody."""
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    peer = importlib.import_module(f"connectors.reviewers.{request.param}")
    for extra, packages in peer.REQUIRES.items():
        for package in packages:
            if importlib.util.find_spec(package) is None:
                pytest.skip(f"{request.param} needs {package}: pip install 'maskloop[{extra}]'")
    lacks: list[str] = getattr(peer, "lacks", list)()
    if lacks:
        pytest.skip(f"{request.param} lacks {'; '.join(lacks)}")
    return peer


@pytest.fixture
def reviewer(module: Any, tmp_path: Path) -> Reviewer:
    try:
        built: Reviewer = module.build(module.Settings(), resources(tmp_path))
    except (BackendUnavailable, ConfigError, ValidationError) as exc:
        pytest.skip(f"{module.__name__} cannot be built here: {exc}")
    return built


def _rows(folder: Path) -> list[ReviewRow]:
    """One image with everything that can be known of one, one with nothing."""
    proposal, label = proposed("m1", (5, 5, 25, 25)), true("h1", (30, 30, 79, 63), "star")
    rich = ReviewRow(_image(folder, "a"), (proposal,), (label,), truth=(label,), round=1, round_trip={"h1": 0.9})
    return [rich, ReviewRow(_image(folder, "b"), (), (), quarantined="broken")]


def _image(folder: Path, name: str) -> Sample:
    of = sample(name)
    path = folder / f"{name}.png"
    Image.new("RGB", of.size_hw[::-1]).save(path)
    return Sample(of.id, path, of.size_hw, of.split, of.group)


def test_before_it_is_opened_there_is_no_verdict(reviewer: Reviewer) -> None:
    assert list(reviewer.verdicts()) == []


def test_opening_gives_no_verdict_neither_with_nothing_nor_again(reviewer: Reviewer, tmp_path: Path) -> None:
    reviewer.open([])
    reviewer.open(_rows(tmp_path))
    assert list(reviewer.verdicts()) == []


def test_settings_are_closed(module: Any) -> None:
    with pytest.raises(ValidationError, match="no_such_setting"):
        module.Settings(no_such_setting=1)
