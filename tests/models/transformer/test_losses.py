import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from al_platform.models.imbalance import balanced_weights
from al_platform.models.transformer.losses import page_losses

EVEN = torch.ones(2)


def test_the_focal_loss_of_one_page_is_that_of_the_formula():
    # Two logits ln 3 and 0 give the truth a probability of 3/4: (1 - 3/4)^2 * -ln(3/4).
    loss = page_losses(torch.tensor([[math.log(3), 0.0]]), torch.tensor([[1.0, 0.0]]), EVEN, 2.0, is_multi=False)
    assert loss.tolist() == pytest.approx([0.0625 * math.log(4 / 3)])


def test_the_focal_loss_of_several_labels_adds_each_decision_up():
    # Probabilities 3/4 and 1/2, the first label right, the second wrong: each decision has its own factor.
    logits = torch.tensor([[math.log(3), 0.0]])
    loss = page_losses(logits, torch.tensor([[1.0, 0.0]]), torch.tensor([2.0, 5.0]), 2.0, is_multi=True)
    assert loss.tolist() == pytest.approx([2 * 0.0625 * math.log(4 / 3) + 0.25 * math.log(2)])


@pytest.mark.parametrize("is_multi", [False, True])
def test_without_a_focus_the_loss_is_torchs_cross_entropy(is_multi):
    generator = torch.Generator().manual_seed(0)
    logits, truth = torch.randn(8, 4, generator=generator), torch.arange(8) % 4
    targets, weights = F.one_hot(truth, 4).float(), torch.tensor([1.0, 2.0, 0.5, 3.0])
    found = page_losses(logits, targets, weights, 0.0, is_multi=is_multi)
    if is_multi:
        expected = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="none").sum(dim=1)
    else:
        expected = F.cross_entropy(logits, truth, weight=weights, reduction="none")
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("is_multi", [False, True])
def test_certain_answers_have_finite_gradients(is_multi):
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    page_losses(logits, torch.tensor([[1.0, 0.0], [1.0, 0.0]]), EVEN, 2.0, is_multi=is_multi).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_balanced_weights_make_classes_count_the_same_up_to_the_limit():
    targets, ones = np.repeat(np.eye(3, dtype=np.float32)[:2], [8, 2], axis=0), np.ones(10, dtype=np.float32)
    assert balanced_weights(targets, ones, is_multi=False, limit=10).tolist() == pytest.approx([0.625, 2.5, 1])
    assert balanced_weights(targets, ones, is_multi=True, limit=3).tolist() == pytest.approx([1 / 3, 3, 1])
