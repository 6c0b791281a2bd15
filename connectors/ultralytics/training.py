"""One run of Ultralytics' segmentation trainer, held to what the loop needs of it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from connectors.ultralytics.checkpoints import keep_checkpoint
from pipeline.errors import BackendRejected
from pipeline.ports import Epoch

__all__ = ["run"]

_ITS_MOST_RETRIES = 3

logger = logging.getLogger(__name__)


def run(overrides: Mapping[str, Any], work: Path, images: int, on_epoch: Callable[[Epoch], None]) -> None:
    """Train; leaves the checkpoints of the last two epochs in `work`, and tells each epoch after its checkpoint.

    `images` is how many the training split has: those that Ultralytics leaves out are told to the log. Raises
    BackendRejected when the loss is no longer a number.
    """
    import torch

    threads = torch.get_num_threads()
    trainer = _trainer_class()(overrides=dict(overrides))
    # Ultralytics leaves one core idle on a processor; with two cores that is half the machine.
    torch.set_num_threads(threads)

    def started(trainer: Any) -> None:
        used = len(trainer.train_loader.dataset)
        if used < images:
            logger.warning(
                "Ultralytics trains on %d of %d images: the others are smaller than 10 pixels or unreadable",
                used,
                images,
            )

    def epoch_trained(trainer: Any) -> None:
        losses = {name: float(value) for name, value in trainer.tloss.items()}
        if not all(map(math.isfinite, (*losses.values(), float(trainer.loss.detach())))):
            raise BackendRejected(
                f"the loss is no longer a number in epoch {trainer.epoch + 1} of {trainer.epochs}; lower lr0",
                backend="ultralytics",
                operation="train",
            )

    def saved(trainer: Any) -> None:
        epoch = trainer.epoch + 1
        keep_checkpoint(trainer.last, work, epoch)
        on_epoch(Epoch(epoch, trainer.epochs, {name: float(value) for name, value in trainer.tloss.items()}))

    trainer.add_callback("on_pretrain_routine_end", started)
    trainer.add_callback("on_train_start", _order_memory)
    trainer.add_callback("on_train_epoch_end", epoch_trained)
    trainer.add_callback("on_model_save", saved)
    trainer.train()


def _order_memory(trainer: Any) -> None:
    """The same numbers in another order in memory, a third faster; Ultralytics does so on CUDA only."""
    import torch

    if trainer.device.type == "cpu":
        trainer.model.to(memory_format=torch.channels_last)


def _trainer_class() -> Any:
    from ultralytics.models.yolo.segment import SegmentationTrainer

    class SegmentationRun(SegmentationTrainer):  # type: ignore[misc] # it has no type information
        """Trains, and does not validate: judging a model on the held-out split is the evaluation's work."""

        def get_dataloader(
            self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train"
        ) -> Any:
            """Nothing is validated, so the validation loader, which must exist, is the training loader."""
            if mode == "val":
                return self.train_loader
            return super().get_dataloader(dataset_path, batch_size, rank, mode)

        def _model_train(self) -> None:
            """At the start of every epoch. Where memory runs out Ultralytics would go on with ever smaller batches, in
            the first epoch only; instead it fails, and is called again (see the trainer)."""
            super()._model_train()
            self._oom_retries = _ITS_MOST_RETRIES

        def validate(self) -> tuple[dict[str, float], None]:
            """Without this, the last epoch would be validated even with `val=False`."""
            return {}, None

        def final_eval(self) -> None:
            """The result is made from the last checkpoint (see `checkpoints.publish`), not from `best.pt`."""

    return SegmentationRun
