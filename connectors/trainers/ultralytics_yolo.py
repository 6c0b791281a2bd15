"""Trains an Ultralytics YOLO segmentation model (YOLO26, 11, v8), from the champion or from given weights.

No validation, plot, integration or download takes place, and the dataset folder is not written to. The result is
the exponential moving average of the weights after the last epoch. Every epoch leaves a checkpoint; an
interrupted training goes on after the last whole one. Where memory runs out it goes on with half the batch, once.
"""

from __future__ import annotations

import gc
import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from connectors.ultralytics.checkpoints import newest_checkpoint, publish, remove_checkpoints
from connectors.ultralytics.faults import out_of_memory, translated
from connectors.ultralytics.runtime import load, pick_device
from connectors.ultralytics.training import run
from connectors.ultralytics.view import make_view
from connectors.ultralytics.weights import Weights, read_model, weights_by_name, weights_of
from connectors.ultralytics.writing import write_model
from connectors.work_folder import claim, finished, write_result
from pipeline.domain.rounds import ModelRef
from pipeline.errors import BackendRejected, ConfigError, WeightsUnavailable
from pipeline.files import file_sha256
from pipeline.ports import Epoch, Resources, Trainer

__all__ = ["REQUIRES", "Settings", "UltralyticsTrainer", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {"ultralytics": ("torch", "ultralytics")}

_NAME = "ultralytics_yolo"
_PASSED_ON = (
    "epochs", "imgsz", "batch", "optimizer", "lr0", "warmup_epochs", "freeze", "workers",
    "mosaic", "close_mosaic", "fliplr", "flipud", "degrees", "translate", "scale",
)  # fmt: skip
_OURS = frozenset({
    "amp", "augmentations", "cache", "cfg", "compile", "data", "deterministic", "device", "distill_model",
    "exist_ok", "fraction", "mode", "model", "name", "patience", "plots", "pretrained", "profile", "project",
    "quantize", "resume", "save", "save_dir", "save_period", "seed", "single_cls", "source", "split", "task",
    "time", "tracker", "val", "verbose", *_PASSED_ON,
})  # fmt: skip
"""Arguments of Ultralytics that are settings of their own, or would break what this trainer promises."""

_PLACE_OF_WORK = {"device", "workers", "cache"}
"""Settings that may differ between a training and its resumption."""

logger = logging.getLogger(__name__)


class Settings(BaseModel):
    """What is trained and how; names and meanings are Ultralytics' own unless said otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: str = "yolo11n-seg.pt"
    """Where the first training starts; later ones start from the champion. A path, or a name to be looked for."""
    sha256: str | None = None
    """The digest that `weights` must have; it is checked before the file is loaded."""
    epochs: Annotated[int, Field(ge=1)] = 30
    imgsz: Annotated[int, Field(ge=32)] = 640
    batch: Annotated[int, Field(ge=1)] = 16
    optimizer: str = "auto"
    """`auto` takes AdamW with a rate fit to the number of classes, and then ignores `lr0`."""
    lr0: Annotated[float, Field(gt=0, le=1)] = 0.01
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    freeze: int | None = None
    mosaic: Annotated[float, Field(ge=0, le=1)] = 1.0
    close_mosaic: Annotated[int, Field(ge=0)] = 15
    """The last epochs go without mosaic; a short training, as rounds have, does better without any."""
    fliplr: Annotated[float, Field(ge=0, le=1)] = 0.5
    flipud: Annotated[float, Field(ge=0, le=1)] = 0.0
    degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    translate: Annotated[float, Field(ge=0, le=1)] = 0.1
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.5
    device: str = "auto"
    """One device; several at once would need processes that a kill could leave behind."""
    workers: Annotated[int, Field(ge=0)] = 0
    cache: bool = False
    """Keep the images in memory."""
    mixed_precision: bool = False
    """bfloat16 on CUDA."""
    extra: dict[str, bool | int | float | str] = {}
    """Any other training argument of Ultralytics."""

    @field_validator("device")
    @classmethod
    def _one_device(cls, device: str) -> str:
        if "," in device or device.startswith("["):
            raise ValueError("give one device: training on several is not supported")
        return device

    @field_validator("extra")
    @classmethod
    def _harmless(cls, extra: dict[str, Any]) -> dict[str, Any]:
        if ours := sorted(_OURS & extra.keys()):
            raise ValueError(
                f"may not set {', '.join(ours)}: they are settings of their own, or not to be changed"
            )
        return extra


def build(settings: Settings, resources: Resources) -> Trainer:
    """Raises MissingExtra, and ConfigError for an argument in `extra` that Ultralytics does not know.

    Neither Ultralytics nor the weights are loaded before they are needed: a finished training is found without.
    """
    return UltralyticsTrainer(settings, resources.find_weights)


class UltralyticsTrainer:
    """A trainer of segmentation models."""

    def __init__(self, settings: Settings, find_weights: Callable[[str], Path]) -> None:
        self._settings = settings
        self._find_weights = find_weights
        digest = hashlib.sha256(settings.model_dump_json(exclude=_PLACE_OF_WORK).encode()).hexdigest()
        self.name = f"{_NAME}-{digest[:12]}"

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
        """As the port says. Raises BackendError; WeightsUnavailable for a start that is no segmentation model."""
        claim(work, self._plan(dataset, base, seed, repeats), backend=_NAME)
        if (model := finished(work)) is not None:
            return model
        load("trainers.ultralytics_yolo")
        with translated(_NAME, "train"):
            data, names = make_view(dataset, work / "view", repeats)
            self._train(data, base, work, seed, on_epoch)
            model = self._publish(work, names, dataset.name)
        write_result(work, model)
        remove_checkpoints(work)
        for folder in ("view", "run"):
            shutil.rmtree(work / folder, ignore_errors=True)
        return model

    def export(self, model: ModelRef, format_: str, folder: Path) -> Path:
        """As the port says. Raises BackendRejected too, and WeightsUnavailable for a file that is not what it was."""
        return write_model(model, format_, folder, self._settings.imgsz)

    def _plan(self, dataset: Path, base: ModelRef | None, seed: int, repeats: Mapping[str, int]) -> dict[str, Any]:
        """What makes two trainings the same: everything that the result depends on."""
        return {
            "trainer": _NAME,
            "dataset": dataset.name,
            "base": base.sha256 if base is not None else None,
            "seed": seed,
            "settings": self._settings.model_dump(exclude=_PLACE_OF_WORK),
            **({"repeats": dict(repeats)} if repeats else {}),
        }

    def _train(
        self, data: Path, base: ModelRef | None, work: Path, seed: int, on_epoch: Callable[[Epoch], None]
    ) -> None:
        """Do the epochs that no checkpoint has; where memory runs out, once more with half the batch."""
        batch = self._settings.batch
        problem = self._ran_out(data, base, work, seed, on_epoch)
        if problem is not None and batch > 1:
            logger.warning("%s; trained once more, from the last whole epoch, with batch %d", problem, batch // 2)
            gc.collect()  # the failed run's network is held by cycles
            problem = self._ran_out(data, base, work, seed, on_epoch, batch=batch // 2)
        if problem is not None:
            raise BackendRejected(
                f"{problem}, even with batch {max(1, batch // 2)}: lower imgsz or batch, or train on another device",
                backend=_NAME,
                operation="train",
            )

    def _ran_out(
        self,
        data: Path,
        base: ModelRef | None,
        work: Path,
        seed: int,
        on_epoch: Callable[[Epoch], None],
        **more: int,
    ) -> str | None:
        """Train on from the newest checkpoint; what was said if memory ran out, else None."""
        overrides = self._overrides(data, base, work, seed)
        if overrides is None:
            return None
        try:
            run({**overrides, **more}, work, sum(1 for _ in (work / "view" / "images").rglob("*.*")), on_epoch)
        except (RuntimeError, MemoryError) as exc:
            if not out_of_memory(exc):
                raise
            return " ".join(str(exc).split()) or "out of memory"
        return None

    def _overrides(self, data: Path, base: ModelRef | None, work: Path, seed: int) -> dict[str, Any] | None:
        """The arguments of a run that does what no checkpoint has; None if nothing is left to do."""
        overrides = {
            "data": str(data),
            "save_dir": str(work / "run"),
            "device": pick_device(self._settings.device),
            "workers": self._settings.workers,
            "cache": self._settings.cache,
            "val": False,
            "plots": False,
        }
        resumed = newest_checkpoint(work)
        if resumed is None:
            return overrides | {"model": str(self._start(base).path), "seed": seed, **self._arguments()}
        if resumed[1] >= self._settings.epochs:
            return None
        return overrides | {"model": str(resumed[0]), "resume": str(resumed[0])}

    def _start(self, base: ModelRef | None) -> Weights:
        if base is not None:
            weights = weights_of(base)
        else:
            weights = weights_by_name(self._settings.weights, self._settings.sha256, self._find_weights)
        task = read_model(weights.path)[0].task
        if task != "segment":
            raise WeightsUnavailable(
                str(weights.path), reason=f"it is a {task} model; training needs a segmentation model (…-seg.pt)"
            )
        return weights

    def _arguments(self) -> dict[str, Any]:
        """The settings as Ultralytics' training arguments. Raises ConfigError for an unknown one in `extra`."""
        from ultralytics.utils import DEFAULT_CFG_DICT

        if unknown := sorted(self._settings.extra.keys() - DEFAULT_CFG_DICT.keys()):
            raise ConfigError(f"Ultralytics knows no argument {', '.join(unknown)}", key="trainer.extra")
        return {
            **{name: getattr(self._settings, name) for name in _PASSED_ON},
            "amp": "bf16" if self._settings.mixed_precision else False,
            "deterministic": True,
            # A step per batch. Ultralytics gathers 64 images for one, which is an epoch of an early round.
            "nbs": self._settings.batch,
            **self._settings.extra,
        }

    def _publish(self, work: Path, names: tuple[str, ...], dataset: str) -> ModelRef:
        """The model of the last epoch's checkpoint."""
        last = newest_checkpoint(work)
        if last is None or last[1] < self._settings.epochs:
            raise BackendRejected(
                "it ended without a whole checkpoint of its last epoch; run the same command again",
                backend=_NAME,
                operation="train",
            )
        weights = work / "weights" / "model.pt"
        publish(last[0], weights)
        sha256 = file_sha256(weights)
        return ModelRef(f"yolo-{sha256[:12]}", weights, sha256, names, dataset)
