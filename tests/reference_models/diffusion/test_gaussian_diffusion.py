"""Forward process, posteriors and bound against dense joint Gaussians, torch.distributions and SciPy."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from reference_models.diffusion.gaussian_diffusion import (
    GaussianDiffusion,
    discretised_normal_log_prob,
)
from reference_models.diffusion.schedule import Schedule
from reference_models.exact import best_guess
from tests.reference_models.helpers import close, numpy, standard_errors

T = 5
M, S = 1.5, 0.6


def betas() -> Tensor:
    return torch.tensor([0.02, 0.15, 0.3, 0.4, 0.7])


def process(**options) -> GaussianDiffusion:
    return GaussianDiffusion(Schedule(betas()), **options)


def forward_chain(x_0: float) -> tuple[Tensor, Tensor]:
    """Mean and covariance of (x_1..x_T) given x_0, from the kernels N(√(1−β) x, β) one after the other."""
    mean, covariance = torch.zeros(T), torch.zeros(T, T)
    before_mean, before_row, before_variance = x_0, torch.zeros(T), 0.0
    for t in range(T):
        keep = float(1 - betas()[t]) ** 0.5
        row = keep * before_row
        row[t] = variance = keep**2 * before_variance + float(betas()[t])
        mean[t] = before_mean = keep * before_mean
        covariance[t, :] = covariance[:, t] = row
        covariance[t, t] = variance
        before_row, before_variance = row.clone(), variance
    return mean, covariance


def reverse_chain(kernels: list[tuple[float, float, float]]) -> tuple[Tensor, Tensor]:
    """Mean and covariance of (x_0..x_T): x_T ~ N(0, 1), x_{t−1} = A x_t + B + N(0, V), kernels from t = T down."""
    mean, covariance = torch.zeros(T + 1), torch.zeros(T + 1, T + 1)
    covariance[T, T] = 1.0
    for t, (a, b, v) in zip(range(T, 0, -1), kernels, strict=True):
        mean[t - 1] = a * mean[t] + b
        covariance[t - 1, :] = covariance[:, t - 1] = a * covariance[t, :]
        covariance[t - 1, t - 1] = a * a * covariance[t, t] + v
    return mean, covariance


def test_one_step_keeps_root_one_minus_beta():
    q = process().transition(torch.tensor([2.0, -1.0]), 2)
    assert close(q.mean, torch.tensor([2.0, -1.0]) * 0.7**0.5, 1e-14)
    assert close(q.variance.expand(2), torch.full((2,), 0.3), 1e-14)


def test_marginals_are_the_composition_of_steps():
    mean, covariance = forward_chain(1.3)
    for t in range(T):
        q = process().marginal(torch.tensor([1.3]), t)
        assert close(q.mean, mean[t : t + 1], 1e-12)
        assert close(q.variance, covariance[t, t].reshape(1), 1e-12)


def test_the_posterior_is_bayes_rule_for_every_pair_of_times():
    """By conditioning the dense joint Gaussian of (x_s, x_t) given x_0; at s = −1 it is the point x_0."""
    x_0, x_t = 1.3, -0.7
    mean, covariance = forward_chain(x_0)
    for t in range(T):
        at_data = process().posterior(torch.tensor([x_0]), torch.tensor([x_t]), t, -1)
        assert close(at_data.mean, torch.tensor([x_0]), 1e-12)
        assert close(at_data.variance, torch.zeros(1), 0)
        for s in range(t):
            gain = covariance[s, t] / covariance[t, t]
            q = process().posterior(torch.tensor([x_0]), torch.tensor([x_t]), t, s)
            assert close(q.mean, (mean[s] + gain * (x_t - mean[t])).reshape(1), 1e-12)
            assert close(q.variance, (covariance[s, s] - gain * covariance[s, t]).reshape(1), 1e-12)


def test_the_posterior_steps_back_by_one_unless_told():
    x_0, x_t = torch.randn(4, 3), torch.randn(4, 3)
    t = torch.tensor([0, 1, 3, 4])
    one, told = process().posterior(x_0, x_t, t), process().posterior(x_0, x_t, t, t - 1)
    assert close(one.mean, told.mean, 0)
    for i in range(4):
        single = process().posterior(x_0[i], x_t[i], int(t[i]))
        assert close(one.mean[i], single.mean, 1e-14)


def test_diffusing_adds_the_noise_given():
    x_0, noise = torch.randn(3, 1, 2, 2), torch.randn(3, 1, 2, 2)
    t = torch.tensor([0, 2, 4])
    alpha_bar = (1 - betas()).cumprod(0)[t].reshape(3, 1, 1, 1)
    expected = alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * noise
    assert close(process().diffuse(x_0, t, noise), expected, 1e-14)
    assert close(process().diffuse(x_0[1], 2, noise[1]), expected[1], 1e-14)


def test_reverse_variances_are_beta_tilde_or_beta():
    alpha_bars = (1 - betas()).cumprod(0)
    x = torch.randn(2)
    for t in range(1, T):
        tilde = betas()[t] * (1 - alpha_bars[t - 1]) / (1 - alpha_bars[t])
        assert close(process(variance="small").reverse(x, x, t).variance, tilde.reshape(1), 1e-14)
        assert close(process(variance="large").reverse(x, x, t).variance, betas()[t].reshape(1), 1e-14)
    second = betas()[1] * (1 - alpha_bars[0]) / (1 - alpha_bars[1])
    assert close(process(variance="small").reverse(x, x, 0).variance, second.reshape(1), 1e-14)
    assert close(process(variance="large").reverse(x, x, 0).variance, betas()[0].reshape(1), 1e-14)
    assert close(GaussianDiffusion(Schedule(betas()[:1])).reverse(x, x, 0).variance, betas()[0].reshape(1), 1e-14)


def test_the_prior_term_is_the_divergence_from_noise():
    x_0 = torch.randn(5, 2, 3)
    q = Normal((1 - betas()).prod().sqrt() * x_0, (1 - (1 - betas()).prod()).sqrt().expand(5, 2, 3))
    expected = kl_divergence(q, Normal(torch.zeros(()), torch.ones(()))).sum((1, 2))
    assert close(process().prior_kl(x_0, 2), expected, 1e-12)
    assert close(process().prior_kl(x_0[0], 2), expected[0], 1e-12)


@pytest.mark.parametrize("variance", ["small", "large"])
def test_denoising_terms_are_divergences_of_the_kernels(variance):
    x_0, guess, x_t = torch.randn(3, 4, 2)
    model = process(variance=variance)
    alpha_bars = (1 - betas()).cumprod(0)
    for t in range(1, T):
        weight = alpha_bars[t - 1].sqrt() * betas()[t] / (1 - alpha_bars[t])
        rest = (1 - betas()[t]).sqrt() * (1 - alpha_bars[t - 1]) / (1 - alpha_bars[t]) * x_t
        tilde = (betas()[t] * (1 - alpha_bars[t - 1]) / (1 - alpha_bars[t])).sqrt()
        q = Normal(weight * x_0 + rest, tilde)
        p = Normal(weight * guess + rest, tilde if variance == "small" else betas()[t].sqrt())
        assert close(model.denoising_kl(x_0, guess, x_t, t, 1), kl_divergence(q, p).sum(1), 1e-12)


@pytest.mark.parametrize("variance", ["small", "large"])
def test_the_bound_misses_the_likelihood_by_the_divergence_of_the_paths(variance, generator):
    """For a linear denoiser both chains are Gaussian: E elbo = log p(x_0) − KL(q(x_1..x_T|x_0) ‖ p(x_1..x_T|x_0)).

    The mean of 40000 draws within 5 standard errors: fails by chance for 6e-7 of all seeds.
    """
    alpha_bars = (1 - betas()).cumprod(0).tolist()
    steps = betas().tolist()
    kernels = []
    for t in reversed(range(T)):
        slope, offset = best_guess(alpha_bars[t], M, S)
        before = alpha_bars[t - 1] if t else 1.0
        weight = before**0.5 * steps[t] / (1 - alpha_bars[t])
        rest = (1 - steps[t]) ** 0.5 * (1 - before) / (1 - alpha_bars[t])
        i = max(t, 1)
        tilde = steps[i] * (1 - alpha_bars[i - 1]) / (1 - alpha_bars[i])
        kernels.append((weight * slope + rest, weight * offset, tilde if variance == "small" else steps[t]))
    mean, covariance = reverse_chain(kernels)
    x_0 = 0.9
    log_p = Normal(mean[0], covariance[0, 0].sqrt()).log_prob(torch.tensor(x_0))
    gain = covariance[1:, 0] / covariance[0, 0]
    p = MultivariateNormal(
        mean[1:] + gain * (x_0 - mean[0]), covariance[1:, 1:] - gain[:, None] * covariance[None, 0, 1:]
    )
    expected = log_p - kl_divergence(MultivariateNormal(*forward_chain(x_0)), p)

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        slopes = torch.tensor([best_guess(a, M, S)[0] for a in alpha_bars])[t]
        offsets = torch.tensor([best_guess(a, M, S)[1] for a in alpha_bars])[t]
        return slopes[:, None] * x_t + offsets[:, None]

    bound = process(variance=variance).bound(torch.full((40000, 1), x_0), denoise, 1, generator=generator)
    assert bound.denoising.shape == (T - 1, 40000)
    assert standard_errors(bound.elbo.value, expected) < 5
    assert float(expected) < float(log_p)
    assert close(bound.elbo.value, bound.elbo.reconstruction - bound.elbo.kl, 1e-12)


def test_the_bound_takes_one_image_or_many(generator):
    x_0 = torch.randn(64, 1, 2, 2)

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        assert t.shape == x_t.shape[:-3]
        return 0.5 * x_t

    assert process().bound(x_0, denoise, 3, generator=generator).elbo.value.shape == (64,)
    assert process().bound(x_0[0], denoise, 3, generator=generator).elbo.value.shape == ()
    one = GaussianDiffusion(Schedule(betas()[:1])).bound(x_0, denoise, 3, generator=generator)
    assert one.denoising.shape == (0, 64)


def test_levels_turn_the_density_into_bin_probabilities():
    """SciPy's normal law over bins of 2/(K−1), the outer ones to infinity; the K probabilities sum to one."""
    levels = 7
    x = torch.linspace(-1, 1, levels)
    for mean, std in ((0.2, 0.3), (-1.4, 0.05), (0.9, 2.0)):
        log_p = discretised_normal_log_prob(x, torch.tensor(mean), torch.tensor(math.log(std)), levels)
        edges = [-math.inf, *[-1 + (2 * k + 1) / (levels - 1) for k in range(levels - 1)], math.inf]
        mass = [stats.norm.cdf(b, mean, std) - stats.norm.cdf(a, mean, std) for a, b in pairwise(edges)]
        assert close(log_p.exp(), torch.tensor(mass), 1e-12)
        assert close(log_p.exp().sum(), 1.0, 1e-12)


