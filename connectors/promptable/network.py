"""What is asked of a network, and the shape that each network has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Asked", "Network", "Told"]

Arrays = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Asked:
    """Prompts of one shape in the square's pixels: points `float32 (b, n, 2)` and labels `(b, n)` of 1 and 0, boxes
    `float32 (b, 4)`, priors `float32 (b, 1, low, low)`; None where the prompts have none."""

    points: npt.NDArray[np.float32] | None
    labels: npt.NDArray[np.float32] | None
    boxes: npt.NDArray[np.float32] | None
    priors: npt.NDArray[np.float32] | None


@dataclass(frozen=True, eq=False)
class Told:
    """Logits `float32 (b, c, low, low)` and predicted IoUs `float32 (b, c)`, unbounded, in the network's order."""

    logits: npt.NDArray[np.float32]
    ious: npt.NDArray[np.float32]


class Network(Protocol):
    """The weights and nothing else: safe from many threads.

    `encoder` is a module from pixels `(1, 3, side, side)` to one tensor for each of `names`, all with a first axis of
    one; an encoding is those arrays without that axis.
    """

    encoder: Any
    names: tuple[str, ...]

    def decode(self, arrays: Arrays, asked: Asked, *, multimask: bool) -> Told:
        """All prompts in one call of the decoder: one candidate each, or with `multimask` three."""
        ...
