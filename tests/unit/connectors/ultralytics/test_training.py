"""What is particular to training with Ultralytics; what every trainer promises stands in the contracts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.trainers import ultralytics_yolo
from connectors.ultralytics.checkpoints import newest_checkpoint
from pipeline.errors import BackendRejected, ConfigError, WeightsUnavailable
from pipeline.ports import Epoch
from tests.contracts._yolo import resources_for, skip_without, tree_of, write_dataset, write_weights

pytestmark = pytest.mark.usefixtures("_installed")


@pytest.fixture(scope="module")
def _installed() -> None:
    skip_without("torch", "ultralytics")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny.pt")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "version-1")


def train(
    weights: Path, dataset: Path, work: Path, *, stop_after: int | None = None, **settings: Any
) -> list[int]:
    """The epochs that were done; `stop_after` ends the process's part as Ctrl-C would."""
    done: list[int] = []

    def on_epoch(epoch: Epoch) -> None:
        done.append(epoch.epoch)
        if epoch.epoch == stop_after:
            raise KeyboardInterrupt

    small: dict[str, Any] = {"epochs": 4, "imgsz": 64, "batch": 4, "device": "cpu"}
    trainer = ultralytics_yolo.build(
        ultralytics_yolo.Settings(**{**small, **settings}), resources_for(work, weights=weights)
    )
    try:
        trainer.train(dataset, None, work=work, seed=0, on_epoch=on_epoch)
    except KeyboardInterrupt:
        assert stop_after is not None
    return done