def test_bins_far_from_the_mean_keep_their_digits():
    """Twenty to forty standard deviations away, on either side, against SciPy's logarithms of tails."""
    for mean in (-1.0, 1.0):
        log_p = discretised_normal_log_prob(torch.tensor(-mean), torch.tensor(mean), torch.tensor(math.log(0.05)), 256)
        edge = (2 - 1 / 255) / 0.05
        assert math.isclose(float(log_p), float(stats.norm.logsf(edge)), rel_tol=1e-9)
    inside = discretised_normal_log_prob(torch.tensor(1 / 255), torch.tensor(-1.0), torch.tensor(math.log(0.05)), 256)
    a, b = 20.0, 20.0 + (2 / 255) / 0.05
    expected = stats.norm.logsf(a) + math.log1p(-math.exp(stats.norm.logsf(b) - stats.norm.logsf(a)))
    assert math.isclose(float(inside), expected, rel_tol=1e-9)
    x = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float32)
    assert bool(torch.isfinite(discretised_normal_log_prob(x, x + 1, torch.tensor(-4.0), 3)).all())


def test_the_decoder_sums_over_pixels():
    x_0 = torch.tensor([[-1.0, 0.0, 1.0]])
    guess, x_1 = torch.tensor([[-0.9, 0.2, 0.7]]), torch.randn(1, 3)
    std = numpy(process(variance="large").reverse(guess, x_1, 0).variance.sqrt()).item()
    density = Normal(guess, std).log_prob(x_0).sum(1)
    assert close(process(variance="large").reconstruction(x_0, guess, x_1, 1), density, 1e-12)
    mass = discretised_normal_log_prob(x_0, guess, torch.tensor(math.log(std)), 3).sum(1)
    assert close(process(variance="large", levels=3).reconstruction(x_0, guess, x_1, 1), mass, 1e-12)


