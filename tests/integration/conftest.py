"""A run of the tiny configuration that is made once, and copies of it to work on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.integration.commands import TINY, pipeline


@pytest.fixture(scope="session")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished workspace; tests get a copy of it, which must do as well."""
    root = tmp_path_factory.mktemp("finished") / "workspace"
    result = pipeline("run", TINY, "--workspace", root)
    assert result.exit_code == 0, result.output
    return root


@pytest.fixture
def finished(run_once: Path, tmp_path: Path) -> Path:
    """Hard links stay hard links, as they were made."""
    copy = tmp_path / "workspace"
    shutil.copytree(run_once, copy)
    return copy


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A workspace with the same images, and nothing known of them but the seeds' labels."""
    assert pipeline("ingest", TINY, "--workspace", tmp_path / "fresh").exit_code == 0
    return tmp_path / "fresh"
