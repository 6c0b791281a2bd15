"""No checkpoint is unpickled before it has been looked into."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.ultralytics.checkpoint import scan
from pipeline.errors import WeightsUnavailable
from tests.contracts._yolo import HEADS, skip_without, write_weights


class Call:
    """Unpickles as the result of a call."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self._parts = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self._parts


def archive(path: Path, value: object, *, protocol: int = 2, extra: dict[str, bytes] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("archive/data.pkl", pickle.dumps(value, protocol=protocol))
        for name, data in (extra or {}).items():
            opened.writestr(name, data)
    return path


def raw(path: Path, data: bytes) -> Path:
    """An archive whose pickle is exactly `data`."""
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("archive/data.pkl", data)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pt"


@pytest.mark.parametrize("head", HEADS)
def test_real_checkpoints_pass(path: Path, head: str) -> None:
    skip_without("torch", "ultralytics")
    scan(write_weights(path, head=head))


def test_plain_values_pass(path: Path) -> None:
    scan(archive(path, {"epoch": 3, "names": ["a"], "seen": {1, 2}, "nested": ({"x": None}, 0.5)}))


def test_a_system_call_is_named_and_not_made(path: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    archive(path, {"model": Call(os.system, f"touch {canary}")})
    with pytest.raises(WeightsUnavailable, match=r"posix\.system"):
        scan(path)
    assert not canary.exists()
    pickle.loads(zipfile.ZipFile(path).read("archive/data.pkl"))
    assert canary.exists(), "the file must be able to do harm, or this test shows nothing"


@pytest.mark.parametrize(
    ("imported", "named"),
    [
        ("builtins\neval", r"builtins\.eval"),
        ("__builtin__\neval", r"builtins\.eval"),
        ("builtins\ngetattr", r"builtins\.getattr"),
        ("subprocess\nPopen", r"subprocess\.Popen"),
        ("torch\nload", r"torch\.load"),
        ("torch.hub\nload", r"torch\.hub\.load"),
        ("torch.storage\n_load_from_bytes", r"_load_from_bytes"),
        ("torch.nn.modules.container\nos.system", r"os\.system"),
        ("ultralytics.utils.checks\ncheck_requirements", r"check_requirements"),
        ("ultralytics.nn.tasks\nyaml_model_load", r"yaml_model_load"),
        ("ultralytics.nn.tasks\nPath", r"ultralytics\.nn\.tasks\.Path"),
    ],
)
def test_what_a_checkpoint_does_not_need_is_refused(path: Path, imported: str, named: str) -> None:
    with pytest.raises(WeightsUnavailable, match=named):
        scan(raw(path, b"\x80\x02c" + imported.encode() + b"\n."))


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02cultralytics.nn.tasks\nDetectionModel\n}\x85R.",
        b"\x80\x02cultralytics.nn.tasks\nDetectionModel\nq\x01}\x85R.",
        b"\x80\x02cultralytics.nn.tasks\nDetectionModel\nq\x01)\x81q\x02h\x01}\x85R.",
        b"\x80\x02cultralytics.nn.tasks\nDetectionModel\n)R.",
    ],
    ids=["with its structure", "memoised", "from the memo", "without arguments"],
)
def test_a_model_class_may_only_be_restored(path: Path, data: bytes) -> None:
    """Calling it would build a network from any structure, whose activation is evaluated as Python."""
    with pytest.raises(WeightsUnavailable, match=r"calls ultralytics\.nn\.tasks\.DetectionModel"):
        scan(raw(path, data))


def test_other_ways_to_import_are_refused(path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="STACK_GLOBAL"):
        scan(raw(path, b"\x80\x04\x8c\x02os\x8c\x06system\x93."))
    with pytest.raises(WeightsUnavailable, match="opcode"):
        scan(archive(path, Call(os.system, "true"), protocol=4))
    with pytest.raises(WeightsUnavailable, match="INST"):
        scan(raw(path, b"\x80\x02(S'true'\nios\nsystem\n."))


def test_a_pickle_before_the_archive(path: Path) -> None:
    """PyTorch reads such a file as a bare pickle, whatever the archive behind it holds."""
    harmless = archive(path, {}).read_bytes()
    path.write_bytes(pickle.dumps(Call(os.system, "true")) + harmless)
    assert zipfile.is_zipfile(path)
    with pytest.raises(WeightsUnavailable, match="not a PyTorch checkpoint"):
        scan(path)


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"ARCHIVE/DATA.PKL": b"N."}, "share a name"),
        ({"other/data.pkl": b"N."}, "exactly one"),
        ({"archive/code/data.pkl": b"N."}, "exactly one"),
        ({"archive/constants.pkl": b"N."}, "TorchScript"),
    ],
)
def test_an_ambiguous_archive_is_refused(path: Path, extra: dict[str, bytes], reason: str) -> None:
    with pytest.raises(WeightsUnavailable, match=reason):
        scan(archive(path, {}, extra=extra))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x89PNG and so on", b"PK\x03\x04" + b"\0" * 500])
def test_what_is_no_archive_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(WeightsUnavailable):
        scan(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_refused(path: Path, share: float) -> None:
    whole = archive(path, {"weights": list(range(1000))}).read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsUnavailable, match=r"damaged or cut short"):
        scan(path)


def test_a_flipped_byte_is_refused(path: Path) -> None:
    whole = bytearray(archive(path, {"weights": list(range(1000))}).read_bytes())
    whole[100] ^= 0xFF
    path.write_bytes(whole)
    with pytest.raises(WeightsUnavailable, match="damaged"):
        scan(path)


def test_a_missing_file(path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="No such file"):
        scan(path)
