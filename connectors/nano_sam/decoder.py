"""Tokens and picture look at each other twice; then each mask's token becomes a filter over the finest features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from connectors.nano_sam.attention import Attention, TwoWay
from connectors.nano_sam.encoder import DIM, FINE, FINEST, Features

__all__ = ["MASKS", "MaskDecoder"]

MASKS = 4
"""The first for clear prompts; three more for ambiguous ones, of which one is to be right."""
_HEADS = 4


class MaskDecoder(nn.Module):
    """From features (one row for all, or one per object) and encoded prompts to logits `(b, 4, h/2, w/2)` and
    predicted IoUs `(b, 4)`."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs = nn.Embedding(1 + MASKS, DIM)
        self.layers = nn.ModuleList([TwoWay(DIM, _HEADS), TwoWay(DIM, _HEADS)])
        self.last = Attention(DIM, _HEADS, DIM // 2)
        self.last_norm = nn.LayerNorm(DIM)
        self.to_fine = nn.Conv2d(DIM, FINE, 1)
        self.fine = _smoothing(FINE, groups=4)
        self.to_finest = nn.Conv2d(FINE, FINEST, 1)
        self.finest = _smoothing(FINEST, groups=2)
        self.filters = nn.ModuleList([_mlp(DIM, DIM, FINEST) for _ in range(MASKS)])
        self.quality = _mlp(DIM, DIM, MASKS)

    def forward(
        self, features: Features, places: Tensor, prompts: Tensor, coarse: Tensor, fine: Tensor
    ) -> tuple[Tensor, Tensor]:
        tokens, picture = self._look(features.embedding + coarse, places, prompts)
        four = self.fine(_twice(self.to_fine(picture)) + features.fine + fine)
        two = self.finest(_twice(self.to_finest(four)) + features.finest)
        filters = torch.stack([mlp(tokens[:, 1 + number]) for number, mlp in enumerate(self.filters)], dim=1)
        return torch.einsum("bmc,bchw->bmhw", filters, two), self.quality(tokens[:, 0]).sigmoid()

    def _look(self, picture: Tensor, places: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens (quality, masks, prompts) and the picture after they have looked at each other."""
        shape = picture.shape
        outputs = self.outputs.weight[None].expand(len(prompts), -1, -1)
        tokens = asked = torch.cat([outputs, prompts], dim=1)
        picture, places = (values.flatten(2).transpose(1, 2) for values in (picture, places))
        for layer in self.layers:
            tokens, picture = layer(tokens, picture, asked, places)
        tokens = self.last_norm(tokens + self.last(tokens + asked, picture + places, picture))
        return tokens, picture.transpose(1, 2).reshape(shape)


def _twice(values: Tensor) -> Tensor:
    return fn.interpolate(values, scale_factor=2.0, mode="bilinear")


def _smoothing(channels: int, *, groups: int) -> nn.Sequential:
    return nn.Sequential(
        nn.GroupNorm(groups, channels), nn.GELU(), nn.Conv2d(channels, channels, 3, padding=1), nn.GELU()
    )


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, outputs)
    )
