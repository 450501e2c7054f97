"""Langevin dynamics: exact discrete-time moments, detailed balance, and modes weighted as they should be."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from reference_models.foundations.langevin import (
    annealed_langevin,
    annealed_step_sizes,
    langevin,
    langevin_step,
    mala,
    mala_log_acceptance,
)
from reference_models.parts.distributions import DiagonalNormal, GaussianMixture
from tests.reference_models.helpers import close


def standard_score(x: torch.Tensor) -> torch.Tensor:
    return -x


def test_one_step_is_the_formula():
    x, score, noise = torch.randn(3, 64, 2)
    assert close(langevin_step(x, score, 0.3, noise), x + 0.15 * score + math.sqrt(0.3) * noise, 1e-12)


@pytest.mark.parametrize("step_size", [0.1, 0.4])
def test_the_stationary_variance_is_that_of_the_discretisation(step_size, generator):
    """For N(0, 1): 1/(1 − η/4), not 1. 20000 chains started at it, 60 steps; 5 standard errors, 6e-7."""
    exact = 1 / (1 - step_size / 4)
    start = exact**0.5 * torch.randn(20000, 1, generator=generator, device=generator.device)
    x = langevin(standard_score, start, step_size=step_size, steps=60, generator=generator)
    assert abs(float(x.var()) - exact) < 5 * exact * math.sqrt(2 / 20000)
    assert abs(float(x.mean())) < 5 * math.sqrt(exact / 20000)


def test_moments_after_a_few_steps_follow_the_recursion(generator):
    """From x₀ = 3: mean (1 − η/2)ⁿ 3, variance Σ η (1 − η/2)^{2k}; n = 1, 2, 5."""
    eta, start = 0.5, torch.full((20000, 1), 3.0)
    for n in (1, 2, 5):
        x = langevin(standard_score, start, step_size=eta, steps=n, generator=generator)
        mean, variance = 3 * (1 - eta / 2) ** n, sum(eta * (1 - eta / 2) ** (2 * k) for k in range(n))
        assert abs(float(x.mean()) - mean) < 5 * math.sqrt(variance / 20000)
        assert abs(float(x.var()) - variance) < 5 * variance * math.sqrt(2 / 20000)


def test_denoising_leaves_the_noise_out_of_the_last_step_alone(device):
    def run(steps: int, denoise: bool) -> torch.Tensor:
        same = torch.Generator(device).manual_seed(5)
        return langevin(standard_score, torch.ones(4, 2), step_size=0.2, steps=steps, generator=same, denoise=denoise)

    before = run(2, False)
    assert close(run(3, True), before - 0.1 * before, 1e-12)
    assert not close(run(3, False), run(3, True), 1e-3)


def test_chains_are_independent_and_the_start_is_not_changed(generator):
    start = torch.zeros(64, 2)
    x = langevin(standard_score, start, step_size=0.3, steps=5, generator=generator)
    assert bool((start == 0).all())
    assert len(x.unique(dim=0)) == 64
    assert langevin(standard_score, torch.zeros(2), step_size=0.3, steps=2, generator=generator).shape == (2,)
    assert torch.equal(langevin(standard_score, start, step_size=0.3, steps=0), start)


# --- Metropolis-adjusted


def mixture() -> GaussianMixture:
    return GaussianMixture(
        torch.tensor([0.3, 0.7]), torch.tensor([[-1.0, 0.0], [1.0, 0.5]]), 0.5 * torch.eye(2).repeat(2, 1, 1)
    )


@pytest.mark.parametrize("batch", [(), (64,)])
def test_acceptance_is_the_ratio_of_joint_densities(batch):
    """log p(x') r(x|x') − log p(x) r(x'|x) with torch's normal density for r, cut at 0."""
    target, eta = mixture(), 0.8
    x, proposed = torch.randn(*batch, 2), torch.randn(*batch, 2)

    def log_r(to, start):
        return Normal(start + eta / 2 * target.score(start), math.sqrt(eta)).log_prob(to).sum(-1)

    ratio = target.log_prob(proposed) + log_r(x, proposed) - target.log_prob(x) - log_r(proposed, x)
    found = mala_log_acceptance(target.log_prob, target.score, x, proposed, eta)
    assert close(found, ratio.clamp(max=0), 1e-10)


def test_images_are_accepted_as_the_vectors_they_flatten_to():
    target = DiagonalNormal(torch.randn(6), torch.randn(6))
    x, proposed = torch.randn(2, 5, 1, 2, 3)

    def of_images(f):
        return lambda image: f(image.flatten(-3))

    as_vectors = mala_log_acceptance(target.log_prob, target.score, x.flatten(-3), proposed.flatten(-3), 0.7)
    as_images = mala_log_acceptance(
        of_images(target.log_prob), lambda image: target.score(image.flatten(-3)).reshape(image.shape), x, proposed, 0.7
    )
    assert close(as_images, as_vectors, 1e-12)
    assert mala(of_images(target.log_prob), x, step_size=0.1, steps=2).x.shape == x.shape


def test_detailed_balance_holds():
    """p(x) r(x'|x) a(x, x') is symmetric in x and x'."""
    target, eta = mixture(), 0.8
    x, y = torch.randn(2, 64, 2)

    def flow(a, b):
        log_r = Normal(a + eta / 2 * target.score(a), math.sqrt(eta)).log_prob(b).sum(-1)
        return target.log_prob(a) + log_r + mala_log_acceptance(target.log_prob, target.score, a, b, eta)

    assert close(flow(x, y), flow(y, x), 1e-10)


def test_the_target_is_invariant_at_a_step_that_biases_the_unadjusted_chain(generator):
    """N(0, 1), η = 1.2, 20000 chains started there: variance 1 within 5 standard errors, where ULA has 1.43."""
    target = DiagonalNormal(torch.zeros(1), torch.zeros(1))
    start = torch.randn(20000, 1, generator=generator, device=generator.device)
    found = mala(target.log_prob, start, step_size=1.2, steps=10, generator=generator)
    assert abs(float(found.x.var()) - 1) < 5 * math.sqrt(2 / 20000)
    assert abs(float(found.x.mean())) < 5 / math.sqrt(20000)
    assert found.acceptance.shape == (20000,)
    assert 0.5 < float(found.acceptance.mean()) < 0.99


def test_rejected_proposals_leave_the_chain_where_it_was(generator):
    """A step far too long: what moved was accepted, what was not accepted did not move."""
    target = DiagonalNormal(torch.zeros(3), torch.zeros(3))
    start = torch.randn(200, 3, generator=generator, device=generator.device)
    found = mala(target.log_prob, start, step_size=6.0, steps=1, generator=generator)
    moved = (found.x != start).any(dim=1)
    assert torch.equal(moved, found.acceptance == 1)
    assert 0 < int(moved.sum()) < 200


def test_the_score_is_found_by_autograd_when_it_is_not_given(device):
    target = mixture()
    runs = [
        mala(
            target.log_prob,
            torch.ones(8, 2),
            step_size=0.5,
            steps=4,
            score=score,
            generator=torch.Generator(device).manual_seed(2),
        ).x
        for score in (None, target.score)
    ]
    assert close(runs[0], runs[1], 1e-9)


def test_one_chain_alone_has_no_batch(generator):
    found = mala(mixture().log_prob, torch.zeros(2), step_size=0.2, steps=3, generator=generator)
    assert found.x.shape == (2,)
    assert found.acceptance.shape == ()


# --- annealed


def test_step_sizes_fall_as_the_square_of_the_noise():
    sizes = annealed_step_sizes(torch.tensor([4.0, 2.0, 1.0]), 0.1)
    assert sizes.tolist() == pytest.approx([1.6, 0.4, 0.1])


def test_annealing_visits_the_levels_in_order_each_with_its_step(device):
    """Score −x/σ² and no noise to speak of: the factor a level is (1 − ε/2σ_L²)ⁿ; the score sees each σ n times."""
    seen = []

    def score(x, sigma):
        seen.append(float(sigma))
        return -x / sigma**2

    sigmas = torch.tensor([3.0, 1.0, 0.5])
    start = torch.full((2, 1), 1e6)
    x = annealed_langevin(
        score, start, sigmas, smallest_step=0.1, steps=2, generator=torch.Generator(device).manual_seed(0)
    )
    assert seen == [3.0, 3.0, 1.0, 1.0, 0.5, 0.5]
    assert float(x.mean()) == pytest.approx(1e6 * (1 - 0.1 / (2 * 0.25)) ** 6, rel=1e-4)


def test_denoising_at_the_end_is_one_half_step_of_the_score(device):
    """With the same noise elsewhere, the end differs by √η ε alone; two levels of one step each."""

    def run(denoise: bool) -> torch.Tensor:
        same = torch.Generator(device).manual_seed(3)
        sigmas = torch.tensor([2.0, 1.0])
        return annealed_langevin(
            lambda x, sigma: -x, torch.ones(50, 1), sigmas, smallest_step=0.1, steps=1, generator=same, denoise=denoise
        )

    same = torch.Generator(device).manual_seed(3)
    torch.randn(50, 1, generator=same, device=device)
    second = torch.randn(50, 1, generator=same, device=device)
    assert close(run(False) - run(True), math.sqrt(0.1) * second, 1e-12)


def test_annealing_weighs_modes_that_plain_dynamics_never_leaves(generator):
    """Modes at ±6 of weight 0.8 and 0.2, 2000 chains from N(0, 36): annealed share 0.8 ± 0.06; plain, from the same
    start, about half. The annealed share is biased by finite steps; the seed is fixed.
    """
    means, cov = torch.tensor([[6.0], [-6.0]]), 0.25 * torch.eye(1).repeat(2, 1, 1)
    target = GaussianMixture(torch.tensor([0.8, 0.2]), means, cov)
    start = 6 * torch.randn(2000, 1, generator=generator, device=generator.device)
    sigmas = torch.tensor([10.0 * 0.75**i for i in range(16)])
    annealed = annealed_langevin(
        lambda x, sigma: target.noised(1.0, sigma).score(x),
        start,
        sigmas,
        smallest_step=0.2 * float(sigmas[-1]) ** 2,
        steps=30,
        generator=generator,
        denoise=True,
    )
    plain = langevin(target.score, start, step_size=0.02, steps=480, generator=generator)
    assert abs(float((annealed > 0).to(start.dtype).mean()) - 0.8) < 0.06
    assert abs(float((plain > 0).to(start.dtype).mean()) - 0.5) < 0.06


def test_float32_stays_float32(generator):
    start = torch.zeros(4, 2, dtype=torch.float32)
    assert langevin(standard_score, start, step_size=0.1, steps=2, generator=generator).dtype == torch.float32
    target = DiagonalNormal(torch.zeros(2, dtype=torch.float32), torch.zeros(2, dtype=torch.float32))
    found = mala(target.log_prob, start, step_size=0.1, steps=2, generator=generator)
    assert found.x.dtype == found.acceptance.dtype == torch.float32


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="step_size must be positive, got 0"):
        langevin(standard_score, torch.zeros(2), step_size=0, steps=1)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        mala(mixture().log_prob, torch.zeros(2), step_size=0.1, steps=0)
    with pytest.raises(ValueError, match=r"noise levels must fall strictly, shape \(L,\), got \[1.0, 2.0\]"):
        annealed_step_sizes(torch.tensor([1.0, 2.0]), 0.1)
    with pytest.raises(ValueError, match=r"every sigma must be positive, got values in \[0, 1\]"):
        annealed_step_sizes(torch.tensor([1.0, 0.0]), 0.1)
