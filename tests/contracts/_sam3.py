"""A small tracker of Meta's own classes, for the peer whose published networks want a GPU to be built at all."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connectors.segmenters.sam3_interactive import Settings, build_over, meta_module
from pipeline.ports import Segmenter
from tests.contracts._yolo import resources_for, skip_without

CHANNELS = 32
SMALL_TRUNK: Mapping[str, Any] = {
    "img_size": 1008,
    "pretrain_img_size": 336,
    "patch_size": 14,
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "mlp_ratio": 2.0,
    "norm_layer": "LayerNorm",
    "tile_abs_pos": True,
    "global_att_blocks": (1,),
    "rel_pos_blocks": (),
    "use_rope": True,
    "use_interp_rope": True,
    "window_size": 24,
    "retain_cls_token": False,
    "ln_pre": True,
    "return_interm_layers": False,
    "bias_patch_embed": False,
}
"""What a ViT of the published structure is told to be small; Meta's class and Ultralytics' take the same words."""


def small_tracker(seed: int = 0) -> Any:
    """Half a million parameters instead of 450 million, in the published structure: 1008 pixels in, logits of 288.

    Like the published one it leaves an autocast behind in this thread, which `bf16_context` ends.
    """
    skip_without("torch", "torchvision", "sam3")
    import torch

    names = ("necks", "position_encoding", "sam3_tracking_predictor", "vitdet", "vl_combiner")
    necks, positions, trackers, vitdet, combiner = (meta_module(f"sam3.model.{name}") for name in names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        neck = necks.Sam3DualViTDetNeck(
            trunk=vitdet.ViT(**SMALL_TRUNK),
            position_encoding=positions.PositionEmbeddingSine(num_pos_feats=CHANNELS),
            d_model=CHANNELS,
            add_sam2_neck=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its autocast, which is for GPUs
            tracker = trackers.Sam3TrackerPredictor(
                backbone=combiner.SAM3VLBackbone(visual=neck, text=None, scalp=1),
                transformer=_no_memory(),
                maskmem_backbone=torch.nn.Identity(),
                multimask_output_in_sam=True,
                sam_mask_decoder_extra_args={"dynamic_multimask_via_stability": True},
            )
        for parameter in tracker.parameters():
            parameter.data += 0.05 * torch.randn(parameter.shape)
    return tracker.eval()


def small_segmenter(folder: Path) -> Segmenter:
    """The peer over it."""
    skip_without("torch", "torchvision", "sam3")
    return build_over(small_tracker, Settings(untrained=True, device="cpu"), resources_for(folder))


def _no_memory() -> Any:
    """Stands where the memory's transformer is: single images never come by."""
    import torch

    nothing: Any = torch.nn.Module()
    nothing.decoder, nothing.d_model = None, CHANNELS
    return nothing
