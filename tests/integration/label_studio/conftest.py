"""A real Label Studio, started once for all tests that need one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.label_studio.starting import Account, Studio, executable, personal_token, running

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The server; skipped, with what would make it run, where it is not installed."""
    program = executable(ROOT)
    if program is None:
        pytest.skip("Label Studio is not installed here: `make label-studio`, or set MASKLOOP_LABEL_STUDIO")
    with running(program, tmp_path_factory.mktemp("label-studio"), Account.drawn()) as started:
        yield started


@pytest.fixture(scope="session")
def token(studio: Studio) -> str:
    """A personal access token."""
    return personal_token(studio)
