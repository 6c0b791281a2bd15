"""Every public thing says what it is, and `__all__` is exactly what is public."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.sources import SOURCES, name_of, tree

SELF_EVIDENT_LINES = 3
PORT_WORDS = {"Settings", "build", "measure", "image", "select"}
"""What peers have by contract: their family's page says what these are, and the module's caption says the rest."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
MODULES = [path for path in SOURCES if path.name != "__init__.py"]
CAPTIONED = [path for path in SOURCES if path.read_text(encoding="utf-8").strip()]
"""An empty `__init__.py` only marks a folder, which README captions."""


def public(path: Path) -> list[Definition]:
    """Every public function and class at the module's top level."""
    return [node for node in tree(path).body if isinstance(node, Definition) and not node.name.startswith("_")]


def exports(path: Path) -> list[str] | None:
    for node in tree(path).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return list(ast.literal_eval(node.value))
    return None


def is_peer(path: Path) -> bool:
    """A peer is found by its folder and used by the names its port demands."""
    return path.parent.parent.name == "connectors" or path.parent.name in {"measures", "selectors"}


def is_self_evident(node: Definition) -> bool:
    """A one-statement function whose name and types say all, an enum or a protocol that only lists members."""
    if isinstance(node, ast.ClassDef):
        return bool({ast.unparse(base) for base in node.bases} & {"StrEnum", "Protocol"})
    return len(node.body) == 1 and (node.end_lineno or 0) - node.body[0].lineno < SELF_EVIDENT_LINES


@pytest.mark.parametrize("path", CAPTIONED, ids=name_of)
def test_every_module_has_a_caption(path: Path) -> None:
    caption = (ast.get_docstring(tree(path)) or "").partition("\n")[0]
    assert caption
    assert caption.endswith((".", ":", "?")), "a caption is a sentence"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_public_definition_has_a_docstring(path: Path) -> None:
    silent = [
        node.name
        for node in public(path)
        if ast.get_docstring(node) is None
        and not is_self_evident(node)
        and not (is_peer(path) and node.name in PORT_WORDS)
    ]
    assert silent == []


@pytest.mark.parametrize("path", [path for path in SOURCES if exports(path) is not None], ids=name_of)
def test_all_is_exact(path: Path) -> None:
    listed = exports(path) or []
    assert len(set(listed)) == len(listed)
    defined = {node.name for node in public(path)}
    assert defined <= set(listed), "public, but not in __all__: start its name with _ or list it"
    bound = defined | {alias for node in tree(path).body for alias in _bound(node)}
    assert set(listed) <= bound, "in __all__, but not defined"


def _bound(node: ast.stmt) -> list[str]:
    """Names that an assignment or an import at the top level binds."""
    match node:
        case ast.Assign():
            return [part.id for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Import() | ast.ImportFrom():
            return [alias.asname or alias.name for alias in node.names]
    return []
