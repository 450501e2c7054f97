"""Laws of samplers against simulation, hand calculation and the limits of small steps.

What the samplers of the library give is compared with them in the tests of these.
"""

from __future__ import annotations

import pytest
import torch

from reference_models.diffusion.sde import VE, VP, SubVP
from reference_models.exact import (
    ancestral_steps,
    ddim_steps,
    euler_steps,
    law_of_sampler,
    off_by,
    reverse_diffusion_steps,
)

M, S = 1.3, 0.4
SDES = [VP(0.3, 9.0), SubVP(0.3, 9.0), VE(0.2, 6.0)]


def bars(steps: int) -> list[float]:
    """From nearly all signal to nearly none: β grows from 0 to 20 a unit of time."""
    t = (torch.arange(steps) + 1) / steps
    return torch.exp(-(0.01 * t + 10 * t**2)).tolist()


def test_affine_steps_are_followed_as_in_a_simulation(generator):
    steps = [(0.5, 1.0, 0.3), (-2.0, 0.1, 0.0), (0.9, -1.0, 0.7)]
    x = 2.0 + 3.0 * torch.randn(100_000, generator=generator)
    for slope, offset, noise in steps:
        x = slope * x + offset + noise * torch.randn(100_000, generator=generator)
    law = law_of_sampler(steps, 2.0, 3.0)
    assert off_by(x, *law) < 5
    assert law.mean == pytest.approx(0.9 * (-2.0 * (0.5 * 2.0 + 1.0) + 0.1) - 1.0)
    assert law_of_sampler([(1.0, 0.0, 0.0)]) == (0.0, 1.0)


def test_a_law_slightly_off_is_seen(generator):
    x = torch.randn(10_000, generator=generator)
    assert off_by(x, 0.0, 1.0) < 5
    assert off_by(x, 0.1, 1.0) > 5
    assert off_by(x, 0.0, 1.1) > 5


@pytest.mark.parametrize("variance", ["small", "large"])
def test_many_ancestral_steps_give_the_data(variance):
    steps = ancestral_steps(bars(4000), range(4000), M, S, variance=variance)
    law = law_of_sampler(steps)
    assert law.mean == pytest.approx(M, abs=2e-3)
    assert law.std == pytest.approx(S, abs=2e-3)
    assert steps[-1].noise == 0


def test_an_ancestral_step_by_hand():
    """From ᾱ = 0.25 to ᾱ = 0.64: β = 1 − 0.25/0.64; then from there to the guess of the data."""
    first, last = ancestral_steps([0.64, 0.25], [0, 1], 0.0, 1.0, variance="small")
    beta = 1 - 0.25 / 0.64
    slope = 0.8 * beta / 0.75 * 0.5 + (1 - beta) ** 0.5 * 0.36 / 0.75  # the guess is x/2, as a² s² + σ² = 1
    assert first == pytest.approx((slope, 0.0, (beta * 0.36 / 0.75) ** 0.5))
    assert last == pytest.approx((0.8, 0.0, 0.0))
    assert ancestral_steps([0.64, 0.25], [1], 0.0, 1.0, variance="large") == [pytest.approx((0.5, 0.0, 0.0))]
    large, _ = ancestral_steps([0.64, 0.25], [0, 1], 0.0, 1.0, variance="large")
    assert large.noise == pytest.approx(beta**0.5)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_many_ddim_steps_give_the_data(eta):
    """Noise forgets the start; without any (η = 0) its distance from the marginal's mean would be carried on."""
    law = law_of_sampler(ddim_steps(bars(4000), range(4000), M, S, eta=eta), mean=bars(4000)[-1] ** 0.5 * M)
    assert law.mean == pytest.approx(M, abs=2e-3)
    assert law.std == pytest.approx(S, abs=2e-3)


def test_ddim_at_one_is_ancestral_sampling_with_the_small_variance():
    times = [0, 3, 7, 9]
    ours = ddim_steps(bars(10), times, M, S, eta=1.0)
    for a, b in zip(ours, ancestral_steps(bars(10), times, M, S, variance="small"), strict=True):
        assert a == pytest.approx(b, abs=1e-12)


@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize("steps_of", [euler_steps, reverse_diffusion_steps])
def test_many_steps_of_a_reverse_sde_lead_from_the_marginal_at_one_to_that_at_the_end(sde, steps_of):
    one, t = torch.ones(()), torch.tensor(0.001)
    start = float(sde.a(one)) * M, float(sde.a(one) ** 2 * S**2 + sde.sigma(one) ** 2) ** 0.5
    chain = steps_of(sde, 3000, 0.001, M, S**2)
    law = law_of_sampler(chain, *start)
    assert law.mean == pytest.approx(float(sde.a(t)) * M, abs=0.01)
    assert law.std == pytest.approx(float(sde.a(t) ** 2 * S**2 + sde.sigma(t) ** 2) ** 0.5, rel=0.01)
    assert [i for i, step in enumerate(chain) if step.noise == 0] == [2999]


def test_the_first_step_of_a_reverse_sde_by_hand():
    """From t = 1 to s = 0.55 of the variance-exploding SDE, whose signal stays whole: r = 1, no drift."""
    sde = VE(0.2, 6.0)
    v_t, v_s = (float(sde.sigma(torch.tensor(t))) ** 2 for t in (1.0, 0.55))
    q, v = v_t - v_s, S**2 + v_t
    first, _ = reverse_diffusion_steps(sde, 2, 0.1, M, S**2)
    assert first == pytest.approx((1 - q / v, q * M / v, q**0.5))
    g2 = float(sde.diffusion(torch.tensor(1.0))) ** 2
    first, _ = euler_steps(sde, 2, 0.1, M, S**2)
    assert first == pytest.approx((1 - 0.45 * g2 / v, 0.45 * g2 * M / v, (0.45 * g2) ** 0.5))
