"""What peers keep in their work folders, so that an interrupted training is resumed and a finished one is found.

`plan.json` says what is being trained; `result.json` is written last and says what came out. Both, like every
file that a later call relies on, appear whole or not at all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.domain.rounds import ModelRef
from pipeline.errors import BackendRejected
from pipeline.files import file_sha256, whole_file

__all__ = ["atomic_copy", "atomic_write", "claim", "finished", "read_json", "write_result"]


def atomic_write(path: Path, data: bytes) -> None:
    """Create or replace `path`, whole or not at all. Raises OSError when the disk refuses."""
    whole_file(path, lambda file: file.write(data))


def atomic_copy(source: Path, path: Path) -> None:
    """The same for the contents of `source`, which are not read into memory at once."""
    with source.open("rb") as opened:
        whole_file(path, lambda file: shutil.copyfileobj(opened, file))


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, or None if there is no such file or it holds something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def claim(work: Path, plan: Mapping[str, object], *, backend: str) -> None:
    """Make `work` the folder of this training. Raises BackendRejected if it belongs to a different one."""
    path = work / "plan.json"
    wanted = json.loads(json.dumps(plan))
    if path.exists() and (held := read_json(path)) is not None and held != wanted:
        differing = sorted(key for key in {*held, *wanted} if held.get(key) != wanted.get(key))
        raise BackendRejected(
            f"{work} holds a training with another {', '.join(differing)}; give this one its own folder",
            backend=backend,
            operation="train",
        )
    atomic_write(path, json.dumps(wanted, sort_keys=True, indent=1).encode())


def finished(work: Path) -> ModelRef | None:
    """The model of a training that ended in `work`, if its weights are still what they were; else None."""
    row = read_json(work / "result.json")
    if row is None:
        return None
    weights = work / str(row["weights"])
    if not weights.is_file() or file_sha256(weights) != row["sha256"]:
        return None
    return ModelRef(row["id"], weights, row["sha256"], tuple(row["class_names"]), row["trained_on"])


def write_result(work: Path, model: ModelRef) -> None:
    """Record that the training in `work` has ended with `model`."""
    row = {
        "id": model.id,
        "weights": model.weights.relative_to(work).as_posix(),
        "sha256": model.sha256,
        "class_names": list(model.class_names),
        "trained_on": model.trained_on,
    }
    atomic_write(work / "result.json", json.dumps(row, sort_keys=True, indent=1).encode())
