"""From pixels to features: a residual network that a processor likes, with one look at the whole picture."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as fn

from connectors.nano_sam.attention import Attention

__all__ = ["DIM", "FINE", "FINEST", "Encoder", "Features"]

DIM, FINE, FINEST = 128, 32, 16
"""Channels at strides 8, 4 and 2."""


class Features(NamedTuple):
    """Of `n` images: `embedding (n, 128, h/8, w/8)`, `fine (n, 32, h/4, w/4)`, `finest (n, 16, h/2, w/2)`."""

    embedding: Tensor
    fine: Tensor
    finest: Tensor


class Encoder(nn.Module):
    """From normalised pixels `(n, 3, h, w)`, both sides multiples of 16, to the tensors of `Features` in order."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, 24, stride=2)
        self.four = nn.Sequential(_conv(24, 48, stride=2), _Block(48), _Block(48))
        self.eight = nn.Sequential(_conv(48, 96, stride=2), _Block(96), _Block(96))
        self.sixteen = nn.Sequential(_conv(96, 160, stride=2), _Block(160), _Block(160), _Block(160))
        self.look = _Look(160, 4)
        self.lateral = nn.Conv2d(96, DIM, 1)
        self.top = nn.Conv2d(160, DIM, 1)
        self.neck = nn.Sequential(_conv(DIM, DIM), nn.Conv2d(DIM, DIM, 3, padding=1))
        self.to_fine = nn.Conv2d(48, FINE, 1)
        self.to_finest = nn.Conv2d(24, FINEST, 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        two = self.stem(pixels)
        four = self.four(two)
        eight = self.eight(four)
        sixteen = self.look(self.sixteen(eight))
        top = fn.interpolate(self.top(sixteen), scale_factor=2.0, mode="nearest")
        return self.neck(top + self.lateral(eight)), self.to_fine(four), self.to_finest(two)


class _Block(nn.Module):
    """Two convolutions around which the values also pass as they are (He et al., CVPR 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, values: Tensor) -> Tensor:
        return fn.relu(values + self.second(self.first(values)))


class _Look(nn.Module):
    """Every cell looks at every other without knowing where it is: colour and texture tell who belongs together."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = Attention(channels, heads, channels)

    def forward(self, values: Tensor) -> Tensor:
        cells = self.norm(values.flatten(2).transpose(1, 2))
        seen: Tensor = self.attention(cells, cells, cells)
        return values + seen.transpose(1, 2).reshape(values.shape)


def _conv(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
