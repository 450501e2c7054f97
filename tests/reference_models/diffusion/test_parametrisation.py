"""What a network may predict: conversions by hand, scores by autograd, ratios of losses."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal

from reference_models.diffusion import parametrisation
from reference_models.diffusion.parametrisation import KINDS
from tests.reference_models.helpers import close


@pytest.fixture
def angle() -> torch.Tensor:
    return torch.tensor([0.1, 0.7, 1.4]).reshape(3, 1)


@pytest.fixture
def a(angle) -> torch.Tensor:
    return angle.cos()


@pytest.fixture
def sigma(angle) -> torch.Tensor:
    return angle.sin()


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_is_read_as_the_truth(kind, a, sigma):
    x_0, epsilon = torch.randn(2, 3, 5)
    output = parametrisation.target(kind, x_0, epsilon, a, sigma)
    guess = parametrisation.read(kind, output, a * x_0 + sigma * epsilon, a, sigma)
    assert close(guess.x_0, x_0, 1e-12)
    assert close(guess.epsilon, epsilon, 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_guess_agrees_with_what_it_is_about(kind, a, sigma):
    """x_t = a x̂_0 + σ ε̂ for any output, and the output is found again in the guess."""
    output, x_t = torch.randn(2, 3, 5)
    guess = parametrisation.read(kind, output, x_t, a, sigma)
    assert close(a * guess.x_0 + sigma * guess.epsilon, x_t, 1e-12)
    again = {"epsilon": guess.epsilon, "x0": guess.x_0, "v": guess.v, "score": guess.score}[kind]
    assert close(again, output, 1e-12)


def test_velocity_is_the_derivative_along_the_angle(angle, a, sigma):
    """With a = cos φ, σ = sin φ: v = dx/dφ, by autograd."""
    x_0, epsilon = torch.randn(2, 3, 5)
    _, v = torch.func.jvp(lambda phi: phi.cos() * x_0 + phi.sin() * epsilon, (angle,), (torch.ones_like(angle),))
    assert close(parametrisation.target("v", x_0, epsilon, a, sigma), v, 1e-12)


def test_score_is_the_gradient_of_the_noising_law(a, sigma):
    x_0, epsilon = torch.randn(2, 3, 5)
    x_t = (a * x_0 + sigma * epsilon).requires_grad_(True)
    (score,) = torch.autograd.grad(Normal(a * x_0, sigma).log_prob(x_t).sum(), x_t)
    assert close(parametrisation.target("score", x_0, epsilon, a, sigma), score, 1e-12)


def test_errors_differ_by_the_signal_to_noise_ratio(a, sigma):
    """|Δx_0|² = |Δε|²/SNR = |Δv|²/(1 + SNR), and |Δscore|² = |Δε|²/σ²."""
    x_0, epsilon, output = torch.randn(3, 3, 5)
    x_t = a * x_0 + sigma * epsilon
    guess = parametrisation.read("x0", output, x_t, a, sigma)
    snr = (a / sigma).square().squeeze(1)

    def error(kind: str, value: torch.Tensor) -> torch.Tensor:
        return (value - parametrisation.target(kind, x_0, epsilon, a, sigma)).square().sum(1)

    base = error("x0", guess.x_0)
    assert close(error("epsilon", guess.epsilon) / snr / base, torch.ones(3), 1e-10)
    assert close(error("v", guess.v) / (1 + snr) / base, torch.ones(3), 1e-10)
    assert close(error("score", guess.score) * sigma.squeeze(1).square() / snr / base, torch.ones(3), 1e-10)


def test_clipping_bounds_the_data_and_keeps_the_noise_in_step(a, sigma):
    x_t, output = 3 * torch.randn(2, 3, 5)
    guess = parametrisation.read("epsilon", output, x_t, a, sigma).clipped(0.8)
    assert float(guess.x_0.abs().max()) == 0.8
    assert close(a * guess.x_0 + sigma * guess.epsilon, x_t, 1e-12)


def test_float32_and_single_examples_work():
    x_t, output = torch.randn(2, 5, dtype=torch.float32)
    a, sigma = torch.tensor(0.6, dtype=torch.float32), torch.tensor(0.8, dtype=torch.float32)
    for kind in KINDS:
        guess = parametrisation.read(kind, output, x_t, a, sigma)
        assert guess.x_0.dtype == torch.float32
        assert close(a * guess.x_0 + sigma * guess.epsilon, x_t, 1e-5)


def test_an_unknown_kind_is_refused(a, sigma):
    with pytest.raises(ValueError, match=r"parametrisation must be one of .*, got 'noise'"):
        parametrisation.read("noise", a, a, a, sigma)
    with pytest.raises(ValueError, match=r"parametrisation must be one of .*, got 'noise'"):
        parametrisation.target("noise", a, a, a, sigma)
