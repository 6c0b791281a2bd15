"""The floors of the house hold: the contracts of pyproject.toml, kept by import-linter."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.sources import REPOSITORY, module_of, tree


def test_every_import_contract_is_kept() -> None:
    script = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [script, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert f"{len(contracts)} kept, 0 broken" in done.stdout


def imported(path: Path) -> Iterator[str]:
    """Every module that the file may import; `from a import b` may mean `a.b`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_peers_of_one_folder_do_not_know_each_other() -> None:
    from pipeline.wiring import FAMILIES

    families = [REPOSITORY / "connectors" / folder for folder in FAMILIES.values()]
    families += [
        REPOSITORY / "pipeline" / name for name in ("acquisition/measures", "acquisition/selectors", "stages")
    ]
    meetings = []
    for family in families:
        peers = {module_of(path) for path in family.glob("*.py")} - {module_of(family / "__init__.py")}
        for path in family.glob("*.py"):
            meetings += [f"{module_of(path)} imports {name}" for name in imported(path) if name in peers]
    assert not meetings
