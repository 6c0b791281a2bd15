"""SAM's mask decoder for many prompts of one image: tokens and image through the transformer, then upwards.

The two transposed convolutions have kernels as large as their strides, so that each is one product with the pixels'
channels; pixels keep their channels together from the transformer to the last product, and only the masks are put
into rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connectors.sam.two_way import transformed

__all__ = ["MaskDecoding"]

Tensor = Any

_TOGETHER = 4
"""Prompts at once on a processor: a prompt's copy of the image fills 4 MB, and more of them no cache."""


class MaskDecoding:
    """Over a `MaskDecoder` of Meta's packages or of Ultralytics: the same logits but for rounding.

    The weights are taken as they are now, and must not change.
    """

    def __init__(self, decoder: Any) -> None:
        import torch

        self._decoder = decoder
        score = [decoder.obj_score_token.weight] if getattr(decoder, "pred_obj_scores", False) else []
        self._first = len(score)
        with torch.no_grad():
            self._own: Tensor = torch.cat([*score, decoder.iou_token.weight, decoder.mask_tokens.weight])[None]
        first, self._norm, self._activation, second, self._last_activation = decoder.output_upscaling
        self._up, self._last_up = _Doubling(first), _Doubling(second)

    def __call__(
        self,
        image: Tensor,
        position: Tensor,
        sparse: Tensor,
        dense: Tensor,
        *,
        multimask: bool,
        finer: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits `(b, c, 4 h, 4 w)` and predicted IoUs `(b, c)`, c being 3 with `multimask` and else 1.

        `image` and `position` are `(1, 256, h, w)`, `sparse (b, tokens, 256)`; `dense (b or 1, 256, h, w)`, one where
        it is the same for all prompts. `finer` are SAM 2's features `(1, 32, 4 h, 4 w)` and `(1, 64, 2 h, 2 w)`.
        """
        import torch

        together = _TOGETHER if image.device.type == "cpu" else max(1, len(sparse))
        finest, fine = (None, None) if finer is None else (_in_blocks(finer[0], 4), _in_blocks(finer[1], 2))
        told = [
            self._some(
                image + (dense if len(dense) == 1 else dense[start : start + together]),
                position,
                sparse[start : start + together],
                multimask,
                (finest, fine),
            )
            for start in range(0, len(sparse), together)
        ]
        logits, ious = (torch.cat(parts) for parts in zip(*told, strict=True))
        return logits, ious

    def _some(
        self, image: Tensor, position: Tensor, sparse: Tensor, multimask: bool, finer: tuple[Tensor | None, ...]
    ) -> tuple[Tensor, Tensor]:
        """As many prompts as are asked together."""
        import torch

        height, width = image.shape[-2:]
        tokens = torch.cat([self._own.expand(len(sparse), -1, -1), sparse], dim=1)
        tokens, pixels = transformed(self._decoder.transformer, _rows(image), _rows(position), tokens)
        by_stability = not multimask and getattr(self._decoder, "dynamic_multimask_via_stability", False)
        wanted = range(1, self._decoder.num_mask_tokens) if multimask else range(1)
        if by_stability:
            wanted = range(self._decoder.num_mask_tokens)
        logits = self._masks(tokens, self._upwards(pixels, finer), wanted, (height, width))
        ious = self._decoder.iou_prediction_head(tokens[:, self._first])[:, wanted.start : wanted.stop]
        if by_stability:
            # The packages' own rule, which they give no public name.
            logits, ious = self._decoder._dynamic_multimask_via_stability(logits, ious)  # noqa: SLF001
        return logits, ious

    def _upwards(self, pixels: Tensor, finer: tuple[Tensor | None, ...]) -> Tensor:
        """`(b, h w, 256)` to `(b, h w, 2 2, 2 2, 32)`: each pixel's four, and the four of each of these."""
        from torch.nn.functional import layer_norm

        finest, fine = finer
        channels = self._norm.weight.shape
        some = self._up(pixels)
        some = some if fine is None else some + fine
        some = layer_norm(some, channels, self._norm.weight, self._norm.bias, self._norm.eps)
        many = self._last_up(self._activation(some))
        return self._last_activation(many if finest is None else many + finest)

    def _masks(self, tokens: Tensor, many: Tensor, wanted: range, size: tuple[int, int]) -> Tensor:
        """Each wanted token's own mix of the channels, `(b, c, 4 h, 4 w)`."""
        import torch

        places = [self._first + 1 + number for number in wanted]
        mixers = [self._decoder.output_hypernetworks_mlps[number] for number in wanted]
        mixed = [mixer(tokens[:, place]) for mixer, place in zip(mixers, places, strict=True)]
        logits = many.flatten(1, 3) @ torch.stack(mixed, dim=-1)
        height, width = size
        blocks = logits.view(len(tokens), height, width, 2, 2, 2, 2, len(mixed))
        return blocks.permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(len(tokens), len(mixed), 4 * height, 4 * width)


class _Doubling:
    """A transposed convolution with a kernel and a stride of 2: `(..., c)` to `(..., 4, less)`, row by row."""

    def __init__(self, convolution: Any) -> None:
        weight = convolution.weight.detach()
        self._weight: Tensor = weight.permute(2, 3, 1, 0).reshape(-1, len(weight)).contiguous()
        self._bias: Tensor = convolution.bias.detach().repeat(4)

    def __call__(self, pixels: Tensor) -> Tensor:
        from torch.nn.functional import linear

        made: Tensor = linear(pixels, self._weight, self._bias)
        return made.view(*made.shape[:-1], 4, -1)


def _rows(image: Tensor) -> Tensor:
    """`(b, c, h, w)` to `(b, h w, c)`."""
    return image.flatten(2).transpose(1, 2).contiguous()


def _in_blocks(finer: Tensor, times: int) -> Tensor:
    """`(1, c, times h, times w)` in the order in which `_Doubling` makes it: `(1, h w, 4, c)`, or with another 4."""
    _, channels, height, width = finer.shape
    halvings = times // 2
    steps = (2,) * halvings
    split = finer.view(channels, height // times, *steps, width // times, *steps)
    column = 2 + halvings
    halves = [axis for level in range(halvings) for axis in (2 + level, column + 1 + level)]
    ordered = split.permute(1, column, *halves, 0)
    return ordered.reshape(1, height * width // times**2, *(4,) * halvings, channels)
