"""The checkpoints of a training in its `work` folder: never torn, the last two kept, made into a model at the end.

Ultralytics overwrites `last.pt` in place, so a kill can tear it. After every epoch a whole copy is put beside it,
and only such copies are ever resumed from.
"""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path
from typing import Any

from connectors.ultralytics.checkpoint import scan
from connectors.ultralytics.weights import read_model
from connectors.work_folder import atomic_copy, atomic_write
from pipeline.errors import BackendRejected, WeightsUnavailable

__all__ = ["keep_checkpoint", "newest_checkpoint", "publish", "remove_checkpoints"]

_KEPT = 2
_NAME = re.compile(r"checkpoint-(\d+)\.pt")
_PLACES = frozenset({"model", "data", "project", "name", "save_dir", "resume", "source", "cfg", "pretrained"})
"""Training arguments that say where something lay on the machine."""

logger = logging.getLogger(__name__)


def keep_checkpoint(last: Path, work: Path, epoch: int) -> None:
    """Copy Ultralytics' `last` as that of `epoch` (from 1), and remove all but the newest two."""
    atomic_copy(last, work / f"checkpoint-{epoch}.pt")
    for path, _ in _checkpoints(work)[_KEPT:]:
        path.unlink()


def newest_checkpoint(work: Path) -> tuple[Path, int] | None:
    """The newest checkpoint that can be read and is finite, and its epoch (from 1); None without any."""
    for path, epoch in _checkpoints(work):
        try:
            _, checkpoint = _load(path)
        except (WeightsUnavailable, BackendRejected) as exc:
            logger.warning("training goes back behind %s: %s", path.name, exc)
            continue
        if checkpoint.get("optimizer") is not None and checkpoint.get("epoch") == epoch - 1:
            return path, epoch
        logger.warning("training goes back behind %s: it is not one of epoch %d", path.name, epoch)
    return None


def remove_checkpoints(work: Path) -> None:
    """Nothing is left to be resumed."""
    for path, _ in _checkpoints(work):
        path.unlink()


def publish(checkpoint: Path, target: Path) -> None:
    """Write the averaged weights of a checkpoint as a model file: half precision, no optimizer state, nothing of
    when and where it was made. Raises BackendRejected if a weight is not finite."""
    import torch

    model, loaded = _load(checkpoint)
    model.half()
    for parameter in model.parameters():
        parameter.requires_grad = False
    arguments = {key: value for key, value in loaded["train_args"].items() if key not in _PLACES}
    model.args = dict(arguments)
    model.pt_path = None
    model.yaml.pop("yaml_file", None)
    if hasattr(model, "criterion"):
        model.criterion = None
    kept = {key: loaded[key] for key in ("version", "license", "docs")}
    buffer = io.BytesIO()
    torch.save({**kept, "epoch": -1, "model": model, "ema": None, "train_args": arguments}, buffer)
    atomic_write(target, buffer.getvalue())


def _checkpoints(work: Path) -> list[tuple[Path, int]]:
    """Newest first."""
    found = [(path, _NAME.fullmatch(path.name)) for path in work.iterdir()]
    return sorted(((path, int(match[1])) for path, match in found if match), key=lambda item: -item[1])


def _load(path: Path) -> tuple[Any, dict[str, Any]]:
    """The averaged model, and the checkpoint's other entries."""
    import torch

    scan(path)
    model, checkpoint = read_model(path)
    for name, tensor in model.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise BackendRejected(
                f"{name} in {path.name} is not finite: the training diverged; lower lr0",
                backend="ultralytics",
                operation="train",
            )
    return model, checkpoint
