"""`benchmarks.fuzz` at a small scale: the parts without a server."""

from __future__ import annotations

import pytest

from benchmarks import _fuzz_codes
from benchmarks.fuzz import PARTS, Part
from connectors.label_studio.rle import decode_rle, encode_rle


@pytest.mark.parametrize("part", [part for part in PARTS if part.name != "backend"], ids=lambda part: part.name)
def test_damaged_input_is_read_or_refused(part: Part) -> None:
    found = part.run(400, 1)
    assert found["held"], found
    assert found["tried"] == 400
    assert found["read"] > 0
    assert found["refused"] > 0


def test_a_reader_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fuzz_codes, "decode_rle", lambda code, size_hw: 255 - decode_rle(code, size_hw))
    found = _fuzz_codes.brush_codes(200, 1)
    assert not found["held"]
    assert "ValueError: read, and not as it says" in found["faults"]


def test_a_reader_that_crashes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fuzz_codes, "decode_rle", lambda code, size_hw: encode_rle(None))  # type: ignore[arg-type]
    found = _fuzz_codes.brush_codes(50, 1)
    assert not found["held"]
    assert any(fault.startswith("AttributeError") for fault in found["faults"])
