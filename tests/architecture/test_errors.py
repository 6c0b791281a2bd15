"""The tree drawn in errors.py is the tree of its classes."""

from __future__ import annotations

import inspect
import re

from pipeline import errors

ROW = re.compile(r"^(?P<branch>(?:│   |    )*(?:[├└]─ )?)(?P<name>[A-Z]\w+)(?P<attributes>(?: +\.\w+(?: \|)?)*)")


def drawn() -> dict[str, tuple[str | None, frozenset[str]]]:
    """Class name -> (its parent in the drawing, its own attributes)."""
    rows: dict[str, tuple[str | None, frozenset[str]]] = {}
    ancestors: list[str] = []
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        match = ROW.match(line.removeprefix("    "))
        if not line.startswith("    ") or match is None:
            continue
        depth = len(match["branch"].replace("├─ ", "│   ").replace("└─ ", "│   ")) // 4
        ancestors[depth:] = [match["name"]]
        attributes = frozenset(re.findall(r"\.(\w+)", match["attributes"]))
        rows[match["name"]] = (ancestors[depth - 1] if depth else None, attributes)
    return rows


def classes() -> dict[str, type[Exception]]:
    return {
        name: item
        for name, item in vars(errors).items()
        if inspect.isclass(item) and issubclass(item, Exception) and item.__module__ == errors.__name__
    }


def test_the_drawing_names_every_class_under_its_parent() -> None:
    parents = {name: item.__base__.__name__ if item.__base__ else None for name, item in classes().items()}
    parents["PipelineError"] = None
    assert {name: parent for name, (parent, _) in drawn().items()} == parents


def test_the_drawn_attributes_exist() -> None:
    known = classes()
    for name, (_, attributes) in drawn().items():
        source = inspect.getsource(known[name])
        inherited = "".join(inspect.getsource(base) for base in known[name].__mro__ if base in known.values())
        missing = {word for word in attributes if f"self.{word} =" not in source + inherited}
        assert not missing, f"{name} does not carry {missing}"


def test_every_error_is_exported() -> None:
    assert set(errors.__all__) == set(classes())
