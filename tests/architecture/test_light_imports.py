"""Heavy packages are imported where they are used, never on the way there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.architecture.sources import PACKAGES, REPOSITORY, SOURCES, module_of

VENDORS = ("torch", "torchvision", "ultralytics", "fiftyone", "label_studio_sdk", "ray", "sam2", "sam3")
DATA = ("numpy", "cv2", "PIL", "pandas", "scipy", "matplotlib", "pyarrow", "pycocotools", "faster_coco_eval")
RECORDS = ("pydantic", "sqlalchemy")
NETWORKS = ("connectors.nano_sam.",)
"""Rooms whose classes are PyTorch's: they are imported where a peer is built."""


def loaded_by(modules: list[str]) -> set[str]:
    """The top-level packages in memory after a fresh interpreter has imported `modules`."""
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_everything_brings_no_vendor(package: str) -> None:
    modules = [module_of(path) for path in SOURCES if module_of(path).partition(".")[0] == package]
    modules = [name for name in modules if not name.endswith("__main__") and not name.startswith(NETWORKS)]
    loaded = loaded_by(modules)
    assert package in loaded
    assert not loaded & set(VENDORS)


def test_the_command_line_starts_light() -> None:
    loaded = loaded_by(["pipeline.cli"])
    assert "pipeline" in loaded
    assert not loaded & set(VENDORS + DATA + RECORDS)
