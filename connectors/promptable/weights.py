"""State dictionaries: read without running anything, and loaded only where they fit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pipeline.errors import WeightsUnavailable

__all__ = ["digest_of", "restore"]


def digest_of(model: Any) -> str:
    """SHA-256 of all weights of a module, in hexadecimal."""
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(name.encode())
        total.update(tensor.cpu().numpy().tobytes())
    return total.hexdigest()


def restore(model: Any, kind: str, path: Path, *, ignored: Sequence[str] = ()) -> None:
    """Load the state dictionary at `path`: PyTorch's, plain or under the key `model`, of which only tensors are
    unpickled; or safetensors.

    Weights whose names begin with one of `ignored`, where `*` stands for anything, are those of parts that `model` does
    not have.
    Raises WeightsUnavailable for a file that cannot be read or does not hold exactly the weights of `kind`.
    """
    state = _read(path)
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]
    if isinstance(state, dict):
        state = {name: value for name, value in state.items() if not _is_one_of(str(name), ignored)}
    complaint = _complaint(model.state_dict(), state)
    if complaint is not None:
        raise WeightsUnavailable(str(path), reason=f"{path.name} does not hold the weights of {kind}: {complaint}")
    model.load_state_dict(state)


def _is_one_of(name: str, beginnings: Sequence[str]) -> bool:
    return any(fnmatchcase(name, f"{beginning}*") for beginning in beginnings)


def _read(path: Path) -> Any:
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as exc:
        reason = " ".join(str(exc).split())
        raise WeightsUnavailable(str(path), reason=f"{path.name} cannot be read: {reason}") from exc


def _complaint(wanted: dict[str, Any], found: object) -> str | None:
    """What is wrong with the weights that were found, in words; None if nothing is."""
    import torch

    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        return "it is no table of weights"
    missing, surplus = _some(sorted(set(wanted) - set(found))), _some(sorted(set(found) - set(wanted)))
    if missing or surplus:
        return "; ".join(
            words for words in (missing and f"without {missing}", surplus and f"with {surplus}") if words
        )
    shapes = {name for name, tensor in wanted.items() if found[name].shape != tensor.shape}
    return f"other shapes of {_some(sorted(shapes))}" if shapes else None


def _some(names: Sequence[str]) -> str:
    """The first three of many."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
