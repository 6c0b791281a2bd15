"""Prompts, told twice: as tokens for the attention, and drawn as maps for the convolutions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from connectors.nano_sam.encoder import DIM, FINE

__all__ = ["FRAME", "NO_POINT", "PromptEncoder", "Prompts"]

FRAME = 256
"""The side of the square that an image is scaled to: positions are told in its pixels, wherever a tensor is cut
from it."""
NO_POINT = -1
"""The label of a point that only fills a place in the batch."""
_STRIDE = 8
_SPOT_PX = 2.0
"""A click is drawn as a Gaussian of this standard deviation, in pixels of the maps."""
_OFF, _ON, _UPPER_LEFT, _LOWER_RIGHT, _NOTHING = range(5)


class Prompts(NamedTuple):
    """About `b` objects, in the frame's pixels.

    `points (b, n, 2)`, n at least 1, with `labels (b, n)`: 1 on the object, 0 off it, `NO_POINT` for none at all;
    `boxes (b, 4)`, NaN where there is none; `priors (b, 1, h/2, w/2)` logits, NaN where there are none.
    """

    points: Tensor
    labels: Tensor
    boxes: Tensor
    priors: Tensor


class PromptEncoder(nn.Module):
    """From prompts to tokens `(b, n + 2, 128)`, and to maps `(b, 128, h/8, w/8)` and `(b, 32, h/4, w/4)`."""

    frequencies: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(2, DIM // 2))
        self.kinds = nn.Embedding(5, DIM)
        self.first = nn.Sequential(
            nn.Conv2d(6, 24, 3, stride=2, padding=1), nn.GELU(), nn.Conv2d(24, FINE, 3, padding=1)
        )
        self.second = nn.Sequential(
            nn.GELU(), nn.Conv2d(FINE, 64, 3, stride=2, padding=1), nn.GELU(), nn.Conv2d(64, DIM, 1)
        )

    def forward(self, prompts: Prompts, origin: tuple[float, float]) -> tuple[Tensor, Tensor, Tensor]:
        fine = self.first(_maps(prompts, origin))
        return self._tokens(prompts), self.second(fine), fine

    def grid(self, height: int, width: int, origin: tuple[float, float]) -> Tensor:
        """The positions of an embedding's cells, `(1, 128, height, width)`; `origin` is where in the frame its corner
        lies, (x, y)."""
        x = origin[0] + (torch.arange(width, device=self.frequencies.device) + 0.5) * _STRIDE
        y = origin[1] + (torch.arange(height, device=self.frequencies.device) + 0.5) * _STRIDE
        places = torch.stack([x[None, :].expand(height, width), y[:, None].expand(height, width)], dim=-1)
        return self._position(places).permute(2, 0, 1)[None]

    def _position(self, places: Tensor) -> Tensor:
        """Random Fourier features (Tancik et al., NeurIPS 2020) of (x, y) in the frame."""
        waves = (2.0 * places / FRAME - 1.0) @ self.frequencies * torch.pi
        return torch.cat([waves.sin(), waves.cos()], dim=-1)

    def _tokens(self, prompts: Prompts) -> Tensor:
        clicked = prompts.labels >= 0
        kinds = torch.where(clicked, prompts.labels, _NOTHING).long()
        points = self._position(prompts.points) * clicked[..., None] + self.kinds(kinds)
        boxed = ~prompts.boxes.isnan().any(dim=1)[:, None]
        corners = torch.nan_to_num(prompts.boxes).view(-1, 2, 2)
        which = torch.tensor([[_UPPER_LEFT, _LOWER_RIGHT]], device=corners.device)
        box = self._position(corners) * boxed[..., None] + self.kinds(torch.where(boxed, which, _NOTHING))
        return torch.cat([points, box], dim=1)


def _maps(prompts: Prompts, origin: tuple[float, float]) -> Tensor:
    """At stride 2, `(b, 6, h/2, w/2)`: clicks on the object, clicks off it, the box, whether there is one, the prior,
    whether there is one."""
    known = ~prompts.priors.isnan().flatten(1).any(dim=1)
    prior = torch.tanh(torch.nan_to_num(prompts.priors) / 4.0)[:, 0]
    height, width = prior.shape[-2:]
    x = torch.arange(width, device=prior.device) + 0.5 + origin[0] / 2
    y = torch.arange(height, device=prior.device) + 0.5 + origin[1] / 2
    spots = [_spots(prompts.points / 2, prompts.labels == label, x, y) for label in (1, 0)]
    boxed = ~prompts.boxes.isnan().any(dim=1)
    inside = _inside(torch.nan_to_num(prompts.boxes) / 2, x, y)
    whole = torch.ones_like(inside)
    boxed, known = boxed[:, None, None], known[:, None, None]
    return torch.stack([*spots, inside * boxed, whole * boxed, prior * known, whole * known], dim=1)


def _spots(points: Tensor, wanted: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The highest of all Gaussians around the wanted points, `(b, h, w)`."""
    across = torch.exp(-((points[..., 0, None] - x) ** 2) / (2 * _SPOT_PX**2))
    down = torch.exp(-((points[..., 1, None] - y) ** 2) / (2 * _SPOT_PX**2)) * wanted[..., None]
    drawn = down[..., :, None] * across[..., None, :]
    return drawn.amax(dim=1)


def _inside(boxes: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The share of each cell that lies in the box, `(b, h, w)`."""
    left, top, right, bottom = (side[:, None] for side in boxes.unbind(1))
    across = (x[None] - left + 0.5).clamp(0, 1) * (right - x[None] + 0.5).clamp(0, 1)
    down = (y[None] - top + 0.5).clamp(0, 1) * (bottom - y[None] + 0.5).clamp(0, 1)
    return down[:, :, None] * across[:, None, :]
