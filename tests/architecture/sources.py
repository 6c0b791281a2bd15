"""The modules of the house and its doors, found by their files: nothing is imported."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("pipeline", "connectors")

SOURCES = sorted(
    path
    for package in PACKAGES
    for path in (REPOSITORY / package).rglob("*.py")
    if "__pycache__" not in path.parts
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    """`pipeline/domain/mask.py`: what a failing test shows."""
    return path.relative_to(REPOSITORY).as_posix()


def module_of(path: Path) -> str:
    """`pipeline.domain.mask`; a package is called by its folder."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
