"""train: a dataset folder becomes a model."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

from pipeline.domain.rounds import ModelRef
from pipeline.errors import BackendRejected, BadFormat
from pipeline.events import Emit, silent
from pipeline.ports import Epoch, Trainer

__all__ = ["train"]


def train(
    dataset: Path,
    base: ModelRef | None,
    trainer: Trainer,
    *,
    work: Path,
    seed: int,
    emit: Emit = silent,
) -> ModelRef:
    """Train on the YOLO folder `dataset`, from `base` or from the trainer's own start; resumes from `work`.

    Tells `train.begin`, `train.epoch` (`epoch` from 1, `of`, `losses` by name) and `train.done`. Raises BadFormat
    if the folder's data.yaml names no classes, and BackendRejected if the model that comes back has no weights
    file, another SHA-256 than it says, or other classes than the dataset, in its order.
    """
    classes = _class_names(dataset / "data.yaml")
    emit("train.begin", trainer=trainer.name, base=base.id if base is not None else None)

    def tell(epoch: Epoch) -> None:
        emit("train.epoch", epoch=epoch.epoch, of=epoch.of, losses=dict(epoch.losses))

    model = trainer.train(dataset, base, work=work, seed=seed, on_epoch=tell)
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
