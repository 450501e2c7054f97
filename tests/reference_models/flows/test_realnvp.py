"""RealNVP: masks by hand, what passes through and what moves, batch normalisation, the paper's size."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from reference_models.flows.realnvp import (
    AffineCoupling,
    InvertibleBatchNorm,
    RealNVP,
    alternating_mask,
    channel_mask,
    checkerboard_mask,
)
from tests.reference_models.helpers import close, jacobian, log_abs_det, perturb

IMAGE = (2, 4, 4)


def test_the_masks_are_those_of_figure_3() -> None:
    assert checkerboard_mask((1, 2, 4), 0).tolist() == [[[0, 1, 0, 1], [1, 0, 1, 0]]]
    assert checkerboard_mask((1, 2, 4), 1).tolist() == [[[1, 0, 1, 0], [0, 1, 0, 1]]]
    assert channel_mask((4, 1, 1), 0).flatten().tolist() == [1, 1, 0, 0]
    assert channel_mask((4, 1, 1), 1).flatten().tolist() == [0, 0, 1, 1]
    assert alternating_mask(5, 0).tolist() == [1, 0, 1, 0, 1]
    assert alternating_mask(5, 1).tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    "mask",
    [alternating_mask(4, 0), checkerboard_mask(IMAGE, 1), channel_mask(IMAGE, 0)],
    ids=["alternating", "checkerboard", "channels"],
)
def test_a_coupling_keeps_what_its_mask_covers_and_the_rest_follows_eq_9(mask: torch.Tensor) -> None:
    coupling = perturb(AffineCoupling(mask.to(torch.get_default_device()), hidden=(8,), width=4))
    x = torch.randn(3, *mask.shape)
    b = coupling.mask
    s, t = coupling.s_and_t(x, None)
    z, logdet = coupling(x)
    assert torch.equal(z[:, b], x[:, b])
    assert close(z[:, ~b], (x * torch.exp(s) + t)[:, ~b], 1e-12)
    assert float((z - x).detach()[:, ~b].abs().min()) > 1e-6
    assert close(logdet, s[:, ~b].sum(1), 1e-12)
    assert close(logdet, log_abs_det(lambda one: coupling(one)[0], x), 1e-9)


def test_s_and_t_see_only_what_passes_through() -> None:
    coupling = perturb(AffineCoupling(checkerboard_mask((1, 2, 4), 0), width=4))
    x = torch.randn(1, 2, 4)
    moved = x + torch.where(coupling.mask, 0.0, 1.0)
    for one, other in zip(coupling.s_and_t(x[None], None), coupling.s_and_t(moved[None], None), strict=True):
        assert torch.equal(one, other)
    assert float(coupling(x)[1]) != 0.0


@pytest.mark.parametrize("shape", [(5,), (1, 4, 4)])
def test_after_the_stack_every_input_moves_every_output(shape: tuple[int, ...]) -> None:
    flow = perturb(RealNVP(shape, couplings=4, hidden=(16,), scales=2, width=8), 0.3)
    dependence = sum(jacobian(lambda one: flow.forward(one)[0], x).abs() for x in torch.randn(4, *shape))
    assert bool((dependence.sum(0) > 1e-6).all())
    assert bool(((dependence > 1e-9).sum(1) > 1).all())


def test_the_two_levels_have_six_couplings_and_four() -> None:
    flow = RealNVP((1, 8, 8), scales=2, width=4)
    first, last = ([m for m in level.modules() if isinstance(m, AffineCoupling)] for level in flow.transform.levels)
    assert [tuple(m.event_shape) for m in first] == [(1, 8, 8)] * 3 + [(4, 4, 4)] * 3
    assert [tuple(m.event_shape) for m in last] == [(2, 4, 4)] * 4
    for couplings in (first[:3], first[3:], last):
        for one, other in pairwise(couplings):
            assert bool((one.mask ^ other.mask).all())
    assert [m.enter.out_channels for m in (c.net for c in (*first, *last))] == [4] * 3 + [8] * 7


def test_the_scales_are_the_network_s_unless_bounded() -> None:
    net = torch.nn.Linear(4, 8)
    coupling = AffineCoupling(alternating_mask(4, 0), net=net)
    x = 10 * torch.randn(20, 4)
    s, t = net(torch.where(coupling.mask, x, 0.0)).chunk(2, dim=1)
    z, logdet = coupling(x)
    assert close(z, torch.where(coupling.mask, x, x * s.exp() + t), 1e-12)
    assert close(logdet, torch.where(coupling.mask, 0.0, s).sum(1), 1e-12)
    assert float(s.abs().max()) > 1
    assert {m.a is None for m in RealNVP((2,), couplings=2).modules() if isinstance(m, AffineCoupling)} == {False}


def test_the_scales_are_bounded() -> None:
    """s = a tanh(raw): |s| ≤ |a| for the largest weights."""
    coupling = perturb(AffineCoupling(alternating_mask(4, 0), hidden=(8,), bounded=True), 50.0)
    assert coupling.a is not None
    with torch.no_grad():
        coupling.a.fill_(2.0)
    s, _ = coupling.s_and_t(100 * torch.randn(64, 4), None)
    assert 1.99 < float(s.abs().max()) <= 2.0


def test_batch_normalisation_takes_the_batch_in_training_and_the_running_statistics_after() -> None:
    """Against torch's own layer with the same momentum; running variances are the biased ones here."""
    ours, theirs = InvertibleBatchNorm((3, 4, 4)), torch.nn.BatchNorm2d(3, affine=False)
    for _ in range(3):
        x = 2 * torch.randn(8, 3, 4, 4) + 1
        assert close(ours(x)[0], theirs(x), 1e-12)
    assert close(ours.mean, theirs.running_mean, 1e-12)
    unbiased = 8 * 16 / (8 * 16 - 1)
    assert close((ours.var - 0.9**3) * unbiased + 0.9**3, theirs.running_var, 1e-12)
    ours.eval()
    z, logdet = ours(x)
    assert close(z[0], (x[0] - ours.mean[:, None, None]) / torch.sqrt(ours.var + 1e-5)[:, None, None], 1e-12)
    assert close(logdet, log_abs_det(lambda one: ours(one)[0], x[:1]).expand(8), 1e-9)
    mean = ours.mean.clone()
    ours(x + 5)
    assert torch.equal(ours.mean, mean)


