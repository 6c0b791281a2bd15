"""The ways of running an encoder: each takes a module apart from PyTorch's graph and gives a plain function.

An encoder here is a `torch.nn.Module` from pixels `float32 (1, 3, h, w)` to one tensor or a tuple of them, with
shapes that never change. All of these but `eager` run on processors only.
"""

from __future__ import annotations

import importlib.util
import io
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import MissingExtra

__all__ = ["CANDIDATES", "Arrays", "Candidate", "Engine", "Precision", "Run"]

Engine = Literal["eager", "channels_last", "openvino", "onnxruntime"]
Precision = Literal["fp32", "bf16"]
"""`bf16` computes with 8 bits of mantissa where the processor has instructions for it; results stay float32."""

Pixels = npt.NDArray[np.float32]
Arrays = tuple[npt.NDArray[np.float32], ...]

Run = Callable[[Pixels], Arrays]
"""Safe from many threads."""


@dataclass(frozen=True)
class Candidate:
    """`make(module, example, precision)`; `packages` must be installed, from the extra `engines`."""

    make: Callable[[Any, Pixels, Precision], Run]
    packages: tuple[str, ...] = ()
    precisions: tuple[Precision, ...] = ("fp32", "bf16")

    @property
    def is_installed(self) -> bool:
        return all(importlib.util.find_spec(package) is not None for package in self.packages)

    def require(self, name: str) -> None:
        """Raises MissingExtra."""
        for package in self.packages:
            if importlib.util.find_spec(package) is None:
                raise MissingExtra("engines", needed_by=f"engine {name!r}", package=package)


def _eager(module: Any, example: Pixels, precision: Precision) -> Run:
    """The module as it is, on whatever device it lies."""
    return _torch_run(module, example, precision, channels_last=False)


def _channels_last(module: Any, example: Pixels, precision: Precision) -> Run:
    """A copy whose convolutions keep a pixel's channels together, as oneDNN likes them."""
    import copy

    import torch

    copied = copy.deepcopy(module).to(memory_format=torch.channels_last)
    return _torch_run(copied, example, precision, channels_last=True)


def _torch_run(module: Any, _example: Pixels, precision: Precision, *, channels_last: bool) -> Run:
    import torch

    parameter = next(module.parameters(), None)
    device = parameter.device if parameter is not None else torch.device("cpu")

    def run(pixels: Pixels) -> Arrays:
        tensor = torch.from_numpy(pixels).to(device)
        if channels_last:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        with (
            torch.inference_mode(),
            torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"),
        ):
            made = module(tensor)
        return tuple(one.float().cpu().contiguous().numpy() for one in _as_tuple(made))

    return run


def _openvino(module: Any, example: Pixels, precision: Precision) -> Run:
    """Compiled for this processor; each thread has a request of its own, since one request serves one caller."""
    import torch

    with _import_warnings_off():
        import openvino

    with _tracing():
        model = openvino.convert_model(module, example_input=torch.from_numpy(example))
    compiled = openvino.Core().compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        },
    )
    own = threading.local()

    def run(pixels: Pixels) -> Arrays:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        made = own.request.infer({0: pixels})
        return tuple(np.array(made[output], dtype=np.float32) for output in compiled.outputs)

    return run


def _onnxruntime(module: Any, example: Pixels, _precision: Precision) -> Run:
    """Over ONNX; its processor kernels know no bf16."""
    import onnxruntime
    import torch

    graph = io.BytesIO()
    with _tracing():
        torch.onnx.export(module, (torch.from_numpy(example),), graph, opset_version=17, dynamo=False)  # type: ignore[arg-type]  # takes a file too
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph.getvalue(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(pixels: Pixels) -> Arrays:
        return tuple(np.asarray(one, dtype=np.float32) for one in session.run(None, {name: pixels}))

    return run


CANDIDATES: Mapping[Engine, Candidate] = MappingProxyType(
    {
        "eager": Candidate(_eager),
        "channels_last": Candidate(_channels_last),
        "openvino": Candidate(_openvino, ("openvino",)),
        "onnxruntime": Candidate(_onnxruntime, ("onnxruntime", "onnx"), ("fp32",)),
    }
)
"""Not torch.compile: it takes 40 to 55 s for MobileSAM's encoder, and is then slower than all but eager."""


def _as_tuple(made: Any) -> tuple[Any, ...]:
    return tuple(made) if isinstance(made, (tuple, list)) else (made,)


@contextmanager
def _tracing() -> Iterator[None]:
    """Without gradients, and without the tracer's warnings about shapes: they are fixed on purpose."""
    import torch

    with torch.no_grad(), _import_warnings_off():
        yield


@contextmanager
def _import_warnings_off() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