def test_a_torn_checkpoint_is_gone_behind(weights: Path, dataset: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    assert train(weights, dataset, work, stop_after=3) == [1, 2, 3]
    assert {path.name for path in work.glob("checkpoint-*")} == {"checkpoint-2.pt", "checkpoint-3.pt"}
    newest = work / "checkpoint-3.pt"
    newest.write_bytes(newest.read_bytes()[:-1000])
    assert train(weights, dataset, work) == [3, 4]
    assert not list(work.glob("checkpoint-*")), "nothing is left to be resumed"


def test_a_checkpoint_that_is_not_finite_is_gone_behind(
    weights: Path, dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    work = tmp_path / "work"
    train(weights, dataset, work, stop_after=2)
    newest = work / "checkpoint-2.pt"
    checkpoint = torch.load(newest, weights_only=False)
    next(checkpoint["ema"].parameters()).data.fill_(float("nan"))
    torch.save(checkpoint, newest)
    with caplog.at_level(logging.WARNING):
        assert newest_checkpoint(work) == (work / "checkpoint-1.pt", 1)
    assert "checkpoint-2.pt" in caplog.text


def test_a_kill_between_the_last_epoch_and_the_result(weights: Path, dataset: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    train(weights, dataset, work, stop_after=4)
    assert not (work / "result.json").exists()
    assert train(weights, dataset, work) == []
    assert (work / "result.json").exists()


def test_a_moved_workspace_goes_on(weights: Path, dataset: Path, tmp_path: Path) -> None:
    train(weights, dataset, tmp_path / "work", stop_after=2)
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "work").rename(tmp_path / "elsewhere" / "work")
    version = dataset.rename(tmp_path / "elsewhere" / "version-1")
    assert train(weights, version, moved) == [3, 4]
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere"}


def test_an_incomplete_jpeg_is_not_rewritten(weights: Path, dataset: Path, tmp_path: Path) -> None:
    image = dataset / "images" / "train" / "3.jpg"
    image.write_bytes(image.read_bytes() + b"\0\0")
    before = tree_of(dataset)
    train(weights, dataset, tmp_path / "work", epochs=1)
    assert tree_of(dataset) == before


def test_images_that_are_left_out_are_told(
    weights: Path, dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (dataset / "images" / "train" / "3.jpg").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING):
        train(weights, dataset, tmp_path / "work", epochs=1)
    assert "7 of 8 images" in caplog.text


def test_a_loss_that_is_no_number(weights: Path, dataset: Path, tmp_path: Path) -> None:
    import torch

    checkpoint = torch.load(weights, weights_only=False)
    next(checkpoint["model"].parameters()).data.fill_(float("nan"))
    torch.save(checkpoint, tmp_path / "broken.pt")
    with pytest.raises(BackendRejected, match=r"no longer a number in epoch 1 of 4; lower lr0"):
        train(tmp_path / "broken.pt", dataset, tmp_path / "work")
    assert newest_checkpoint(tmp_path / "work") is None


def narrow(monkeypatch: pytest.MonkeyPatch, *, room: int, from_epoch: int = 1) -> list[int]:
    """From an epoch on the device has no more room than for so many images at once; the batches that were tried."""
    from ultralytics.models.yolo.segment import SegmentationTrainer

    tried: list[int] = []
    prepared = SegmentationTrainer.preprocess_batch

    def preprocess(self: Any, batch: Any) -> Any:
        size = int(batch["img"].shape[0])
        tried.append(size)
        if size > room and self.epoch + 1 >= from_epoch:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return prepared(self, batch)

    monkeypatch.setattr(SegmentationTrainer, "preprocess_batch", preprocess)
    return tried


def test_memory_that_runs_out_is_met_with_half_the_batch(
    weights: Path,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tried = narrow(monkeypatch, room=2)
    with caplog.at_level(logging.WARNING):
        assert train(weights, dataset, tmp_path / "work") == [1, 2, 3, 4]
    assert "once more, from the last whole epoch, with batch 2" in caplog.text
    assert tried == [4, *[2] * 16]
    assert (tmp_path / "work" / "result.json").exists()


def test_memory_that_runs_out_later_costs_no_whole_epoch(
    weights: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = narrow(monkeypatch, room=2, from_epoch=3)
    assert train(weights, dataset, tmp_path / "work") == [1, 2, 3, 4]
    assert tried == [4] * 5 + [2] * 8


@pytest.mark.parametrize(("batch", "tried_"), [(4, [4, 2]), (1, [1])])
def test_memory_that_runs_out_twice_is_told_with_a_remedy(
    weights: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, tried_: list[int]
) -> None:
    tried = narrow(monkeypatch, room=0)
    with pytest.raises(BackendRejected, match=r"CUDA out of memory.*, even with batch \d: lower imgsz or batch"):
        train(weights, dataset, tmp_path / "work", batch=batch)
    assert tried == tried_
    assert not (tmp_path / "work" / "result.json").exists()


def test_another_failure_is_not_tried_again(
    weights: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def run(*_: object) -> None:
        tried.append(1)
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(ultralytics_yolo, "run", run)
    with pytest.raises(BackendRejected, match="shapes do not match"):
        train(weights, dataset, tmp_path / "work")
    assert tried == [1]


def test_a_detect_model_cannot_be_trained_to_segment(dataset: Path, tmp_path: Path) -> None:
    detect = write_weights(tmp_path / "detect.pt", head="Detect")
    with pytest.raises(WeightsUnavailable, match="segmentation model"):
        train(detect, dataset, tmp_path / "work")


def test_an_unknown_argument(weights: Path, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mosiac"):
        train(weights, dataset, tmp_path / "work", extra={"mosiac": 1.0})


def test_a_known_argument(weights: Path, dataset: Path, tmp_path: Path) -> None:
    assert train(weights, dataset, tmp_path / "work", epochs=1, extra={"copy_paste": 0.5, "cos_lr": True}) == [1]


@pytest.mark.parametrize("name", ["project", "save_dir", "resume", "data", "model", "val", "pretrained", "epochs"])
def test_arguments_that_would_break_promises(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        ultralytics_yolo.Settings(extra={name: "x"})


def test_several_devices() -> None:
    with pytest.raises(ValidationError, match="one device"):
        ultralytics_yolo.Settings(device="0,1")
