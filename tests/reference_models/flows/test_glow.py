"""Glow: ActNorm's first batch, the coupling, the learned prior, the paper's size."""

from __future__ import annotations

import pytest
import torch

from reference_models.flows.change_of_variables import Composed
from reference_models.flows.glow import ActNorm, ConditionalGaussian, Glow, GlowCoupling
from reference_models.flows.linear import InvertibleLinear
from tests.reference_models.helpers import close, jacobian, log_abs_det, perturb


@pytest.mark.parametrize("shape", [(3, 4, 2), (5,)])
def test_the_first_batch_leaves_actnorm_with_mean_zero_and_variance_one(shape: tuple[int, ...]) -> None:
    layer = ActNorm(shape)
    x = 3 * torch.randn(64, *shape) + torch.arange(1.0, shape[0] + 1).reshape(-1, *[1] * (len(shape) - 1))
    channels = layer(x)[0].transpose(0, 1).flatten(1)
    assert close(channels.mean(1), torch.zeros(shape[0]), 1e-12)
    assert close(channels.var(1, unbiased=False), torch.ones(shape[0]), 1e-12)


def test_the_second_batch_does_not_set_it_again_nor_does_a_loaded_one() -> None:
    layer = ActNorm((2, 2, 2))
    layer(2 * torch.randn(16, 2, 2, 2))
    kept = {name: value.clone() for name, value in layer.state_dict().items()}
    layer(5 + 7 * torch.randn(16, 2, 2, 2))
    assert all(torch.equal(value, kept[name]) for name, value in layer.state_dict().items())
    other = ActNorm((2, 2, 2))
    other.load_state_dict(layer.state_dict())
    other(5 + 7 * torch.randn(16, 2, 2, 2))
    assert torch.equal(other.log_s, layer.log_s)


def test_actnorm_waits_for_training() -> None:
    layer = ActNorm((2,)).eval()
    x = 4 * torch.randn(8, 2)
    assert torch.equal(layer(x)[0], x)
    assert not bool(layer.initialised)
    layer.inverse(x)
    layer.train()(x)
    assert bool(layer.initialised)


def test_the_scale_of_actnorm_counts_every_pixel() -> None:
    layer = perturb(ActNorm((3, 4, 2))).eval()
    x = torch.randn(2, 3, 4, 2)
    assert close(layer(x)[1], (8 * layer.log_s.sum()).expand(2), 1e-12)
    assert close(layer(x)[1], log_abs_det(lambda one: layer(one)[0], x), 1e-9)


def test_a_coupling_starts_by_scaling_with_sigmoid_2_and_keeps_its_second_half() -> None:
    coupling = GlowCoupling((4, 2, 2), 8)
    x = torch.randn(3, 4, 2, 2)
    z, logdet = coupling(x)
    assert close(z[:, :2], torch.sigmoid(torch.tensor(2.0)) * x[:, :2], 1e-12)
    perturb(coupling)
    z, logdet = coupling(x)
    assert torch.equal(z[:, 2:], x[:, 2:])
    raw, t = coupling.net(x[:, 2:]).chunk(2, dim=1)
    assert close(z[:, :2], torch.sigmoid(raw + 2) * x[:, :2] + t, 1e-12)
    assert close(logdet, torch.log(torch.sigmoid(raw + 2)).flatten(1).sum(1), 1e-12)


def test_the_learned_prior_is_a_normal_given_the_condition() -> None:
    layer = perturb(ConditionalGaussian((2, 2, 2)))
    x, h = torch.randn(3, 2, 2, 2), torch.randn(3, 2, 2, 2)
    z, logdet = layer(x, condition=h)
    mean, log_std = layer.net(h).chunk(2, dim=1)
    expected = torch.distributions.Normal(mean, log_std.exp()).log_prob(x).flatten(1).sum(1)
    standard = torch.distributions.Normal(torch.zeros(()), torch.ones(())).log_prob(z).flatten(1).sum(1)
    assert close(standard + logdet, expected, 1e-10)
    back, inverse_logdet = layer.inverse(z, condition=h)
    assert close(back, x, 1e-10)
    assert close(inverse_logdet, -logdet, 1e-10)


def test_a_step_is_actnorm_then_the_convolution_then_the_coupling() -> None:
    flow = Glow((1, 8, 8), levels=2, steps=3, hidden=4)
    for level in flow.transform.levels:
        assert isinstance(level, Composed)
        kinds = [type(part) for part in level.transforms][1:]
        assert kinds == [ActNorm, InvertibleLinear, GlowCoupling] * 3


def test_every_input_moves_every_level() -> None:
    flow = perturb(Glow((1, 4, 4), levels=2, steps=2, hidden=8), 0.3).eval()
    dependence = sum(jacobian(lambda one: flow.forward(one)[0], x).abs() for x in torch.randn(4, 1, 4, 4))
    assert bool((dependence > 1e-9).all())


def test_the_cifar_model_has_44_million_parameters() -> None:
    """By hand, the paper states no total: a step over C channels has a scale, a shift and a C×C matrix, and a network
    3×3 (C/2 → 512), 1×1 (512 → 512), 3×3 (512 → C), each with bias; priors are one 3×3 each.
    """
    with torch.device("meta"):
        model = Glow.cifar10()

    def step(C: int) -> int:
        network = (9 * C // 2 + 1) * 512 + (512 + 1) * 512 + (9 * 512 + 1) * C
        return 2 * C + C * C + network

    priors = sum((9 * C + 1) * 2 * C for C in (6, 12))
    count = sum(p.numel() for p in model.parameters())
    assert count == 32 * (step(12) + step(24) + step(48)) + priors
    assert round(count / 1e6, 1) == 44.0


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"when their number is odd, got \(3, 2, 2\)"):
        GlowCoupling((3, 2, 2), 4)
    with pytest.raises(ValueError, match="levels must be at least 1, got 0"):
        Glow((1, 4, 4), levels=0)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        Glow((1, 4, 4), steps=0)
    with pytest.raises(ValueError, match=r"even H and W, got \(2, 3, 3\)"):
        Glow((1, 6, 6), levels=2)
    with pytest.raises(ValueError, match="varies in every channel, got deviations"):
        ActNorm((2,))(torch.ones(4, 2))
