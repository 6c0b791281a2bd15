"""Pretends to train: counts labels and writes a small JSON file in place of weights. No PyTorch.

The "weights" say how skilful a detector they make: `{"skill": 0..1, "classes": [...], "instances": n, ...}`.
Skill follows a saturating learning curve, `best_skill * n / (n + halfway)` for n labelled training instances.
The detector `ground_truth` reads the file and degrades the truth accordingly, so a whole loop can be stepped
through in seconds. Epochs, checkpoints and resuming work as in a real trainer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field

from connectors.repeats import repeated
from connectors.work_folder import atomic_write, claim, finished, read_json, write_result
from pipeline.domain.rounds import ModelRef
from pipeline.errors import BadFormat
from pipeline.ports import Epoch, Resources, Trainer

__all__ = ["REQUIRES", "DryRun", "Settings", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {}


class Settings(BaseModel):
    """How the pretended training learns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: Annotated[int, Field(ge=1)] = 3
    best_skill: Annotated[float, Field(gt=0, le=1)] = 0.95
    halfway: Annotated[int, Field(ge=1)] = 40
    """The number of labelled instances that gives half of `best_skill`."""


def build(settings: Settings, _resources: Resources) -> Trainer:
    """Nothing to load."""
    return DryRun(settings)


class DryRun:
    """A trainer that learns by counting."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        digest = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()
        self.name = f"dry_run-{digest[:12]}"

    def train(
        self,
        dataset: Path,
        base: ModelRef | None,
        *,
        work: Path,
        seed: int,
        on_epoch: Callable[[Epoch], None],
        repeats: Mapping[str, int] = MappingProxyType({}),
    ) -> ModelRef:
        """As the port says. Raises BadFormat for a folder without a usable data.yaml."""
        plan = {
            "trainer": self.name,
            "dataset": dataset.name,
            "base": base.sha256 if base is not None else None,
            "seed": seed,
        }
        claim(work, {**plan, **({"repeats": dict(repeats)} if repeats else {})}, backend="dry_run")
        if (model := finished(work)) is not None:
            return model
        classes, labels = _describe(dataset)
        seen = repeated(sorted(labels.rglob("*.txt")), repeats)
        instances = sum(_rows(path) * times for path, times in seen)
        skill = self._settings.best_skill * instances / (instances + self._settings.halfway)
        self._epochs(work, skill, on_epoch)
        row = {"skill": skill, "classes": list(classes), "instances": instances, **plan}
        data = json.dumps(row, sort_keys=True, indent=1).encode()
        sha256 = hashlib.sha256(data).hexdigest()
        weights = work / "weights" / "model.json"
        atomic_write(weights, data)
        model = ModelRef(f"dry-{sha256[:12]}", weights, sha256, classes, dataset.name)
        write_result(work, model)
        return model

    def _epochs(self, work: Path, skill: float, on_epoch: Callable[[Epoch], None]) -> None:
        """Go through the epochs that a checkpoint in `work` does not say were done."""
        checkpoint = work / "checkpoint.json"
        done = int((read_json(checkpoint) or {"epoch": 0})["epoch"])
        for epoch in range(done + 1, self._settings.epochs + 1):
            atomic_write(checkpoint, json.dumps({"epoch": epoch}).encode())
            on_epoch(Epoch(epoch, self._settings.epochs, {"loss": 1.0 - skill * epoch / self._settings.epochs}))


def _describe(dataset: Path) -> tuple[tuple[str, ...], Path]:
    """Class names, and the folder of the training labels, of a YOLO-seg folder."""
    path = dataset / "data.yaml"
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        names, images = data["names"], Path(data["train"])
    except (OSError, yaml.YAMLError, KeyError, TypeError) as exc:
        raise BadFormat(f"is not a data.yaml with `names` and `train`: {exc}", path=path) from exc
    classes = [names[number] for number in sorted(names)] if isinstance(names, dict) else list(names)
    parts = ["labels" if part == "images" else part for part in images.parts]
    return tuple(str(name) for name in classes), dataset.joinpath(*parts)


def _rows(path: Path) -> int:
    return sum(1 for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