def test_float32_agrees_with_float64(generator):
    x_0, guess, x_t = torch.randn(3, 4, 2)
    low = process().float()
    for t in range(1, T):
        exact = process().denoising_kl(x_0, guess, x_t, t, 1)
        rough = low.denoising_kl(x_0.float(), guess.float(), x_t.float(), t, 1)
        assert rough.dtype == torch.float32
        assert close(rough / exact.float(), torch.ones(4, dtype=torch.float32), 1e-4)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="variance must be one of 'small', 'large', got 'medium'"):
        process(variance="medium")
    with pytest.raises(ValueError, match="levels must be at least 2, got 1"):
        process(levels=1)
    with pytest.raises(ValueError, match=r"noise must have shape \(4, 2\), got \(4, 1\)"):
        process().diffuse(torch.zeros(4, 2), 0, torch.zeros(4, 1))


@pytest.mark.parametrize("off", [[0.0, 3.0], [0.0, 0.5], [-1.0, 0.99], [-5 / 3, 1.0], [float("nan"), 1.0]])
def test_pixels_on_another_scale_have_no_probability(off):
    """Values of levels = 4 are −1, −1/3, 1/3 and 1; those of float32 are near enough."""
    q, x_1 = process(levels=4), torch.zeros(1, 2)
    q.reconstruction(torch.tensor([[-1 / 3, 1.0]]).float().double(), x_1, x_1, 1)
    with pytest.raises(
        ValueError, match=r"x_0 must hold values 2k/3 − 1 for k in 0\.\.3, got [-0-9.na]+ in torch.float64"
    ):
        q.reconstruction(torch.tensor([off]), x_1, x_1, 1)
