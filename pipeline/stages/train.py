"""train: a dataset folder becomes a model; which images it sees, and how often, is chosen by hash."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field

from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.records import State
from pipeline.domain.rounds import ModelRef
from pipeline.errors import BackendRejected, BadFormat, ConfigError
from pipeline.events import Emit, silent
from pipeline.ports import Epoch, Trainer

__all__ = ["TrainSettings", "repeats_of", "train"]


class TrainSettings(BaseModel):
    """What a training sees of its dataset version.

    `sampling` weighs the states of instances (a state that is not named weighs 1). An image counts as much as its
    instances do on average: over 1 it is seen several times an epoch, below 1 it is left out of some trainings, 0
    leaves it out of all. Which states are in a version at all is `merge.states`.

    `replay` is the share of the images that an earlier version had already, unchanged, which are trained on again; new
    and changed ones always are. 1, the default, guards fully against forgetting: every training sees all there is. Less
    makes long projects quicker; then it is the gate's `evaluate.tolerance` that guards each class.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sampling: Mapping[State, Annotated[float, Field(ge=0.0, le=100.0)]] = {}
    replay: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0


def repeats_of(
    entries: Iterable[DatasetEntry], earlier: Iterable[DatasetEntry], settings: TrainSettings, seed: int
) -> dict[str, int]:
    """Sample id -> how often an epoch sees it, for the train images of a version that are not seen once.

    `earlier` is the parent version. What a fraction comes to is decided by hash of sample id and `seed`, so it is the
    same whenever the training is resumed, and another in the next round. Raises ConfigError if nothing is left.
    """
    mine = [entry for entry in entries if entry.split == "train"]
    known = {entry.sample_id: entry.instances for entry in earlier if entry.split == "train"}
    times = {}
    for entry in mine:
        replayed = known.get(entry.sample_id) != entry.instances or _share(entry, seed, "replay") < settings.replay
        weight = _weight(entry, settings.sampling) if replayed else 0.0
        times[entry.sample_id] = math.floor(weight) + (_share(entry, seed, "sampling") < weight % 1.0)
    if mine and not any(times.values()):
        raise ConfigError(
            f"none of the {len(mine)} train images is left to train on: raise a weight or `train.replay`",
            key="train.sampling",
        )
    return {sample_id: count for sample_id, count in times.items() if count != 1}


def _weight(entry: DatasetEntry, sampling: Mapping[State, float]) -> float:
    """The mean over what is there; an image without anything weighs 1."""
    weights = [sampling.get(item.state, 1.0) for item in entry.instances if item.state is not State.REJECTED]
    return sum(weights) / len(weights) if weights else 1.0


def _share(entry: DatasetEntry, seed: int, purpose: str) -> float:
    """A number in [0, 1) that belongs to this sample and seed."""
    digest = hashlib.sha256(f"{purpose}/{seed}/{entry.sample_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64


def train(
    dataset: Path,
    base: ModelRef | None,
    trainer: Trainer,
    *,
    work: Path,
    seed: int,
    repeats: Mapping[str, int] = MappingProxyType({}),
    emit: Emit = silent,
) -> ModelRef:
    """Train on the YOLO folder `dataset`, from `base` or from the trainer's own start; resumes from `work`. `repeats`
    says of sample ids how often an epoch sees them.

    Tells `train.begin`, `train.epoch` (`epoch` from 1, `of`, `losses` by name) and `train.done`. Raises BadFormat
    if the folder's data.yaml names no classes, and BackendRejected if the model that comes back has no weights
    file, another SHA-256 than it says, or other classes than the dataset, in its order.
    """
    classes = _class_names(dataset / "data.yaml")
    emit("train.begin", trainer=trainer.name, base=base.id if base is not None else None)

    def tell(epoch: Epoch) -> None:
        emit("train.epoch", epoch=epoch.epoch, of=epoch.of, losses=dict(epoch.losses))

    model = trainer.train(dataset, base, work=work, seed=seed, on_epoch=tell, repeats=repeats)
    complaint = _complaint(model, classes)
    if complaint is not None:
        raise BackendRejected(complaint, backend=trainer.name, operation="train")
    emit("train.done", model=model.id)
    return model


def _complaint(model: ModelRef, classes: tuple[str, ...]) -> str | None:
    if not model.weights.is_file():
        return f"it named {model.weights} as the weights, and there is no such file"
    with model.weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != model.sha256:
        return f"{model.weights} has the SHA-256 {digest}, not {model.sha256} as it said"
    if model.class_names != classes:
        return f"the model knows the classes {list(model.class_names)}, the dataset has {list(classes)}"
    return None


def _class_names(path: Path) -> tuple[str, ...]:
    """The `names` of a data.yaml: a list, or a mapping from 0, 1, 2, …"""
    try:
        names = yaml.safe_load(path.read_text(encoding="utf-8"))["names"]
        ordered = [names[number] for number in range(len(names))]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as exc:
        raise BadFormat(f"names no classes ({exc})", path=path) from exc
    return tuple(str(name) for name in ordered)
