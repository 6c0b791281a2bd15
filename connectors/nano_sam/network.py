"""The model as segmenters ask it: arrays in, arrays out, nothing kept of any image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from connectors.nano_sam.encoder import Features
from connectors.nano_sam.model import NanoSam
from connectors.nano_sam.prompting import FRAME, NO_POINT, Prompts
from connectors.promptable.frame import Square
from connectors.promptable.network import Arrays, Asked, Told

__all__ = ["SQUARE", "NanoNetwork"]

SQUARE = Square(side=FRAME, low_side=FRAME // 2, point_shift=0.0)


class NanoNetwork:
    """Three arrays per image: `embedding (128, 32, 32)`, `fine (32, 64, 64)` and `finest (16, 128, 128)`."""

    names: tuple[str, ...] = Features._fields
    encoder: Any

    def __init__(self, model: NanoSam) -> None:
        self.encoder = model.encoder
        self._model = model
        self._device = model.prompts.frequencies.device

    def decode(self, arrays: Arrays, asked: Asked, *, multimask: bool) -> Told:
        """All prompts in one call; the single mask is the first of the model's four, the candidates are the rest."""
        with torch.inference_mode():
            features = Features(*(self._tensor(arrays[name][None]) for name in self.names))
            logits, ious = self._model.decode(features, self._prompts(asked))
        wanted = slice(1, None) if multimask else slice(0, 1)
        return Told(logits[:, wanted].float().cpu().numpy(), ious[:, wanted].float().cpu().numpy())

    def _prompts(self, asked: Asked) -> Prompts:
        given = [part for part in (asked.points, asked.boxes, asked.priors) if part is not None]
        count = len(given[0])
        low = SQUARE.low_side
        return Prompts(
            self._tensor(asked.points) if asked.points is not None else self._full(0.0, count, 1, 2),
            self._tensor(asked.labels) if asked.labels is not None else self._full(NO_POINT, count, 1),
            self._tensor(asked.boxes) if asked.boxes is not None else self._full(torch.nan, count, 4),
            self._tensor(asked.priors) if asked.priors is not None else self._full(torch.nan, count, 1, low, low),
        )

    def _tensor(self, array: npt.NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def _full(self, value: float, *shape: int) -> Tensor:
        return torch.full(shape, float(value), device=self._device)
