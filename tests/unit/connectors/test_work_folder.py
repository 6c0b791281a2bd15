from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from connectors.work_folder import atomic_copy, atomic_write, claim, finished, read_json, write_result
from pipeline.domain.rounds import ModelRef
from pipeline.errors import BackendRejected
from pipeline.files import file_sha256


def test_a_write_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    atomic_write(path, b"one")
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    atomic_copy(path, tmp_path / "deep" / "copy")
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == {"file": b"two", "copy": b"two"}
    assert file_sha256(path) == hashlib.sha256(b"two").hexdigest()


def test_a_write_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    atomic_write(path, b"one")

    def fail(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        atomic_write(path, b"two")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("file", b"one")]


def test_a_write_removes_what_a_killed_one_left_of_the_same_file(tmp_path: Path) -> None:
    (tmp_path / ".[1].json.unfinished-abc").write_bytes(b"half")
    (tmp_path / ".other.unfinished-abc").write_bytes(b"half")
    atomic_write(tmp_path / "[1].json", b"whole")
    assert {file.name for file in tmp_path.iterdir()} == {"[1].json", ".other.unfinished-abc"}


@pytest.mark.parametrize("data", [None, b"", b"{", b"[1]", b"\xff\xfe"])
def test_what_is_no_record_is_none(tmp_path: Path, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / "row.json").write_bytes(data)
    assert read_json(tmp_path / "row.json") is None


def test_a_folder_is_claimed_once(tmp_path: Path) -> None:
    claim(tmp_path, {"dataset": "one", "settings": {"epochs": 3}}, backend="dry_run")
    claim(tmp_path, {"dataset": "one", "settings": {"epochs": 3}}, backend="dry_run")
    with pytest.raises(BackendRejected, match="another dataset, settings"):
        claim(tmp_path, {"dataset": "two", "settings": {"epochs": 4}}, backend="dry_run")


def test_a_result_is_found_while_its_weights_are_whole(tmp_path: Path) -> None:
    weights = tmp_path / "weights" / "model.json"
    atomic_write(weights, b"weights")
    model = ModelRef("dry-1", weights, file_sha256(weights), ("disc",), "version-1")
    assert finished(tmp_path) is None
    write_result(tmp_path, model)
    assert finished(tmp_path) == model
    assert not Path(json.loads((tmp_path / "result.json").read_text())["weights"]).is_absolute()
    weights.write_bytes(b"damaged")
    assert finished(tmp_path) is None
    weights.unlink()
    assert finished(tmp_path) is None
