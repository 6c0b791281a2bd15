"""README speaks of everything that can be used: commands, peers, measures, folders, configurations, benchmarks."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from pipeline.cli import main
from pipeline.wiring import FAMILIES
from tests.architecture.sources import REPOSITORY

ACQUISITION = ("measures", "selectors")


def readme() -> str:
    return (REPOSITORY / "README.md").read_text(encoding="utf-8")


def unmentioned(names: Iterable[str]) -> list[str]:
    """Names that stand nowhere in README as words of their own."""
    text = readme()
    return sorted(name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text))


def files_in(folder: str, pattern: str) -> list[str]:
    return [path.name for path in (REPOSITORY / folder).glob(pattern) if not path.name.startswith("_")]


def test_every_command() -> None:
    assert main.commands
    assert unmentioned(f"pipeline {name}" for name in main.commands) == []


@pytest.mark.parametrize("folder", [f"connectors/{family}" for family in FAMILIES.values()])
def test_every_peer(folder: str) -> None:
    peers = [name.removesuffix(".py") for name in files_in(folder, "*.py")]
    assert unmentioned(peers) == []


@pytest.mark.parametrize("folder", [f"pipeline/acquisition/{family}" for family in ACQUISITION])
def test_every_measure_and_selector(folder: str) -> None:
    peers = [name.removesuffix(".py") for name in files_in(folder, "*.py")]
    assert peers
    assert unmentioned(peers) == []


def test_every_configuration() -> None:
    assert unmentioned(f"configs/{name}" for name in files_in("configs", "*.yaml")) == []


def test_every_benchmark() -> None:
    assert unmentioned(f"benchmarks.{name.removesuffix('.py')}" for name in files_in("benchmarks", "*.py")) == []


def test_every_folder_of_the_tree() -> None:
    packages = {
        path.parent for name in ("pipeline", "connectors") for path in (REPOSITORY / name).rglob("__init__.py")
    }
    assert unmentioned(f"{package.name}/" for package in packages) == []


def test_every_link_into_the_repository_leads_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", readme())
    assert [target for target in targets if not (REPOSITORY / target).exists()] == []
