"""`pipeline --help` answers at once: it imports nothing that only work needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    *("torch", "torchvision", "ultralytics", "fiftyone", "label_studio_sdk", "ray"),
    *("numpy", "cv2", "PIL", "pandas", "scipy", "pyarrow", "pycocotools", "faster_coco_eval"),
    *("pydantic", "sqlalchemy", "yaml", "connectors"),
}


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["list", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr))\n"
        "from pipeline.cli import main\n"
        f"main({arguments!r}, prog_name='pipeline')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout
    loaded = set(done.stderr.split())
    assert "click" in loaded
    assert not loaded & HEAVY
