"""A trained model written for other engines, by Ultralytics' own exporter: offline, and nothing installed."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

from connectors.ultralytics.faults import translated
from connectors.ultralytics.runtime import load
from connectors.ultralytics.weights import read_model, weights_of
from pipeline.domain.rounds import ModelRef
from pipeline.errors import ConfigError, MissingExtra

__all__ = ["FORMATS", "write_model"]

FORMATS = {"onnx": "onnx", "openvino": "openvino"}
"""Format -> the package that writes it."""


def write_model(model: ModelRef, format_: str, folder: Path, image_size: int) -> Path:
    """Write `model` into `folder` for images of any size, `image_size` at first; the file or folder that was made.

    Class names, stride and task go into it as metadata. Raises ConfigError for a format that is not written,
    MissingExtra for a package that is not there, WeightsUnavailable for a model file that is not what it was, and
    BackendRejected.
    """
    if format_ not in FORMATS:
        raise ConfigError(f"{format_!r} is not written; {', '.join(FORMATS)} are", key="--format")
    if importlib.util.find_spec(FORMATS[format_]) is None:
        raise MissingExtra("engines", needed_by=f"the format {format_}", package=FORMATS[format_])
    load("trainers.ultralytics_yolo")
    from ultralytics.engine.exporter import Exporter

    network, _ = read_model(weights_of(model).path)
    # What is written lies beside the file that the network says it came from.
    network.pt_path = str(folder / f"{model.id}.pt")
    plain = {"simplify": False} if format_ == "onnx" else {}  # it would need one more package
    with translated("ultralytics", "export"), warnings.catch_warnings():
        # PyTorch announces its next exporter, which Ultralytics does not use yet.
        warnings.simplefilter("ignore")
        exporter = Exporter(
            overrides={"format": format_, "imgsz": image_size, "dynamic": True, "device": "cpu", **plain}
        )
        return Path(exporter(model=network))
