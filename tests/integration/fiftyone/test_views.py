"""The saved views, in a real database: what they hold, and in which order."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.fiftyone import mongod
from connectors.fiftyone.processes import environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(mongod.executable() is None, reason="no mongod here: pip install 'maskloop[fiftyone]'"),
]


def test_an_image_without_a_figure_is_in_no_view_about_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.integration.fiftyone.viewing"]
    with mongod.running(tmp_path) as address:
        told = environment(address, own=True)
        said = subprocess.run(command, env=told, capture_output=True, text=True, check=True, timeout=120).stdout
    held = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    assert held == {
        "most doubtful": ["poor", "fair", "calm", "void"],
        "edited most": ["poor", "fair"],
        "disagreements": ["void", "poor", "fair"],
        "low round trip": ["void", "poor", "fair"],
        "rejected": ["thrown"],
        "quarantine": ["unread"],
    }
