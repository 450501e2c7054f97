"""SR3: what the network is shown, the paper's step by hand, and the exact posterior of Gaussian images."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.diffusion.ddpm import Ancestral
from reference_models.diffusion.schedule import Schedule
from reference_models.diffusion.sr3 import SR3
from reference_models.exact import off_by
from reference_models.parts.unet import UNet
from tests.reference_models.helpers import close, perturb

SHAPE = (1, 4, 4)


def betas() -> Tensor:
    return torch.linspace(0.01, 0.4, 12)


class Shown(nn.Module):
    """Remembers its inputs; says `constant` plus a little of the enlarged image."""

    def __init__(self, constant: float = 0.0) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.tensor(constant))
        self.calls: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor, gamma: Tensor) -> Tensor:
        self.calls.append((x, gamma))
        return self.constant + 0.1 * x[..., :1, :, :]


def model(network: nn.Module | None = None, **options) -> SR3:
    return SR3(network or Shown(), Schedule(betas()), SHAPE, 2, **options)


def test_the_network_sees_the_enlarged_image_first_and_the_noisy_one_second():
    network = Shown()
    low, x_t = torch.randn(3, 1, 2, 2), torch.randn(3, *SHAPE)
    model(network).predict(x_t, torch.tensor([0, 5, 11]), condition=low)
    shown, gamma = network.calls[0]
    assert close(shown[:, :1], F.interpolate(low, size=(4, 4), mode="bicubic"), 1e-12)
    assert close(shown[:, 1:], x_t, 0)
    assert close(gamma, (1 - betas()).cumprod(0)[[0, 5, 11]], 1e-12)


def test_reducing_takes_the_mean_of_squares():
    high = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert close(model().reduce(high), torch.tensor([[[[2.5, 4.5], [10.5, 12.5]]]]), 1e-12)
    assert close(model().reduce(high[0]), torch.tensor([[[2.5, 4.5], [10.5, 12.5]]]), 1e-12)


def test_one_step_is_equation_eleven():
    low, x, z = torch.randn(2, 1, 2, 2), torch.randn(2, *SHAPE), torch.randn(2, *SHAPE)
    sr3 = model(Shown(0.7))
    f = 0.7 + 0.1 * F.interpolate(low, size=(4, 4), mode="bicubic")
    beta, gamma = betas()[5], (1 - betas()).cumprod(0)[5]
    expected = (x - beta / (1 - gamma).sqrt() * f) / (1 - beta).sqrt() + beta.sqrt() * z
    guess = sr3.predict(x, torch.full((2,), 5), condition=low)
    assert close(Ancestral().step(sr3.process, guess, 5, 4, z), expected, 1e-10)


@pytest.mark.parametrize("norm", [1, 2])
def test_the_loss_is_at_the_noise_level_between_two_steps(norm):
    """γ = ᾱ_t + u (ᾱ_{t−1} − ᾱ_t), with ᾱ = 1 before the first; two constants, so that no sign can hide."""
    x_0, noise = torch.randn(3, *SHAPE), torch.randn(3, *SHAPE)
    t, u = torch.tensor([0, 4, 11]), torch.tensor([0.25, 0.5, 0.75])
    bars = torch.cat([torch.ones(1), (1 - betas()).cumprod(0)])
    gamma = bars[t + 1] + u * (bars[t] - bars[t + 1])
    g = gamma.reshape(3, 1, 1, 1)
    enlarged = F.interpolate(F.avg_pool2d(x_0, 2), size=(4, 4), mode="bicubic")
    for constant in (0.0, 3.0):
        network = Shown(constant)
        loss = model(network, norm=norm).loss(x_0, t=t, noise=noise, u=u)
        shown, level = network.calls[0]
        assert close(level, gamma, 1e-12)
        assert close(shown[:, 1:], g.sqrt() * x_0 + (1 - g).sqrt() * noise, 1e-12)
        assert close(loss, (constant + 0.1 * enlarged - noise).abs().pow(norm).mean(), 1e-12)


def test_noise_levels_fill_every_interval_evenly(generator):
    """Each interval (ᾱ_t, ᾱ_{t−1}) gets its share of 12000 draws: χ² with 11 degrees below 60, by chance 1e-8."""
    network = Shown()
    model(network).loss(torch.zeros(12000, *SHAPE), generator=generator)
    gamma = network.calls[0][1]
    bars = torch.cat([torch.ones(1), (1 - betas()).cumprod(0)])
    counts = torch.stack([((gamma > low) & (gamma <= high)).sum() for high, low in pairwise(bars)])
    assert int(counts.sum()) == 12000
    assert float(((counts - 1000.0) ** 2 / 1000).sum()) < 60
    within = (gamma - bars[12]) / (bars[11] - bars[12])
    within = within[(within > 0) & (within <= 1)]
    assert abs(float(within.mean()) - 0.5) < 5 * (1 / 12 / len(within)) ** 0.5


def test_samples_are_the_posterior_given_the_low_image(generator):
    """For x_0 = ȳ + N(0, s²), ȳ the enlarged image, the exact network gives the recursion's law around ȳ.

    20000 images of the same low one; mean and deviation of x − (its mean) within 5 standard errors, by chance 1e-6.
    """
    s = 0.5

    class Exact(nn.Module):
        def forward(self, x: Tensor, gamma: Tensor) -> Tensor:
            g = gamma.reshape(-1, 1, 1, 1)
            centre, x_t = x[:, :1], x[:, 1:]
            return (1 - g).sqrt() * (x_t - g.sqrt() * centre) / (g * s**2 + 1 - g)

    low = torch.tensor([[[[0.2, -1.0], [0.6, 1.1]]]])
    centre = F.interpolate(low, size=(4, 4), mode="bicubic")
    x = model(Exact()).sample(20000, condition=low.expand(20000, 1, 2, 2), generator=generator)
    bars, mean, variance = (1 - betas()).cumprod(0).tolist(), torch.zeros(1, *SHAPE), 1.0
    for t in reversed(range(12)):
        beta = float(betas()[t])
        shrink = (1 - beta / (bars[t] * s**2 + 1 - bars[t])) / (1 - beta) ** 0.5
        shift = beta * bars[t] ** 0.5 / (bars[t] * s**2 + 1 - bars[t]) / (1 - beta) ** 0.5
        mean = shrink * mean + shift * centre
        variance = shrink**2 * variance + (beta if t else 0.0)
    assert off_by(x - mean, 0.0, variance**0.5) < 5


def test_a_unet_can_be_trained(generator):
    network = perturb(UNet(2, 1, 8, (1, 2), time_scale=1000.0))
    sr3 = SR3(network, Schedule(betas()), SHAPE, 2)
    sr3.loss(torch.randn(4, *SHAPE), generator=generator).backward()
    assert all(float(p.grad.abs().max()) > 0 for p in network.parameters() if p.grad is not None)
    assert all(p.grad is not None for p in network.parameters())


def test_the_model_of_faces_has_the_size_of_the_paper():
    """550 million parameters for 16×16 to 128×128 (appendix A); within 1%, as the blocks are not the paper's."""
    with torch.device("meta"):
        count = sum(p.numel() for p in SR3.faces_network().parameters())
    assert abs(count / 550e6 - 1) < 0.01


