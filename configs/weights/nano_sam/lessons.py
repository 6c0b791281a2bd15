"""What the network is told about its answers."""

import torch
from torch import Tensor
from torch.nn import functional as fn

_FAR = 0.15
_CANDIDATES, _ALL_CANDIDATES = 0.4, 0.05


def lesson(logits: Tensor, ious: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of answers `(b, 4, h, w)` with predicted IoUs `(b, 4)` to objects `(b, h, w)` of shares in [0, 1]; and
    the true IoUs `(b, 4)`.

    The first mask is always to be right; of the other three one is to be, and the rest a little, so that none is
    lost (as Kirillov et al., 2023, take the best of three). No focal loss: from nothing, it ended in empty masks.
    """
    each = _losses(logits, target)
    true = true_ious(logits.detach(), target)
    candidates = each[:, 1:]
    masks = each[:, 0] + _CANDIDATES * candidates.min(dim=1).values + _ALL_CANDIDATES * candidates.mean(dim=1)
    return masks.mean() + fn.mse_loss(ious, true), true


def true_ious(logits: Tensor, target: Tensor) -> Tensor:
    """IoUs `(b, m)` at threshold 0."""
    answer, truth = logits > 0, (target > 0.5)[:, None]
    return (answer & truth).sum((2, 3)).float() / (answer | truth).sum((2, 3)).clamp(min=1)


def _losses(logits: Tensor, target: Tensor) -> Tensor:
    """Dice loss and twice the cross-entropy, `(b, m)`; far from the object, pixels count for less."""
    weight = _FAR + fn.max_pool2d(target[:, None], 17, stride=1, padding=8)
    truth = target[:, None].expand_as(logits)
    entropy = fn.binary_cross_entropy_with_logits(logits, truth, reduction="none") * weight
    shares = logits.sigmoid()
    overlap, area = (shares * truth).sum((2, 3)), (shares + truth).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (area + 1)
    return dice + 2 * entropy.sum((2, 3)) / weight.sum((2, 3))


def spoken(logits: Tensor, ious: Tensor, candidate: Tensor) -> Tensor:
    """Of each answer the one mask that the person gets to see, `(b, h, w)`: the candidate with the best predicted IoU
    where `candidate (b,)` says so, else the first."""
    shown = torch.where(candidate, 1 + ious[:, 1:].argmax(dim=1), 0)
    return logits[torch.arange(len(logits)), shown]