def test_the_log_determinant_of_a_training_batch_holds_its_statistics_fixed() -> None:
    layer = InvertibleBatchNorm((2, 2, 2))
    x = 3 * torch.randn(16, 2, 2, 2)
    variance = x.transpose(0, 1).flatten(1).var(1, unbiased=False)
    assert close(layer(x)[1], (-0.5 * 4 * torch.log(variance + 1e-5).sum()).expand(16), 1e-10)


def test_the_paper_s_cifar_model_has_ten_networks_of_eight_residual_blocks() -> None:
    """By hand; the paper states no total. A convolution k×k from m to n maps has k²mn weights, n biases and n norms."""
    with torch.device("meta"):
        model = RealNVP.cifar10()

    def convolution(k: int, m: int, n: int) -> int:
        return k * k * m * n + 2 * n

    def coupling(channels: int, width: int) -> int:
        blocks = 8 * 2 * convolution(3, width, width) + 9 * convolution(1, width, width)
        return convolution(3, channels, width) + blocks + convolution(1, width, 2 * channels) + 1

    expected = 3 * coupling(3, 64) + 3 * coupling(12, 128) + 4 * coupling(6, 128)
    assert sum(p.numel() for p in model.parameters()) == expected


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="the dimension of a coupling flow must be at least 2, got 1"):
        RealNVP((1,))
    with pytest.raises(ValueError, match=r"even number of channels, got 3 in \(3, 2, 2\)"):
        channel_mask((3, 2, 2), 0)
    with pytest.raises(ValueError, match="must keep some and move some, got one of all 1"):
        AffineCoupling(torch.ones(4))
    with pytest.raises(ValueError, match=r"even H and W, got \(1, 7, 8\)"):
        RealNVP((1, 7, 8))
    with pytest.raises(ValueError, match=r"event_shape must be \(D,\) or \(C, H, W\), got \(4, 4\)"):
        RealNVP((4, 4))
    with pytest.raises(ValueError, match="conditions are for vectors"):
        RealNVP((1, 4, 4), condition_dim=2)
    with pytest.raises(ValueError, match="needs two values a channel, got 1"):
        InvertibleBatchNorm((2,))(torch.randn(2))
    with pytest.raises(ValueError, match=r"momentum must lie in \(0, 1\), got 0"):
        InvertibleBatchNorm((2,), momentum=0)
