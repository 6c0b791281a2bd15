"""Segment Anything from Meta's own package (vit_b, vit_l, vit_h, other sizes): boxes, points, prior masks, logits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connectors.promptable.frame import Square
from connectors.promptable.settings import PromptableSettings, build_promptable
from connectors.sam.first import SQUARE, SamNetwork
from pipeline.ports import Resources, Segmenter

__all__ = ["REQUIRES", "CustomSize", "Settings", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {"segment-anything": ("torch", "torchvision", "segment_anything")}

_PUBLISHED = {
    "vit_b": "sam_vit_b_01ec64.pth",
    "vit_l": "sam_vit_l_0b3195.pth",
    "vit_h": "sam_vit_h_4b8939.pth",
}
_PATCH = 16
_CHANNELS = 256


class CustomSize(BaseModel):
    """An image encoder of another size than Meta's three, in that package's own words: a plain vision transformer of
    `depth` blocks over patches of 16 pixels, of which those of `global_attn_indexes` see the whole image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embed_dim: Annotated[int, Field(ge=1)]
    depth: Annotated[int, Field(ge=1)]
    heads: Annotated[int, Field(ge=1)]
    global_attn_indexes: tuple[int, ...]
    image_size: Annotated[int, Field(ge=64, multiple_of=_PATCH)] = 1024
    """The side of the square that the image is scaled to, in pixels."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.embed_dim % self.heads:
            raise ValueError(f"embed_dim {self.embed_dim} is no multiple of heads {self.heads}")
        if any(not 0 <= index < self.depth for index in self.global_attn_indexes):
            raise ValueError(f"global_attn_indexes name blocks that are not among 0 to {self.depth - 1}")
        return self


class Settings(PromptableSettings):
    """`size` is the image encoder's; `custom` describes it where it is none of Meta's."""

    size: Literal["vit_b", "vit_l", "vit_h", "custom"] = "vit_b"
    custom: CustomSize | None = None

    @model_validator(mode="after")
    def _is_described(self) -> Self:
        if (self.size == "custom") != (self.custom is not None):
            raise ValueError("size 'custom' is described by custom, and the other sizes are not")
        if self.size == "custom" and self.weights is None and not self.untrained:
            raise ValueError("nothing is published for size 'custom': name a weights file")
        return self

    @property
    def published_as(self) -> str:
        return _PUBLISHED[self.size]


def build(settings: Settings, resources: Resources) -> Segmenter:
    """Raises ConfigError, and WeightsUnavailable for weights that are missing, damaged, unsafe, of another digest or
    of another size."""
    from segment_anything import sam_model_registry

    custom = settings.custom
    return build_promptable(
        "segment_anything",
        settings.size,
        settings,
        resources,
        square=SQUARE if custom is None else Square(custom.image_size, custom.image_size // 4),
        make_model=sam_model_registry[settings.size] if custom is None else partial(_custom, custom),
        make_network=SamNetwork,
    )


def _custom(size: CustomSize) -> Any:
    """The structure of Kirillov et al., "Segment Anything" (ICCV 2023), around another image encoder."""
    import torch
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    encoder = ImageEncoderViT(
        img_size=size.image_size,
        patch_size=_PATCH,
        embed_dim=size.embed_dim,
        depth=size.depth,
        num_heads=size.heads,
        out_chans=_CHANNELS,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=14,
        global_attn_indexes=size.global_attn_indexes,
    )
    side = size.image_size // _PATCH
    prompts = PromptEncoder(
        embed_dim=_CHANNELS,
        image_embedding_size=(side, side),
        input_image_size=(size.image_size, size.image_size),
        mask_in_chans=16,
    )
    masks = MaskDecoder(
        transformer_dim=_CHANNELS,
        transformer=TwoWayTransformer(depth=2, embedding_dim=_CHANNELS, num_heads=8, mlp_dim=2048),
    )
    return Sam(image_encoder=encoder, prompt_encoder=prompts, mask_decoder=masks)
