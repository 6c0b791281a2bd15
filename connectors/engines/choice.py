"""Which engine runs an encoder: the one that was asked for, or the quickest that agrees with PyTorch's own.

`auto` measures once for each network, precision, processor, number of threads and set of versions, and writes the
outcome down, so that a workspace goes on with the engine that it began with.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from connectors.engines.candidates import CANDIDATES, Arrays, Engine, Precision, Run
from pipeline.errors import ConfigError
from pipeline.files import whole_file

__all__ = ["Asked", "Measured", "build_run", "measure"]

Asked = Literal["auto", "eager", "channels_last", "openvino", "onnxruntime"]

_TOLERANCE: Mapping[Precision, float] = {"fp32": 1e-3, "bf16": 5e-2}
"""How far an encoding may lie from eager fp32, as a share of its norm: 8 bits of mantissa come to about 2 %."""
_RUNS = 3


@dataclass(frozen=True)
class Measured:
    """One candidate: its best time for one image, and how far its encodings are from eager fp32 (a share of the
    norm; the largest of all outputs). `failed` says why it has neither."""

    engine: Engine
    seconds: float
    deviation: float
    failed: str = ""

    def is_usable(self, precision: Precision) -> bool:
        return not self.failed and self.deviation <= _TOLERANCE[precision]


def build_run(
    module: Any,
    example: npt.NDArray[np.float32],
    *,
    engine: Asked,
    precision: Precision,
    digest: str,
    memory: Path,
) -> tuple[Run, Engine]:
    """The function that encodes, and the engine behind it.

    `module` maps pixels `float32 (1, 3, h, w)`, the shape of `example`, to tensors; `digest` names its weights.
    What `auto` finds is kept in the folder `memory`. On another device than the processor, `auto` is eager.
    Raises MissingExtra for an engine that is not installed, ConfigError for one that cannot do what is asked.
    """
    if engine == "auto":
        chosen = _remembered(module, example, precision, digest, memory) if _is_on_cpu(module) else "eager"
    else:
        chosen = engine
    candidate = CANDIDATES[chosen]
    candidate.require(chosen)
    if precision not in candidate.precisions:
        raise ConfigError(
            f"{chosen} computes in fp32 only: take engine auto, or precision fp32", key="segmenter.engine"
        )
    if chosen != "eager" and not _is_on_cpu(module):
        raise ConfigError(f"{chosen} runs on processors: take engine eager, or device cpu", key="segmenter.engine")
    return candidate.make(module, example, precision), chosen


def measure(module: Any, example: npt.NDArray[np.float32], precision: Precision) -> list[Measured]:
    """Every installed candidate that knows `precision`, the quickest usable one first."""
    truth = CANDIDATES["eager"].make(module, example, "fp32")(example)
    found = [
        _try(name, module, example, precision, truth)
        for name, candidate in CANDIDATES.items()
        if candidate.is_installed and precision in candidate.precisions
    ]
    return sorted(found, key=lambda one: (not one.is_usable(precision), one.seconds))


def _try(
    name: Engine, module: Any, example: npt.NDArray[np.float32], precision: Precision, truth: Arrays
) -> Measured:
    try:
        run = CANDIDATES[name].make(module, example, precision)
        made = run(example)
        seconds = min(_timed(run, example) for _ in range(_RUNS))
    except Exception as exc:  # noqa: BLE001  # an engine that cannot take this network is told, and not taken
        return Measured(name, float("inf"), float("inf"), " ".join(f"{type(exc).__name__}: {exc}".split())[:300])
    deviation = max(_deviation(one, true) for one, true in zip(made, truth, strict=True))
    return Measured(name, seconds, deviation)


def _timed(run: Run, example: npt.NDArray[np.float32]) -> float:
    start = time.perf_counter()
    run(example)
    return time.perf_counter() - start


def _deviation(made: npt.NDArray[np.float32], true: npt.NDArray[np.float32]) -> float:
    norm = float(np.linalg.norm(true))
    distance = float(np.linalg.norm(made - true))
    return distance / norm if norm else distance


def _remembered(
    module: Any, example: npt.NDArray[np.float32], precision: Precision, digest: str, memory: Path
) -> Engine:
    path = memory / f"engine-{_circumstances(example, precision, digest)}.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))["engine"]
    except (OSError, ValueError, KeyError, TypeError):
        known = None  # never measured here, or unreadable: measured now
    if known in get_args(Engine) and CANDIDATES[known].is_installed:
        chosen: Engine = known
        return chosen
    rows = measure(module, example, precision)
    chosen = rows[0].engine if rows[0].is_usable(precision) else "eager"
    told = {row.engine: row.failed or f"{row.seconds:.3f} s, deviates by {row.deviation:.1e}" for row in rows}
    text = json.dumps({"engine": chosen, "precision": precision, "measured": told}, indent=1)
    whole_file(path, lambda file: file.write(text.encode()))
    return chosen


def _circumstances(example: npt.NDArray[np.float32], precision: Precision, digest: str) -> str:
    """What a measurement holds for."""
    import torch

    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    processor = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    versions = {
        name: importlib.metadata.version(name)
        for name in ("torch", "openvino", "onnxruntime")
        if importlib.util.find_spec(name) is not None
    }
    facts = [digest, precision, example.shape, platform.machine(), processor, torch.get_num_threads(), versions]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _is_on_cpu(module: Any) -> bool:
    parameter = next(module.parameters(), None)
    return parameter is None or parameter.device.type == "cpu"
