"""Averaged weights by hand; modes and gradients as they were before."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from reference_models.parts.training import EMA, evaluating, freeze
from tests.reference_models.helpers import close


def test_the_average_follows_the_weights_by_hand():
    model = nn.Linear(1, 1)
    start = model.weight.detach().clone()
    ema = EMA(model, 0.9)
    expected = start
    for value in (1.0, -2.0, 5.0):
        nn.init.constant_(model.weight, value)
        ema.update(model)
        expected = 0.9 * expected + 0.1 * value
    assert close(ema.average.weight.detach(), expected, 1e-12)
    assert not ema.average.weight.requires_grad


def test_the_average_copies_buffers_and_keeps_the_model_apart():
    model = nn.BatchNorm1d(2)
    ema = EMA(model, 0.5)
    model.train()(torch.randn(8, 2))
    ema.update(model)
    assert close(ema.average.running_mean, model.running_mean, 0.0)
    assert ema.average.running_mean is not model.running_mean
    with pytest.raises(ValueError, match=r"decay must lie in \(0, 1\), got 1.0"):
        EMA(model, 1.0)


def test_frozen_modules_let_gradients_through_and_take_none():
    net, x = nn.Linear(2, 1), torch.randn(3, 2, requires_grad=True)
    net.bias.requires_grad_(False)
    with freeze(net):
        net(x).sum().backward()
    assert net.weight.grad is None
    assert x.grad is not None
    assert net.weight.requires_grad
    assert not net.bias.requires_grad  # it was so before
    with pytest.raises(RuntimeError, match="stop"), freeze(net):
        raise RuntimeError("stop")
    assert net.weight.requires_grad


def test_evaluation_mode_is_temporary_module_by_module():
    net = nn.Sequential(nn.Dropout(), nn.Dropout()).train()
    net[1].eval()
    with evaluating(net):
        assert not any(module.training for module in net.modules())
        assert not torch.is_grad_enabled()
    assert [net.training, net[0].training, net[1].training] == [True, True, False]
    assert torch.is_grad_enabled()
