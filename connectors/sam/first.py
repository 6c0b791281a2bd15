"""SAM and MobileSAM (Kirillov et al., "Segment Anything", ICCV 2023; Zhang et al., "Faster Segment Anything", 2023)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from connectors.promptable.frame import Square
from connectors.promptable.network import Arrays, Asked, Told
from connectors.sam.decoding import MaskDecoding

__all__ = ["SQUARE", "SamNetwork"]

SQUARE = Square(side=1024, low_side=256)


class SamNetwork:
    """Over a module with `image_encoder`, `prompt_encoder` and `mask_decoder`; one array, `embedding (256, 64, 64)`."""

    names: tuple[str, ...] = ("embedding",)

    def __init__(self, model: Any) -> None:
        import torch

        self.encoder = model.image_encoder
        self._prompts = model.prompt_encoder
        self._masks = MaskDecoding(model.mask_decoder)
        self._device = next(model.parameters()).device
        with torch.inference_mode():
            self._position: Any = self._prompts.get_dense_pe()

    def decode(self, arrays: Arrays, asked: Asked, *, multimask: bool) -> Told:
        """Without priors one image stands for all prompts."""
        import torch

        with torch.inference_mode():
            points = None
            if asked.points is not None and asked.labels is not None:
                points = self._tensor(asked.points), self._tensor(asked.labels)
            sparse, dense = self._prompts(
                points=points, boxes=self._tensor(asked.boxes), masks=self._tensor(asked.priors)
            )
            logits, ious = self._masks(
                self._tensor(arrays["embedding"][None]),
                self._position,
                sparse,
                dense if asked.priors is not None else dense[:1],
                multimask=multimask,
            )
            return Told(logits.float().cpu().numpy(), ious.float().cpu().numpy())

    def _tensor(self, array: npt.NDArray[np.float32] | None) -> Any:
        import torch

        return None if array is None else torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
