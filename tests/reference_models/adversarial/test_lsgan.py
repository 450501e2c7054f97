"""Least squares against its optimum and divergence on twelve states."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from reference_models.adversarial.gan import mlp_gan
from reference_models.adversarial.lsgan import LSGAN, LeastSquares
from tests.reference_models.adversarial.games import COUNTS_P, COUNTS_Q, at_states, conv, count, laws, linear
from tests.reference_models.helpers import close, numpy, perturb

CODES = [(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0), (0.3, -0.7, 2.0)]


@pytest.mark.parametrize("codes", CODES)
def test_the_optimal_discriminator_is_where_a_numerical_minimum_lies(codes: tuple[float, float, float]) -> None:
    p, q = laws()
    objective = LeastSquares(*codes)

    def loss(d: np.ndarray) -> tuple[float, np.ndarray]:
        scores = torch.as_tensor(d, device=p.device).requires_grad_()
        value = objective.discriminator_loss(at_states(scores, COUNTS_P), at_states(scores, COUNTS_Q))
        return value.item(), numpy(torch.autograd.grad(value, scores)[0])

    found = minimize(loss, np.zeros(12), jac=True, tol=1e-12).x
    np.testing.assert_allclose(numpy(objective.optimal_discriminator(p, q)), found, atol=1e-5)


def test_at_the_optimum_no_score_wants_to_move() -> None:
    p, q = laws()
    objective = LeastSquares(-1.0, 1.0, 0.0)
    d = objective.optimal_discriminator(p, q).requires_grad_()
    loss = objective.discriminator_loss(at_states(d, COUNTS_P), at_states(d, COUNTS_Q))
    (slope,) = torch.autograd.grad(loss, d)
    assert close(slope, torch.zeros(12), 1e-14)


def test_the_generator_s_criterion_is_half_a_pearson_divergence() -> None:
    """2 C(G) = sum over states of (2q - (p + q))^2 / (p + q), by enumeration."""
    p, q = laws()
    objective = LeastSquares.pearson()
    assert objective.b - objective.c == 1
    assert objective.b - objective.a == 2
    d = objective.optimal_discriminator(p, q)
    criterion = objective.generator_loss(at_states(d, COUNTS_P)) + objective.generator_loss(at_states(d, COUNTS_Q))
    pearson = ((2 * q - (p + q)) ** 2 / (p + q)).sum()
    assert close(2 * criterion, pearson, 1e-12)


def test_losses_are_half_the_mean_squares_around_the_codes() -> None:
    objective = LeastSquares(-2.0, 3.0, 5.0)
    real, fake = torch.tensor([1.0, 4.0]), torch.tensor([0.0, 1.0, 2.0])
    assert close(objective.discriminator_loss(real, fake), 0.5 * (4 + 1) / 2 + 0.5 * (4 + 9 + 16) / 3, 1e-12)
    assert close(objective.generator_loss(fake), 0.5 * (25 + 16 + 9) / 3, 1e-12)


def test_the_named_codes_are_the_paper_s() -> None:
    assert LeastSquares.zero_one() == LeastSquares() == LeastSquares(a=0.0, b=1.0, c=1.0)
    assert LeastSquares.pearson() == LeastSquares(a=-1.0, b=1.0, c=0.0)


def test_the_family_plays_least_squares(generator: torch.Generator) -> None:
    gan, x = perturb(mlp_gan(LSGAN, hidden=(8,))), torch.randn(16, 2)
    state = generator.get_state()
    loss = gan.discriminator_loss(x, generator=generator)
    generator.set_state(state)
    fake = gan(gan.noise(16, generator=generator))
    assert close(loss, 0.5 * (gan.score(x) - 1).square().mean() + 0.5 * gan.score(fake).square().mean(), 1e-12)
    generator.set_state(state)
    assert close(gan.generator_loss(16, generator=generator), 0.5 * (gan.score(fake) - 1).square().mean(), 1e-12)


def test_the_paper_s_networks_have_the_sizes_of_figure_2() -> None:
    with torch.device("meta"):
        gan = LSGAN.paper()
        assert gan.generator(torch.zeros(2, 1024)).shape == (2, 3, 112, 112)
        assert gan.discriminator(torch.zeros(2, 3, 112, 112)).shape == (2,)
    up = 4 * conv(256, 256, 3) + conv(256, 128, 3) + conv(128, 64, 3) + conv(64, 3, 3)
    assert count(gan.generator) == linear(1024, 256 * 49) + up + 2 * (5 * 256 + 128 + 64)
    down = conv(3, 64, 5) + conv(64, 128, 5) + conv(128, 256, 5) + conv(256, 512, 5)
    assert count(gan.discriminator) == down + 2 * (128 + 256 + 512) + linear(512 * 49, 1)


def test_single_precision_images(generator: torch.Generator) -> None:
    gan = LSGAN.images((1, 8, 8), channels=4).float()
    x = gan.sample(3, generator=generator)
    assert x.shape == (3, 1, 8, 8)
    assert x.dtype == torch.float32


def test_equal_codes_for_data_and_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="got a = b = 1"):
        LeastSquares(1.0, 1.0, 0.0)
