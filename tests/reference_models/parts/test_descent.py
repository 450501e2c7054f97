"""One step of gradient descent, by hand."""

from __future__ import annotations

import pytest
import torch

from reference_models.parts.descent import descend
from tests.reference_models.helpers import close


def test_each_step_goes_its_rate_times_the_gradient_of_this_loss_alone():
    """By hand: SGD on a·w² with rates 0.1 and 0.5; decays are of the first rate, not of the last one."""
    slow, fast = (torch.tensor([1.0, -2.0], requires_grad=True) for _ in range(2))
    optimiser = torch.optim.SGD([{"params": [slow]}, {"params": [fast], "lr": 0.5}], lr=0.1)
    expected = [slow.detach().clone(), fast.detach().clone()]
    (7 * slow.sum() + 7 * fast.sum()).backward()  # left behind by another loss
    for decay in (1.0, 0.5, 0.5, 0.0):
        descend(optimiser, (slow.square() + fast.square()).sum(), decay)
        expected = [w - decay * rate * 2 * w for w, rate in zip(expected, (0.1, 0.5), strict=True)]
        assert close(slow.detach(), expected[0], 1e-12)
        assert close(fast.detach(), expected[1], 1e-12)


def test_without_a_decay_the_rate_is_the_optimisers():
    w = torch.zeros((), requires_grad=True)
    descend(torch.optim.SGD([w], lr=0.25), 4 * w)
    assert w.item() == pytest.approx(-1.0)
