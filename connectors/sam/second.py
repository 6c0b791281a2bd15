"""SAM 2 and 2.1 (Ravi et al., "SAM 2: Segment Anything in Images and Videos", 2024), from Ultralytics' parts.

Only what a single image needs is kept: the memory of the video models, in which versions 2 and 2.1 differ, is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from connectors.promptable.network import Arrays, Asked, Told
from connectors.sam.decoding import MaskDecoding

__all__ = ["MEMORY", "Sam2Network", "image_parts"]

MEMORY = (
    "memory_attention.",
    "memory_encoder.",
    "maskmem_tpos_enc",
    "no_mem_pos_enc",
    "no_obj_ptr",
    "no_obj_embed_spatial",
    "obj_ptr_proj.",
    "obj_ptr_tpos_proj.",
    "mask_downsample.",
)
"""How the names of a video model's other weights begin."""

_LARGEST = 32.0


def image_parts(model: Any) -> Any:
    """A module with the image encoder, the prompt encoder, the mask decoder and the embedding for "no memory"."""
    from torch import nn

    parts = nn.Module()
    for name in ("image_encoder", "sam_prompt_encoder", "sam_mask_decoder"):
        parts.add_module(name, getattr(model, name))
    parts.register_parameter("no_mem_embed", model.no_mem_embed)
    return parts


class Sam2Network:
    """Over `image_parts`: `embedding (256, s, s)`, `finest (32, 4 s, 4 s)` and `fine (64, 2 s, 2 s)`.

    Its image encoder gives a mapping with the pyramid under `backbone_fpn`.
    """

    names: tuple[str, ...] = ("embedding", "finest", "fine")

    def __init__(self, parts: Any) -> None:
        import torch

        self.encoder = _pyramid(parts)
        self._prompts = parts.sam_prompt_encoder
        self._masks = MaskDecoding(parts.sam_mask_decoder)
        self._device = next(parts.parameters()).device
        with torch.inference_mode():
            self._position: Any = self._prompts.get_dense_pe()

    def decode(self, arrays: Arrays, asked: Asked, *, multimask: bool) -> Told:
        """A box is two points to this decoder, and comes first. Without priors one image stands for all prompts."""
        import torch

        with torch.inference_mode():
            sparse, dense = self._prompts(points=self._points(asked), boxes=None, masks=self._tensor(asked.priors))
            logits, ious = self._masks(
                self._tensor(arrays["embedding"][None]),
                self._position,
                sparse,
                dense if asked.priors is not None else dense[:1],
                multimask=multimask,
                finer=[self._tensor(arrays[name][None]) for name in ("finest", "fine")],
            )
            # As the published predictor does: what comes back as a prior stays within what was learned.
            logits = logits.float().clamp(-_LARGEST, _LARGEST)
            return Told(logits.cpu().numpy(), ious.float().cpu().numpy())

    def _points(self, asked: Asked) -> tuple[Any, Any] | None:
        points, labels = [], []
        if asked.boxes is not None:
            points.append(asked.boxes.reshape(-1, 2, 2))
            labels.append(np.tile(np.array([[2, 3]], dtype=np.int32), (len(asked.boxes), 1)))
        if asked.points is not None and asked.labels is not None:
            points.append(asked.points)
            labels.append(asked.labels.astype(np.int32))
        if not points:
            return None
        return self._tensor(np.concatenate(points, axis=1)), self._tensor(np.concatenate(labels, axis=1))

    def _tensor(self, array: npt.NDArray[Any] | None) -> Any:
        import torch

        return None if array is None else torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


def _pyramid(parts: Any) -> Any:
    """The image encoder with the decoder's two projections of its finer levels, computed once per image."""
    from torch import nn

    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = parts.image_encoder
            self.finest, self.fine = parts.sam_mask_decoder.conv_s0, parts.sam_mask_decoder.conv_s1
            self.no_memory = parts.no_mem_embed

        def forward(self, pixels: Any) -> tuple[Any, Any, Any]:
            levels = self.encoder(pixels)["backbone_fpn"]
            return levels[2] + self.no_memory.view(1, -1, 1, 1), self.finest(levels[0]), self.fine(levels[1])

    return Pyramid()
