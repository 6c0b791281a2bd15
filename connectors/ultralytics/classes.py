"""From the model's class names to the project's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigError

__all__ = ["ANY_OTHER", "ClassTable", "class_table"]

ANY_OTHER = "*"
_TOLD = 10
"""In a class map: every model class that is neither named in the map nor has the name of a project's class."""


@dataclass(frozen=True)
class ClassTable:
    """`targets[i]` is the project's number of the model's class i, or -1; `count` is the project's classes."""

    targets: npt.NDArray[np.int64]
    count: int

    @property
    def wanted(self) -> list[int]:
        """The model's class numbers that mean something to the project."""
        return [int(number) for number in np.flatnonzero(self.targets >= 0)]

    @property
    def merges(self) -> bool:
        """Whether several of the model's classes become one."""
        wanted = self.targets[self.targets >= 0]
        return len(np.unique(wanted)) < len(wanted)

    def project(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Scores of the model's classes `(n, model)` as those of the project's `(n, count)`: where several of the
        model's classes become one, the highest of them; 0 for a class that the model does not know."""
        projected = np.zeros((len(scores), self.count))
        for source in self.wanted:
            target = self.targets[source]
            np.maximum(projected[:, target], scores[:, source], out=projected[:, target])
        return projected


def class_table(names: Mapping[int, str], classes: Sequence[str], class_map: Mapping[str, str]) -> ClassTable:
    """Equal names map to each other unless `class_map` says otherwise.

    Raises ConfigError if the map names a class that the model or the project does not have, or if nothing that
    the model finds would mean anything to the project.
    """
    known = set(names.values())
    for source, target in class_map.items():
        if source not in known and source != ANY_OTHER:
            raise ConfigError(
                f"the model has no class {source!r}; it has {', '.join(sorted(known))}", key="class_map"
            )
        if target not in classes:
            raise ConfigError(
                f"{target!r} is none of the project's classes: {', '.join(classes)}", key="class_map"
            )
    implied = {name: name for name in classes}
    other = class_map.get(ANY_OTHER)
    targets = np.full(len(names), -1, dtype=np.int64)
    for number, name in names.items():
        target_name = class_map.get(name, implied.get(name, other))
        if target_name is not None:
            targets[number] = classes.index(target_name)
    if not (targets >= 0).any():
        told = [*list(names.values())[:_TOLD], *(["…"] if len(names) > _TOLD else [])]
        raise ConfigError(
            f"none of the model's {len(names)} classes ({', '.join(told)}) is one of the project's "
            f"({', '.join(classes)}): say which of yours each is, or what any is, as in class_map: "
            f'{{"*": {classes[0]}}}',
            key="class_map",
        )
    return ClassTable(targets, len(classes))
