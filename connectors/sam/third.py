"""SAM 3's interactive head (Carion et al., "SAM 3", 2025): what single images need, under the names of its checkpoint.

Meta's package and Ultralytics build the same structure, and a published checkpoint holds detector, tracker and memory
together: the parts are hung up where their weights are looked for, and then handed to `Sam2Network`, whose structure
this head has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.promptable.frame import Square
from connectors.sam.second import Sam2Network

__all__ = ["OTHERS", "SQUARE", "network_of", "parts_of"]

SQUARE = Square(side=1008, low_side=288, stretch=True, mean=(127.5,) * 3, std=(127.5,) * 3)

_SHARED = "detector.backbone.vision_backbone"
OTHERS = (
    f"{_SHARED}.convs.",
    "detector.backbone.language_backbone.",
    "detector.geometry_encoder.",
    "detector.transformer.",
    "detector.segmentation_head.",
    "detector.dot_prod_scoring.",
    "tracker.transformer.",
    "tracker.maskmem_",
    "tracker.mask_downsample.",
    "tracker.no_mem_pos_enc",
    "tracker.no_obj_",
    "tracker.obj_ptr_",
)
"""How the names of a checkpoint's other weights begin: of the detector, which words talk to, and of the memory."""


def parts_of(backbone: Any, head: Any) -> Any:
    """The encoder that detector and tracker share, its pyramid for the tracker, and from `head` the tracker's prompt
    encoder and mask decoder."""
    from torch import nn

    root = nn.Module()
    shared = _nested(root, _SHARED)
    shared.trunk = backbone.vision_backbone.trunk
    shared.sam2_convs = backbone.vision_backbone.sam2_convs
    tracker = _nested(root, "tracker")
    tracker.sam_prompt_encoder, tracker.sam_mask_decoder = head.sam_prompt_encoder, head.sam_mask_decoder
    tracker.no_mem_embed = head.no_mem_embed
    return root


def network_of(parts: Any) -> Sam2Network:
    """Over `parts_of`, once its weights are in."""
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self, shared: Any) -> None:
            super().__init__()
            self.trunk = shared.trunk
            self.levels = shared.sam2_convs[:3]  # a fourth, coarser one is never looked at

        def forward(self, pixels: Any) -> Mapping[str, Any]:
            features = self.trunk(pixels)[-1]
            return {"backbone_fpn": [level(features) for level in self.levels]}

    named = nn.Module()
    named.image_encoder = Encoder(parts.get_submodule(_SHARED))
    named.sam_prompt_encoder = parts.tracker.sam_prompt_encoder
    named.sam_mask_decoder = parts.tracker.sam_mask_decoder
    named.no_mem_embed = parts.tracker.no_mem_embed
    return Sam2Network(named)


def _nested(root: Any, name: str) -> Any:
    """An empty module at a dotted name."""
    from torch import nn

    for part in name.split("."):
        if not hasattr(root, part):
            root.add_module(part, nn.Module())
        root = getattr(root, part)
    return root
