"""README speaks of everything that can be used: commands, peers, measures, folders, configurations, benchmarks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.cli import main
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Prompt, Proposal
from pipeline.domain.rounds import Evidence, Finding
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


def example(heading: str) -> dict[str, Any]:
    """What the first Python block under a heading defines."""
    section = readme().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    code = section.partition("```python\n")[2].partition("\n```")[0]
    defined: dict[str, Any] = {}
    exec(code, defined)
    return defined


def test_the_segmenter_of_the_example_segments() -> None:
    module = example("Add a segmenter")
    segmenter = module["build"](module["Settings"](), None)
    image = np.full((40, 60, 3), 20, dtype=np.uint8)
    cv2.circle(image, (30, 20), 10, (200, 210, 190), -1)
    truth = Mask.from_bitmap(image[..., 0] > 100)
    (encoding,) = segmenter.encode([image])
    ((prediction,),) = segmenter.decode(encoding, [Prompt(box=Box(16, 6, 44, 34))])
    assert prediction.mask == truth


def test_the_measure_of_the_example_measures() -> None:
    module = example("Add a measure")
    boxes = [Box(0, 0, 1, 1), Box(0, 0, 100, 100)]
    findings = tuple(Finding(Proposal(box, "coin", 0.5), None) for box in boxes)
    small, large = module["measure"](Evidence("a", (100, 100), findings), np.random.default_rng(0))
    assert (small, large) == (pytest.approx(0.99), 0.0)
    assert 0.0 <= module["EMPTY"] <= 1.0
