"""Rooms are small, and nothing lies around in them."""

from __future__ import annotations

import ast
import io
import statistics
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import SOURCES, Function, name_of, tree

MAX_FILE_LINES = 500
MEDIAN_FILE_LINES = 150
MAX_FUNCTION_LINES = 40
MAY_PRINT = ("pipeline/cli/", "pipeline/progress.py")
UNFINISHED = ("TODO", "FIXME", "XXX", "HACK")

each_source = pytest.mark.parametrize("path", SOURCES, ids=name_of)


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def function_lines(function: Function) -> int:
    """From `def` to the last line, without the docstring."""
    total = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return total
    docstring = function.body[0]
    return total - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def test_the_median_room_is_small() -> None:
    sizes = [lines(path) for path in SOURCES if path.name != "__init__.py" or lines(path) > 10]
    assert statistics.median(sizes) <= MEDIAN_FILE_LINES


@each_source
def test_no_room_is_a_hall(path: Path) -> None:
    assert lines(path) <= MAX_FILE_LINES
    long = {function.name: function_lines(function) for function in functions(path)}
    assert {name: size for name, size in long.items() if size > MAX_FUNCTION_LINES} == {}


@each_source
def test_validation_raises_and_never_asserts(path: Path) -> None:
    found = [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.Assert)]
    assert found == [], "an assert vanishes under `python -O`: raise one of the tree's errors"


@each_source
def test_nothing_is_left_for_later(path: Path) -> None:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    notes = [token.string for token in tokens if token.type in {tokenize.COMMENT, tokenize.STRING}]
    assert [note for note in notes if any(word in note for word in UNFINISHED)] == []
    stubs = [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.Raise) and _is_stub(node)]
    assert stubs == []


@each_source
def test_only_the_command_line_prints(path: Path) -> None:
    if name_of(path).startswith(MAY_PRINT):
        return
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    found = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert found == []


def _is_stub(node: ast.Raise) -> bool:
    raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"
