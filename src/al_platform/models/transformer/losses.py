"""Losses of a page: cross-entropy and focal, single- and multi-label."""

import torch
import torch.nn.functional as F
from torch import Tensor


def page_losses(logits: Tensor, targets: Tensor, class_weights: Tensor, gamma: float, *, is_multi: bool) -> Tensor:
    """Return the loss of each page, shape (B,).

    The focal loss of a decision with probability p for the truth is ``-(1 - p)^gamma log p`` (Lin et al. 2017, eq. 4);
    gamma 0 is cross-entropy.

    Args:
        logits: Shape (B, C).
        targets: Indicator matrix of shape (B, C).
        class_weights: How much a positive row of each class counts, shape (C,).
        gamma: How much less counts what is right already.
        is_multi: Whether each column is a decision of its own, whose losses are added up.
    """
    logits = logits.float()
    if is_multi:
        loss = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=class_weights, reduction="none")
        right = torch.sigmoid(torch.where(targets > 0, logits, -logits))  # (B, C)
        return (_focus(right, gamma) * loss).sum(dim=1)
    log_right = (F.log_softmax(logits, dim=1) * targets).sum(dim=1)  # (B,)
    return -_focus(log_right.exp(), gamma) * log_right * (targets @ class_weights)


def _focus(right: Tensor, gamma: float) -> Tensor:
    # The gradient of 0 ** gamma is infinite below 1: a certain answer must not end in NaN.
    return (1 - right).clamp(min=1e-7) ** gamma if gamma else torch.ones_like(right)
