"""SAM's two-way transformer, arranged for many prompts of one image.

A prompt has about seven tokens, an image thousands. The published modules project the image's tokens anew for every
prompt and every attention. Here the few tokens are carried through the projections instead, which is the same sum in
another order: with queries q, image x, shares A, tokens' values v and the weights of one head,

    (q Wq) (x Wk)' = (q Wq Wk') x'        A (x Wv) = (A x) Wv        (A (v Wv)) Wo = A (v Wv Wo)

so that the matrices that x meets have 8 heads x 7 tokens instead of 128 columns, and x itself may be one for all
prompts. Results differ from the modules' own by rounding only.

Transformers are those of Kirillov et al., "Segment Anything" (ICCV 2023), under the names that Meta's packages and
Ultralytics give their parts. Tokens are `(prompts, tokens, c)`, images `(prompts or 1, pixels, c)`.
"""

from __future__ import annotations

import math
from typing import Any

__all__ = ["transformed"]

Tensor = Any


def transformed(transformer: Any, image: Tensor, position: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """What became of the tokens, and of the image: one for each prompt.

    `position (1, pixels, c)` says where the image's tokens lie.
    """
    queries = tokens
    for layer in transformer.layers:
        queries = layer.norm1(_among_themselves(layer, queries, tokens))
        placed = image + position
        queries = queries + _from_image(layer.cross_attn_token_to_image, queries + tokens, placed, image)
        queries = layer.norm2(queries)
        queries = layer.norm3(queries + layer.mlp(queries))
        image = image + _from_tokens(layer.cross_attn_image_to_token, placed, queries + tokens, queries)
        image = layer.norm4(image)
    last = transformer.final_attn_token_to_image
    queries = queries + _from_image(last, queries + tokens, image + position, image)
    return transformer.norm_final_attn(queries), image


def _among_themselves(layer: Any, queries: Tensor, tokens: Tensor) -> Tensor:
    """The first layer has no remainder to add to, and no positions."""
    if layer.skip_first_layer_pe:
        return layer.self_attn(queries, queries, queries)
    placed = queries + tokens
    return queries + layer.self_attn(placed, placed, queries)


def _from_image(attention: Any, queries: Tensor, placed: Tensor, image: Tensor) -> Tensor:
    """Tokens look at the image, `placed` being the image with its positions.

    The bias of the keys adds the same to all that a softmax compares, and is left out.
    """
    prompts, tokens, _ = queries.shape
    heads = attention.num_heads
    asked = _by_head(attention.q_proj(queries), heads)
    size = asked.shape[-1]
    asked = (asked / math.sqrt(size)) @ attention.k_proj.weight.view(heads, size, -1)
    shares = _times(asked.flatten(1, 2), placed.transpose(1, 2)).softmax(dim=-1)
    seen = _times(shares, image).view(prompts, heads, tokens, -1)
    values = seen @ attention.v_proj.weight.view(heads, size, -1).transpose(1, 2)
    values = values + attention.v_proj.bias.view(heads, 1, size)
    return attention.out_proj(values.transpose(1, 2).flatten(2))


def _from_tokens(attention: Any, placed: Tensor, tokens: Tensor, values: Tensor) -> Tensor:
    """The image looks at tokens, of which `values` are told."""
    prompts, number, _ = tokens.shape
    heads = attention.num_heads
    keys = _by_head(attention.k_proj(tokens), heads)
    size = keys.shape[-1]
    keys = keys / math.sqrt(size)
    asked = keys @ attention.q_proj.weight.view(heads, size, -1)
    bias = keys @ attention.q_proj.bias.view(heads, size, 1)
    likeness = _times(asked.flatten(1, 2), placed.transpose(1, 2)).view(prompts, heads, number, -1)
    shares = (likeness + bias).softmax(dim=2).flatten(1, 2)
    told = _by_head(attention.v_proj(values), heads) @ attention.out_proj.weight.view(-1, heads, size).permute(
        1, 2, 0
    )
    return shares.transpose(1, 2) @ told.flatten(1, 2) + attention.out_proj.bias


def _by_head(tokens: Tensor, heads: int) -> Tensor:
    """`(b, n, heads * size)` to `(b, heads, n, size)`."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)


def _times(several: Tensor, one: Tensor) -> Tensor:
    """`(b, n, k) @ (b or 1, k, m)`: with one for all it is one large product."""
    if len(one) == 1:
        return (several.flatten(0, 1) @ one[0]).unflatten(0, (len(several), -1))
    return several @ one
