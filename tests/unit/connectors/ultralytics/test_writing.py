"""Models for other engines: what was written is loaded back, and finds what the model itself finds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from connectors.trainers import ultralytics_yolo
from connectors.ultralytics import writing
from connectors.ultralytics.runtime import load
from connectors.ultralytics.writing import FORMATS, write_model
from pipeline.domain.rounds import ModelRef
from pipeline.errors import ConfigError, MissingExtra, WeightsUnavailable
from pipeline.files import file_sha256
from pipeline.ports import Exporting
from tests.contracts._yolo import CLASSES, resources_for, skip_without, tree_of, write_weights

pytestmark = pytest.mark.usefixtures("_installed")


@pytest.fixture(scope="module")
def _installed() -> None:
    skip_without("torch", "ultralytics", "onnx", "onnxruntime", "openvino")


def ref(weights: Path, classes: tuple[str, ...] = CLASSES) -> ModelRef:
    return ModelRef("yolo-abc", weights, file_sha256(weights), classes)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return ref(write_weights(tmp_path_factory.mktemp("weights") / "tiny.pt"))


def raw(path: Path, image: np.ndarray[Any, Any]) -> tuple[list[np.ndarray[Any, Any]], dict[int, str]]:
    """All outputs of the network for one image `uint8 (h, w, 3)`, and its class names."""
    load("the tests")
    import torch
    from ultralytics.nn.autobackend import AutoBackend

    backend = AutoBackend(str(path), device=torch.device("cpu"), fp16=False, verbose=False)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        answer = backend(tensor)
    flat: list[np.ndarray[Any, Any]] = []

    def gather(item: Any) -> None:
        if isinstance(item, torch.Tensor):
            flat.append(item.numpy())
        elif isinstance(item, (list, tuple)):
            for one in item:
                gather(one)

    gather(answer)
    return flat, dict(backend.names)


def picture(size: int) -> np.ndarray[Any, Any]:
    made = np.random.default_rng(0).integers(0, 80, (size, size, 3), dtype=np.uint8)
    made[size // 4 : size // 2, size // 4 : size // 2] = (200, 40, 60)
    return made


def by_openvino(folder: Path, image: np.ndarray[Any, Any]) -> tuple[list[np.ndarray[Any, Any]], dict[int, str]]:
    """The same, in single precision: on processors that can, OpenVINO rounds to bfloat16 unless told not to."""
    import openvino

    (path,) = folder.glob("*.xml")
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answer = compiled(image.transpose(2, 0, 1)[None].astype(np.float32) / 255)
    names = yaml.safe_load((folder / "metadata.yaml").read_text())["names"]
    return [np.array(part) for part in answer.values()], dict(names)


def agreeing(model: ModelRef, made: Path, size: int) -> dict[int, str]:
    """Detections and prototypes of both, one by one; the class names of what was made."""
    mine, _ = raw(model.weights, picture(size))
    theirs, names = (by_openvino if made.is_dir() else raw)(made, picture(size))
    by_shape = {tuple(part.shape): part for part in mine}
    assert len(theirs) == 2, "detections and prototypes"
    for part in theirs:
        wanted = by_shape[tuple(part.shape)]
        assert np.abs(wanted).max() > 0
        np.testing.assert_allclose(part, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())
    return names


@pytest.mark.parametrize("format_", FORMATS)
def test_what_was_written_answers_as_the_model_does(format_: str, tiny: ModelRef, tmp_path: Path) -> None:
    before = tree_of(tiny.weights.parent)
    made = write_model(tiny, format_, tmp_path, 64)
    assert made.parent == tmp_path
    assert made.name.startswith("yolo-abc")
    assert tree_of(tiny.weights.parent) == before, "nothing is written beside the model"
    assert [path.name for path in tmp_path.iterdir()] == [made.name]
    for size in (64, 96):
        assert agreeing(tiny, made, size) == dict(enumerate(CLASSES))


@pytest.mark.slow
@pytest.mark.parametrize("format_", FORMATS)
def test_a_published_model_is_written_too(format_: str, tmp_path: Path) -> None:
    folder = os.environ.get("MASKLOOP_WEIGHTS")
    weights = Path(folder or "", "yolo11n-seg-dequant.pt")
    if not folder or not weights.is_file():
        pytest.skip("MASKLOOP_WEIGHTS names no folder with yolo11n-seg-dequant.pt")
    names = agreeing(ref(weights), write_model(ref(weights), format_, tmp_path, 320), 320)
    assert (len(names), names[0]) == (80, "person")


def test_the_trainer_offers_it(tiny: ModelRef, tmp_path: Path) -> None:
    trainer = ultralytics_yolo.build(ultralytics_yolo.Settings(imgsz=64), resources_for(tmp_path))
    assert isinstance(trainer, Exporting)
    out = tmp_path / "out"
    out.mkdir()
    assert trainer.export(tiny, "onnx", out).suffix == ".onnx"


def test_what_cannot_be_written_is_told(tiny: ModelRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="'tflite' is not written; onnx, openvino are"):
        write_model(tiny, "tflite", tmp_path, 64)
    damaged = ModelRef(tiny.id, tiny.weights, "0" * 64, CLASSES)
    with pytest.raises(WeightsUnavailable, match="SHA-256"):
        write_model(damaged, "onnx", tmp_path, 64)
    monkeypatch.setitem(writing.FORMATS, "onnx", "a_package_that_is_not_there")
    with pytest.raises(MissingExtra, match="engines"):
        write_model(tiny, "onnx", tmp_path, 64)
    assert list(tmp_path.iterdir()) == []
