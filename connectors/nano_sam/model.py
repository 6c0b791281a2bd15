"""The three parts together: what is trained, and what the weights file holds."""

from __future__ import annotations

from torch import Tensor, nn

from connectors.nano_sam.decoder import MaskDecoder
from connectors.nano_sam.encoder import Encoder, Features
from connectors.nano_sam.prompting import PromptEncoder, Prompts

__all__ = ["NanoSam"]


class NanoSam(nn.Module):
    """Works on the whole frame, or on any part of it whose sides are multiples of 16."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.prompts = PromptEncoder()
        self.decoder = MaskDecoder()

    def encode(self, pixels: Tensor) -> Features:
        """Of normalised pixels `(n, 3, h, w)`."""
        return Features(*self.encoder(pixels))

    def decode(
        self, features: Features, prompts: Prompts, origin: tuple[float, float] = (0.0, 0.0)
    ) -> tuple[Tensor, Tensor]:
        """Logits `(b, 4, h/2, w/2)` and predicted IoUs `(b, 4)` in [0, 1] of `b` prompts.

        `features` have one row for all prompts, or one for each; `origin` is where in the frame their corner lies,
        (x, y).
        """
        tokens, coarse, fine = self.prompts(prompts, origin)
        height, width = features.embedding.shape[-2:]
        logits, ious = self.decoder(features, self.prompts.grid(height, width, origin), tokens, coarse, fine)
        return logits, ious
