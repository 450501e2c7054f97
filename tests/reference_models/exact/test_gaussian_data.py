"""The best denoiser of Gaussian data against Bayes' rule by SciPy's quadrature."""

from __future__ import annotations

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from reference_models.diffusion.sde import VE, VP, SubVP
from reference_models.exact import BestNoise, ContinuousNoise, best_guess
from tests.reference_models.helpers import close

M, S = 1.3, 0.4


def expected_data(x_t: float, a: float, sigma: float) -> float:
    """E[x_0 | x_t] for x_t = a x_0 + σ ε, x_0 ~ N(M, S²)."""

    def weight(x_0: float) -> float:
        return norm.pdf(x_0, M, S) * norm.pdf(x_t, a * x_0, sigma)

    ends = (M - 10 * S, M + 10 * S)
    return quad(lambda x_0: x_0 * weight(x_0), *ends)[0] / quad(weight, *ends)[0]


@pytest.mark.parametrize("alpha_bar", [0.95, 0.5, 0.1])
def test_the_guess_is_the_posterior_mean(alpha_bar):
    slope, offset = best_guess(alpha_bar, M, S)
    for x_t in (-1.0, 0.3, 2.0):
        assert slope * x_t + offset == pytest.approx(
            expected_data(x_t, alpha_bar**0.5, (1 - alpha_bar) ** 0.5), abs=1e-7
        )


def test_the_noise_is_what_the_guess_leaves():
    """x_t = √ᾱ x̂_0 + √(1 − ᾱ) ε̂, for indices at both ends, one for all or one for each example."""
    betas = torch.tensor([0.05, 0.3, 0.6])
    bars = (1 - betas).cumprod(0)
    network, x = BestNoise(betas, M, S), torch.tensor([[[-1.0, 0.4]], [[0.3, 5.0]], [[2.0, -2.0]]])
    for i in range(3):
        a, sigma = float(bars[i]) ** 0.5, float(1 - bars[i]) ** 0.5
        guess = torch.tensor([expected_data(v, a, sigma) for v in x[i].flatten().tolist()]).reshape(x[i].shape)
        assert close(network(x, torch.arange(3))[i], (x[i] - a * guess) / sigma, 1e-6)
        assert close(network(x[i], torch.tensor(i)), (x[i] - a * guess) / sigma, 1e-6)
    assert torch.equal(network(x, torch.arange(3), torch.zeros(3).long()), network(x, torch.arange(3)))


@pytest.mark.parametrize("sde", [VP(0.3, 9.0), SubVP(0.3, 9.0), VE(0.2, 6.0)])
def test_the_same_in_continuous_time(sde):
    network, x, t = ContinuousNoise(sde, M, S**2), torch.tensor([[-1.0], [0.3], [2.0]]), torch.tensor([0.2, 0.7, 1.0])
    for i in range(3):
        a, sigma = float(sde.a(t[i])), float(sde.sigma(t[i]))
        guess = expected_data(float(x[i]), a, sigma)
        assert close(network(x, t)[i], (x[i] - a * guess) / sigma, 1e-6)
