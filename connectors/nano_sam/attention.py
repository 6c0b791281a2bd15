"""Who looks at whom: tokens at tokens, tokens at the picture, the picture at tokens."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as fn

__all__ = ["Attention", "TwoWay"]


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al., 2017) of `heads` heads in `inner` channels, from and to `(b, n, dim)`."""

    def __init__(self, dim: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(dim, inner) for _ in range(3))
        self.out = nn.Linear(inner, dim)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        made = fn.scaled_dot_product_attention(
            self._split(self.query(query)), self._split(self.key(key)), self._split(self.value(value))
        )
        out: Tensor = self.out(made.transpose(1, 2).flatten(2))
        return out

    def _split(self, values: Tensor) -> Tensor:
        count, length, _ = values.shape
        return values.view(count, length, self.heads, -1).transpose(1, 2)


class TwoWay(nn.Module):
    """SAM's block: tokens among themselves, tokens to picture, tokens alone, picture to tokens.

    `asked` are the tokens as they were asked, `places` the positions of the picture's cells: both are added
    wherever something looks or is looked at, so that no layer forgets them.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.among = Attention(dim, heads, dim)
        self.to_picture = Attention(dim, heads, dim // 2)
        self.alone = nn.Sequential(nn.Linear(dim, 3 * dim), nn.GELU(), nn.Linear(3 * dim, dim))
        self.to_tokens = Attention(dim, heads, dim // 2)
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for _ in range(4)])

    def forward(self, tokens: Tensor, picture: Tensor, asked: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        queries = tokens + asked
        tokens = self.norms[0](tokens + self.among(queries, queries, tokens))
        tokens = self.norms[1](tokens + self.to_picture(tokens + asked, picture + places, picture))
        tokens = self.norms[2](tokens + self.alone(tokens))
        picture = self.norms[3](picture + self.to_tokens(picture + places, tokens + asked, tokens))
        return tokens, picture
