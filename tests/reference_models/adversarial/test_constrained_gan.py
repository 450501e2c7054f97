"""Penalties on samples against NumPy and closed forms."""

import numpy as np
import pytest
import torch
from torch import nn

from reference_models.adversarial.constrained_gan import (
    ConstrainedGAN,
    CovarianceConstraint,
    ResidualConstraint,
    covariance,
)
from reference_models.adversarial.gan import GAN
from tests.reference_models.adversarial.games import gradients
from tests.reference_models.helpers import close, numpy, perturb


def test_the_covariance_is_numpy_s_for_vectors_and_images() -> None:
    x = torch.randn(9, 1, 2, 3) + 5
    expected = np.cov(numpy(x).reshape(9, 6), rowvar=False)
    assert close(covariance(x), torch.as_tensor(expected), 1e-12)


def test_the_statistical_penalty_is_the_frobenius_distance_of_covariances() -> None:
    data, samples = torch.randn(30, 3) @ torch.randn(3, 3), 2 * torch.randn(20, 3)
    constraint = CovarianceConstraint.of(data)
    gap = np.cov(numpy(samples), rowvar=False) - np.cov(numpy(data), rowvar=False)
    assert close(constraint.penalty(samples), float(np.sqrt((gap**2).sum())), 1e-12)
    assert close(constraint.penalty(data + 7), 0.0, 1e-12)


def test_the_penalty_s_gradient_for_a_linear_generator_is_the_one_by_hand() -> None:
    """d |A S A' - C|_F / dA = 2 R A S / |R|_F with R = A S A' - C, S the covariance of the noise."""
    z, target = torch.randn(40, 2), torch.eye(3) + 0.3
    a = torch.randn(3, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(CovarianceConstraint(target).penalty(z @ a.mT), a)
    s = covariance(z)
    r = (a @ s @ a.mT - target).detach()
    assert close(slope, 2 * r @ a.detach() @ s / r.norm(), 1e-12)


def test_the_noise_of_a_batch_s_covariance_is_what_the_note_says(generator: torch.Generator) -> None:
    """E |S - Sigma|_F^2 = ((tr Sigma)^2 + tr Sigma^2) / (n - 1), 4000 batches, 5 standard errors: fails 6e-7."""
    root = torch.tensor([[1.0, 0.0], [0.5, 2.0]])
    sigma, n = root @ root.mT, 8
    z = torch.randn(4000, n, 2, generator=generator) @ root.mT
    squares = torch.stack([CovarianceConstraint(sigma).penalty(batch) ** 2 for batch in z])
    expected = (sigma.trace() ** 2 + (sigma @ sigma).trace()) / (n - 1)
    assert abs(squares.mean() - expected) < 5 * squares.std() / len(squares) ** 0.5


def test_the_deterministic_penalty_is_the_mean_square_of_the_residual() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0]], requires_grad=True)

    def law(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.sum(1) - 1, x[:, 0]], dim=1)  # two components: 2, 1 and 1, 3

    penalty = ResidualConstraint(law).penalty(x)
    assert close(penalty, ((4 + 1) + (1 + 9)) / 2, 1e-12)
    (slope,) = torch.autograd.grad(penalty, x)
    assert close(slope, torch.tensor([[2.0 + 1, 2.0], [1.0 + 3, 1.0]]), 1e-12)  # (2/2) (h_1 + h_2, h_1)
    assert close(ResidualConstraint(law).penalty(torch.tensor([[0.0, 1.0]])), 0.0, 0)


def pair(weight: float, constraint: CovarianceConstraint | None = None) -> ConstrainedGAN:
    torch.manual_seed(3)
    networks = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
    return ConstrainedGAN(*networks, latent_dim=2, event_shape=(2,), constraint=constraint, weight=weight)


def test_the_generator_pays_weight_times_the_penalty_on_its_own_samples(generator: torch.Generator) -> None:
    constraint = CovarianceConstraint(torch.tensor([[2.0, 0.5], [0.5, 1.0]]))
    state = generator.get_state()
    gan = pair(2.5, constraint)
    loss = gan.generator_loss(16, generator=generator)
    generator.set_state(state)
    fake = gan(gan.noise(16, generator=generator))
    generator.set_state(state)
    game = GAN.generator_loss(gan, 16, generator=generator)
    assert close(loss - game, 2.5 * constraint.penalty(fake), 1e-12)
    weight = gan.generator.weight
    slopes = [torch.autograd.grad(part, weight)[0] for part in (loss, game, constraint.penalty(fake))]
    assert close(slopes[0] - slopes[1], 2.5 * slopes[2], 1e-12)
    assert slopes[2].abs().max() > 0.1
    generator.set_state(state)
    gan.generator_loss(16, generator=generator).backward()
    assert not gradients(gan.discriminator)


def test_without_weight_or_constraint_it_is_the_plain_game(generator: torch.Generator) -> None:
    state = generator.get_state()
    for gan in (pair(0.0, CovarianceConstraint(torch.eye(2))), pair(1.0)):
        generator.set_state(state)
        loss = gan.generator_loss(16, generator=generator)
        generator.set_state(state)
        assert close(loss, GAN.generator_loss(gan, 16, generator=generator), 1e-14)


def test_the_discriminator_s_game_is_untouched(generator: torch.Generator) -> None:
    gan, x = pair(2.5, CovarianceConstraint(torch.eye(2))), torch.randn(8, 2)
    state = generator.get_state()
    loss = gan.discriminator_loss(x, generator=generator)
    generator.set_state(state)
    assert close(loss, GAN.discriminator_loss(gan, x, generator=generator), 0)


def test_descending_the_penalty_alone_gives_samples_the_covariance(generator: torch.Generator) -> None:
    """A linear generator fits any covariance exactly, so the penalty falls to its noise."""
    target = torch.tensor([[2.0, -0.6], [-0.6, 0.5]])
    constraint, net, z = CovarianceConstraint(target), perturb(nn.Linear(2, 2)), torch.randn(50, 2)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.1)
    for step in range(150):
        optimiser.param_groups[0]["lr"] = 0.1 * 0.97**step
        optimiser.zero_grad()
        constraint.penalty(net(z)).backward()
        optimiser.step()
    np.testing.assert_allclose(np.cov(numpy(net(z)), rowvar=False), numpy(target), atol=1e-2)


def test_the_constraint_travels_in_single_precision() -> None:
    constraint = CovarianceConstraint(torch.eye(2)).float()
    assert constraint.penalty(torch.randn(4, 2).float()).dtype == torch.float32
    assert list(constraint.state_dict()) == ["target"]


def test_what_is_no_covariance_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(D, D\), got \(2, 3\)"):
        CovarianceConstraint(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"differ by 0\.5"):
        CovarianceConstraint(torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="number of examples must be at least 2, got 1"):
        CovarianceConstraint.of(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="number of samples must be at least 2, got 1"):
        CovarianceConstraint(torch.eye(2)).penalty(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="must have 1 numbers each, got 3"):
        CovarianceConstraint(torch.eye(1)).penalty(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="weight must be at least 0, got -1"):
        pair(-1.0)