def test_one_image_or_many_in_float32(generator):
    sr3 = model(perturb(UNet(2, 1, 8, (1, 2), time_scale=1000.0))).float()
    low = torch.randn(64, 1, 2, 2, dtype=torch.float32)
    x = sr3.sample(64, condition=low, times=[0, 11], generator=generator)
    assert x.dtype == torch.float32
    t = torch.full((64,), 3)
    many = sr3.predict(x, t, condition=low).epsilon
    assert close(sr3.predict(x[9], t[9], condition=low[9]).epsilon, many[9], 1e-4)
    assert sr3.loss(x[0], generator=generator).shape == ()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="height and width must be multiples of the factor 3"):
        SR3(Shown(), Schedule(betas()), SHAPE, 3)
    with pytest.raises(ValueError, match="factor must be at least 2, got 1"):
        SR3(Shown(), Schedule(betas()), SHAPE, 1)
    with pytest.raises(ValueError, match="norm must be one of 1, 2, got 3"):
        model(norm=3)
    with pytest.raises(ValueError, match=r"low must have shape \(1, 2, 2\)"):
        model().sample(1, condition=torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"noise must have shape \(3, 1, 4, 4\), got \(1, 1, 4, 4\)"):
        model().loss(torch.zeros(3, *SHAPE), noise=torch.zeros(1, *SHAPE))
    with pytest.raises(ValueError, match="needs the low-resolution image"):
        model().sample(1)
