"""The dual value against exact transport, clipping against its bounds."""

import numpy as np
import ot
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import nn

from reference_models.adversarial.dcgan import DCGAN
from reference_models.adversarial.wgan import CRITIC_STEPS, WGAN, Wasserstein, clip_parameters
from tests.reference_models.adversarial.games import count, gradients, snapshot, unchanged
from tests.reference_models.helpers import close, numpy, perturb


def linear_critic(dim: int, **kwargs: float) -> WGAN:
    critic = nn.Sequential(nn.Linear(dim, 1), nn.Flatten(0))
    return WGAN(nn.Linear(2, dim), critic, latent_dim=2, event_shape=(dim,), **kwargs)


def test_every_1_lipschitz_critic_stays_below_the_distance_and_the_right_one_reaches_it() -> None:
    """In one dimension, SciPy; for samples shifted by 0.7 the identity is the best critic."""
    game, real = Wasserstein(), torch.randn(50)
    for fake in (torch.randn(50), 3 * torch.rand(50), real - 0.7):
        distance = wasserstein_distance(numpy(real), numpy(fake))
        for critic in (torch.sin, torch.abs, torch.tanh, torch.neg):
            assert float(game.dual_value(critic(real), critic(fake))) <= distance + 1e-12
    assert close(game.dual_value(real, real - 0.7), wasserstein_distance(numpy(real), numpy(real - 0.7)), 1e-12)


def test_in_the_plane_slopes_of_length_1_stay_below_the_exact_transport_cost() -> None:
    real, fake = torch.randn(30, 2), torch.randn(30, 2) + torch.tensor([1.0, 2.0])
    weights = np.full(30, 1 / 30)
    distance = ot.emd2(weights, weights, ot.dist(numpy(real), numpy(fake), metric="euclidean"))
    for angle in torch.linspace(0, 6.2, 20):
        w = torch.stack([angle.cos(), angle.sin()])
        assert float(Wasserstein().dual_value(real @ w, fake @ w)) <= distance
    moved = real + torch.tensor([0.6, -0.8])
    value = Wasserstein().dual_value(real @ torch.tensor([-0.6, 0.8]), moved @ torch.tensor([-0.6, 0.8]))
    exact = ot.emd2(weights, weights, ot.dist(numpy(real), numpy(moved), metric="euclidean"))
    assert close(value, float(exact), 1e-9)


def test_the_critic_climbs_and_the_generator_descends_the_dual_value() -> None:
    real, fake = torch.tensor([1.0, 4.0]), torch.tensor([0.0, 1.0, 5.0], requires_grad=True)
    game = Wasserstein()
    assert close(game.discriminator_loss(real, fake), -(2.5 - 2.0), 1e-12)
    assert close(game.generator_loss(fake), -2.0, 1e-12)
    (slope,) = torch.autograd.grad(game.generator_loss(fake), fake)
    assert close(slope, torch.full((3,), -1 / 3), 1e-15)


def test_after_each_step_every_parameter_is_within_the_bounds_and_those_inside_are_untouched() -> None:
    critic = nn.Sequential(nn.Linear(2, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 1), nn.Flatten(0))
    gan = WGAN(nn.Linear(2, 2), critic, latent_dim=2, event_shape=(2,), clip=0.05)
    assert max(float(p.detach().abs().max()) for p in critic.parameters()) == 0.05  # gains of the normalisation were 1
    perturb(gan.discriminator, 0.05)
    before, others = snapshot(gan.discriminator), snapshot(gan.generator)
    gan.after_discriminator_step(16)
    for new, old in zip(gan.discriminator.parameters(), before, strict=True):
        assert torch.equal(new, old.clamp(-0.05, 0.05))
    assert any(not torch.equal(new, old) for new, old in zip(gan.discriminator.parameters(), before, strict=True))
    assert unchanged(gan.generator, others)


def test_the_best_clipped_linear_critic_is_found_and_known(generator: torch.Generator) -> None:
    """w = c sign(m) with m the difference of means: the value is c times the 1-norm of m."""
    gan = linear_critic(3, clip=0.1)
    real, fake = torch.randn(64, 3) + torch.tensor([1.0, -2.0, 0.5]), torch.randn(64, 3)
    optimiser = torch.optim.RMSprop(gan.discriminator.parameters(), lr=0.01)
    for _ in range(100):
        optimiser.zero_grad()
        gan.objective.discriminator_loss(gan.score(real), gan.score(fake)).backward()
        optimiser.step()
        gan.after_discriminator_step(64)
    m = real.mean(0) - fake.mean(0)
    value = gan.objective.dual_value(gan.score(real), gan.score(fake))
    assert close(value, 0.1 * m.abs().sum(), 1e-12)


def test_laws_without_overlap_still_pull(generator: torch.Generator) -> None:
    """Example 1: data at 0, samples at theta: the critic f(x) = -x gives the generator slope 1 at any distance."""
    for theta in (0.1, 3.0, 1e4):
        fake = torch.full((4,), theta, requires_grad=True)
        (slope,) = torch.autograd.grad(Wasserstein().generator_loss(-fake), fake)
        assert close(slope.sum(), 1.0, 1e-12)


def test_the_players_gradients_do_not_mix(generator: torch.Generator) -> None:
    gan = linear_critic(2).float()
    loss = gan.discriminator_loss(torch.randn(8, 2).float(), generator=generator)
    assert loss.dtype == torch.float32
    loss.backward()
    assert gradients(gan.discriminator)
    assert not gradients(gan.generator)
    gan.zero_grad()
    gan.generator_loss(8, generator=generator).backward()
    assert gradients(gan.generator)
    assert not gradients(gan.discriminator)


def test_the_bound_is_the_paper_s_unless_told() -> None:
    assert (linear_critic(2).clip, CRITIC_STEPS) == (0.01, 5)


def test_the_paper_s_networks_are_those_of_dcgan_with_a_clipped_critic() -> None:
    with torch.device("meta"):
        gan, other = WGAN.paper(), DCGAN.paper()
    assert count(gan.generator) == count(other.generator)
    assert count(gan.discriminator) == count(other.discriminator)
    assert not any(isinstance(part, nn.Sigmoid) for part in gan.discriminator.modules())
    assert (gan.latent_dim, gan.event_shape, gan.prior, gan.clip) == (100, (3, 64, 64), "normal", 0.01)


def test_bounds_that_are_not_positive_are_refused() -> None:
    with pytest.raises(ValueError, match="clip must be positive, got 0"):
        linear_critic(2, clip=0.0)
    with pytest.raises(ValueError, match="c must be positive, got -1"):
        clip_parameters(nn.Linear(1, 1), -1.0)
