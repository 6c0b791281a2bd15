"""Engines: each gives PyTorch's own encodings, from any thread; `auto` takes the quickest and remembers it."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from connectors.engines import candidates, choice
from connectors.engines.candidates import CANDIDATES, Candidate, Engine, Precision
from connectors.engines.choice import build_run, measure
from pipeline.errors import ConfigError, MissingExtra

torch = pytest.importorskip("torch", reason="torch is not installed: make setup")

Pixels = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def module() -> Any:
    """Two outputs, as encoders with skips have."""

    class Small(torch.nn.Module):  # type: ignore[misc,name-defined]  # imported only where it is installed
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Conv2d(3, 8, 3, 2, 1)
            self.second = torch.nn.Conv2d(8, 16, 3, 2, 1)

        def forward(self, pixels: Any) -> Any:
            fine = torch.nn.functional.gelu(self.first(pixels))
            return self.second(fine), fine

    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return np.random.default_rng(0).standard_normal((1, 3, 32, 48)).astype(np.float32)


def run_of(module: Any, pixels: Pixels, tmp_path: Path, **asked: Any) -> tuple[Callable[..., Any], Engine]:
    settings: dict[str, Any] = {"engine": "auto", "precision": "fp32", "digest": "d", "memory": tmp_path}
    return build_run(module, pixels, **(settings | asked))


@pytest.mark.parametrize(
    ("engine", "precision"),
    [(name, precision) for name, candidate in CANDIDATES.items() for precision in candidate.precisions],
)
def test_every_engine_gives_the_same_encodings_from_any_thread(
    engine: Engine, precision: Precision, module: Any, pixels: Pixels, tmp_path: Path
) -> None:
    if not CANDIDATES[engine].is_installed:
        pytest.skip(f"{engine} is not installed: make setup")
    true, _ = run_of(module, pixels, tmp_path, engine="eager")
    run, _ = run_of(module, pixels, tmp_path, engine=engine, precision=precision)
    expected, found = true(pixels), run(pixels)
    assert [one.shape for one in found] == [(1, 16, 8, 12), (1, 8, 16, 24)]
    for one, wanted in zip(found, expected, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, wanted, atol=1e-4 if precision == "fp32" else 0.1)
    others = [pixels * factor for factor in (0.5, 1.0, 2.0, 3.0)]
    alone = [run(one) for one in others]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(run, others * 8))
    for made, wanted in zip(together, alone * 8, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(made, wanted, strict=True))


def test_auto_takes_the_quickest_that_agrees_and_goes_on_with_it(
    module: Any, pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = {"eager": 3.0, "channels_last": 2.0, "openvino": 1.0, "onnxruntime": 4.0}

    def played(name: Engine, *_: object) -> choice.Measured:
        return choice.Measured(name, timed[name], 0.5 if name == "openvino" else 0.0)

    monkeypatch.setattr(choice, "_try", played)
    _, chosen = run_of(module, pixels, tmp_path)
    assert chosen == "channels_last"  # the quickest of all deviates
    timed["eager"] = 0.1
    assert run_of(module, pixels, tmp_path)[1] == "channels_last"
    assert run_of(module, pixels, tmp_path, digest="another")[1] == "eager"
    [note, _] = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert json.loads(note.read_text())["engine"] == "channels_last"
    note.write_text("{")
    assert run_of(module, pixels, tmp_path)[1] == "eager"


def test_measuring_tells_times_deviations_and_failures(
    module: Any, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Any:
        raise RuntimeError("this network\nis not for me")

    table = {"eager": CANDIDATES["eager"], "openvino": Candidate(broken)}
    monkeypatch.setattr(choice, "CANDIDATES", MappingProxyType(table))
    first, last = measure(module, pixels, "fp32")
    assert (first.engine, first.deviation, first.failed) == ("eager", 0.0, "")
    assert first.seconds > 0
    assert (last.engine, last.failed) == ("openvino", "RuntimeError: this network is not for me")
    assert not last.is_usable("fp32")


def test_bf16_stays_within_its_tolerance(module: Any, pixels: Pixels) -> None:
    rows = {row.engine: row for row in measure(module, pixels, "bf16")}
    assert 0 < rows["eager"].deviation < 0.05
    assert "onnxruntime" not in rows


def test_what_cannot_be_had_is_said(
    module: Any, pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="fp32 only"):
        run_of(module, pixels, tmp_path, engine="onnxruntime", precision="bf16")
    absent = {"openvino": replace(CANDIDATES["openvino"], packages=("no_such_engine",))}
    monkeypatch.setattr(choice, "CANDIDATES", MappingProxyType(dict(CANDIDATES) | absent))
    with pytest.raises(MissingExtra, match="engines"):
        run_of(module, pixels, tmp_path, engine="openvino")
    assert not candidates.Candidate(lambda *_: lambda _: (), ("no_such_engine",)).is_installed
