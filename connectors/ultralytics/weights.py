"""Find a weights file, check its digest, look into it; only then load it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.ultralytics.checkpoint import scan
from pipeline.domain.rounds import ModelRef
from pipeline.errors import WeightsUnavailable

__all__ = ["Weights", "read_model", "weights_by_name", "weights_of"]


@dataclass(frozen=True)
class Weights:
    """A checked file: `sha256` is its digest in hexadecimal."""

    path: Path
    sha256: str

    @property
    def short(self) -> str:
        """The first 12 digits of the digest, as names carry them."""
        return self.sha256[:12]


def weights_by_name(name: str, sha256: str | None, find: Callable[[str], Path]) -> Weights:
    """The file that `find` knows under `name`. Raises WeightsUnavailable if it is missing, has another digest
    than `sha256` (where given), or is neither safetensors nor a harmless checkpoint."""
    return _checked(find(name), sha256)


def weights_of(model: ModelRef) -> Weights:
    """The same for a trained model."""
    return _checked(model.weights, model.sha256)


def _checked(path: Path, sha256: str | None) -> Weights:
    try:
        with path.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as exc:
        raise WeightsUnavailable(str(path), reason=exc.strerror) from exc
    if sha256 is not None and found != sha256.lower():
        raise WeightsUnavailable(
            str(path), reason=f"{path.name} has the SHA-256 {found}, where {sha256} was wanted; nothing was loaded"
        )
    if path.suffix != ".safetensors":  # which can hold nothing that runs
        scan(path)
    return Weights(path, found)


def read_model(path: Path) -> tuple[Any, dict[str, Any]]:
    """The network of a checked file, single precision, and the rest of its checkpoint. Needs `runtime.load` first.

    Raises WeightsUnavailable for a file that Ultralytics cannot read, and for a network whose structure names an
    activation of its own: Ultralytics may evaluate that text as Python when it builds the network anew.
    """
    from ultralytics.nn.tasks import load_checkpoint

    try:
        model, checkpoint = load_checkpoint(path)
        activation = model.yaml.get("activation")
    except Exception as exc:
        reason = " ".join(str(exc).split())
        raise WeightsUnavailable(str(path), reason=f"Ultralytics cannot read {path.name}: {reason}") from exc
    if activation is not None:
        raise WeightsUnavailable(
            str(path), reason=f"{path.name} was not used: its structure holds code ({activation!r})"
        )
    return model, checkpoint
