"""Score matching against closed forms for Gaussians, autograd Jacobians and the exact posterior mean."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from reference_models.diffusion.score_matching import denoise, denoising_loss, implicit_loss, sliced_loss
from reference_models.parts.distributions import GaussianMixture
from reference_models.parts.networks import MLP
from tests.reference_models.helpers import close, perturb, standard_errors


def mixture() -> GaussianMixture:
    means = torch.tensor([[-1.0, 0.5], [1.5, 0.0]])
    return GaussianMixture(torch.tensor([0.3, 0.7]), means, torch.stack([0.4 * torch.eye(2), 0.9 * torch.eye(2)]))


def curved() -> nn.Module:
    return perturb(MLP(3, [6], 3))


def test_the_implicit_loss_is_trace_plus_half_the_square():
    """Against Jacobians of single examples."""
    score, x = curved(), torch.randn(5, 3)
    expected = [torch.func.jacrev(score)(v).trace() + 0.5 * score(v).square().sum() for v in x]
    assert close(implicit_loss(score, x), torch.stack(expected).mean(), 1e-10)


def test_the_implicit_loss_is_the_fisher_divergence_up_to_a_constant(generator):
    """E[tr ∇s + ½|s|²] − ½E|s − s*|² = −½E|s*|² for any s; difference of losses over 100000 draws, 5 standard errors.

    By chance 6e-7.
    """
    target = mixture()
    x = target.sample(100000, generator=generator)
    exact = target.score(x)

    def scores(v: Tensor) -> Tensor:
        return torch.stack([torch.sin(v[..., 1]) - v[..., 0], 0.3 * v[..., 0] * v[..., 1]], dim=-1)

    trace = -1 + 0.3 * x[:, 0]
    s = scores(x)
    per_example = trace + 0.5 * s.square().sum(1) - 0.5 * (s - exact).square().sum(1) + 0.5 * exact.square().sum(1)
    assert close(implicit_loss(scores, x), (trace + 0.5 * s.square().sum(1)).mean(), 1e-10)
    assert standard_errors(per_example.reshape(-1, 1), 0.0) < 5


def test_the_best_linear_score_is_found_by_each_loss():
    """On x with mean square exactly v: s = a x has implicit loss a + ½ a² v, least −1/(2v) at a = −1/v."""
    x = torch.randn(500, 1)
    x = x / x.square().mean().sqrt() * 1.5**0.5
    best = -1 / 1.5

    def at(loss, a: float) -> Tensor:
        return loss(lambda v: a * v, x)

    for loss in (implicit_loss, lambda s, v: sliced_loss(s, v, directions=torch.ones_like(v))):
        assert close(at(loss, best), -0.5 / 1.5, 1e-12)
        assert close(at(loss, 0.7), 0.7 + 0.5 * 0.7**2 * 1.5, 1e-12)
    # a quadratic in a: three values fix its minimiser
    low, mid, high = (float(at(implicit_loss, a).detach()) for a in (-1.0, 0.0, 1.0))
    assert abs(-(high - low) / 2 / (high + low - 2 * mid) - best) < 1e-12


def test_the_sliced_loss_by_hand():
    score, x, v = curved(), torch.randn(5, 3), torch.randn(5, 3)
    curvature = torch.stack([v[i] @ torch.func.jacrev(score)(x[i]) @ v[i] for i in range(5)])
    s = score(x)
    expected = (curvature + 0.5 * s.square().sum(1)).mean()
    assert close(sliced_loss(score, x, directions=v), expected, 1e-10)
    expected = (curvature + 0.5 * (v * s).sum(1).square()).mean()
    assert close(sliced_loss(score, x, directions=v, variance_reduced=False), expected, 1e-10)


def test_slices_along_the_axes_average_to_the_implicit_loss():
    """Directions √D e_i have E vvᵀ = I exactly."""
    score, x = curved(), torch.randn(4, 3)
    axes = 3**0.5 * torch.eye(3)
    for reduced in (True, False):
        slices = [sliced_loss(score, x, directions=axis.expand(4, 3), variance_reduced=reduced) for axis in axes]
        assert close(torch.stack(slices).mean(), implicit_loss(score, x), 1e-10)


def test_directions_are_standard_normal_and_fresh(device):
    """For s = x the curvature is |v|², 3 on average; 5 standard errors over 300 calls, by chance 6e-7."""
    x = torch.zeros(50, 3)
    generator = torch.Generator(device).manual_seed(1)
    losses = torch.stack([sliced_loss(lambda u: u * 1.0, x, generator=generator) for _ in range(300)])
    assert standard_errors(losses.detach().reshape(-1, 1), 3.0) < 5
    assert abs(float(losses.std()) - (6 / 50) ** 0.5) < 0.08


def test_the_denoising_loss_by_hand():
    """½|s(x̃) + ε/σ|² summed over dimensions, averaged over the batch."""
    score, x, noise = curved(), torch.randn(5, 3), torch.randn(5, 3)
    expected = torch.stack([0.5 * (score(x[i] + 0.3 * noise[i]) + noise[i] / 0.3).square().sum() for i in range(5)])
    assert close(denoising_loss(score, x, 0.3, noise=noise), expected.mean(), 1e-12)


def test_the_best_linear_denoising_score_and_its_loss(generator):
    """Data N(0, s²): the score of the noised law is −x/(s²+σ²), with loss ½(1/σ² − 1/(s²+σ²)); here ½ · 3.6.

    400000 draws, 5 standard errors (by chance 6e-7); moving a by 5% either way costs ½ (0.02)² · 2.5 = 5e-4 more.
    """
    s2, std = 2.25, 0.5
    x = s2**0.5 * torch.randn(400000, 1, generator=generator)
    noise = torch.randn(400000, 1, generator=generator)
    best = -1 / (s2 + std**2)
    loss = [denoising_loss(lambda v, a=a: a * v, x, std, noise=noise) for a in (0.95 * best, best, 1.05 * best)]
    assert abs(float(loss[1]) - 1.8) < 0.02
    assert float(loss[1]) < min(float(loss[0]), float(loss[2]))


def test_denoising_learns_the_score_of_the_noised_law(generator):
    """E⟨s* + ε/σ, φ(x̃)⟩ = 0 for s* the exact score of p * N(0, σ²) and any φ, so that s* is the minimiser.

    200000 draws, two test functions, 5 standard errors: by chance 1e-6.
    """
    target, std = mixture(), 0.6
    x = target.sample(200000, generator=generator)
    noise = torch.randn(200000, 2, generator=generator)
    x_noisy = x + std * noise
    error = target.noised(1.0, std).score(x_noisy) + noise / std
    tests = torch.stack([(error * x_noisy).sum(1), (error * x_noisy.sin()).sum(1)], dim=1)
    assert standard_errors(tests, 0.0) < 5


def test_tweedie_gives_the_posterior_mean():
    """For N(m, s²): E[x | x̃] = m + s²/(s²+σ²)(x̃ − m), by Bayes' rule."""
    m, s2, std = 0.7, 2.0, 0.5
    x = torch.linspace(-3, 3, 7).unsqueeze(1)
    guess = denoise(lambda v: -(v - m) / (s2 + std**2), x, std)
    assert close(guess, m + s2 / (s2 + std**2) * (x - m), 1e-12)


def test_losses_can_be_trained_on():
    """Second derivatives flow: each gradient is that of finite differences."""
    x, v, noise = torch.randn(4, 3), torch.randn(4, 3), torch.randn(4, 3)
    for loss in (
        implicit_loss,
        lambda s, y: sliced_loss(s, y, directions=v),
        lambda s, y: denoising_loss(s, y, 0.5, noise=noise),
    ):
        network = curved()
        weight = network[0].weight
        loss(network, x).backward()
        gradient = float(weight.grad[1, 2])
        with torch.no_grad():
            weight[1, 2] += 1e-5
        up = float(loss(network, x))
        with torch.no_grad():
            weight[1, 2] -= 2e-5
        assert abs((up - float(loss(network, x))) / 2e-5 - gradient) < 1e-6


def test_images_in_float32_work(generator):
    x = torch.randn(3, 1, 2, 2, dtype=torch.float32)
    flat = perturb(MLP(4, [5], 4)).float()

    def score(v: Tensor) -> Tensor:
        return flat(v.flatten(1)).reshape(v.shape)

    for value in (implicit_loss(score, x), sliced_loss(score, x, generator=generator), denoising_loss(score, x, 0.1)):
        assert value.dtype == torch.float32
        assert value.shape == ()
    exact = implicit_loss(lambda v: flat.double()(v.flatten(1)).reshape(v.shape), x.double())
    assert close(implicit_loss(flat.float(), x.flatten(1)).double(), exact, 1e-4)
    assert not x.requires_grad


def test_what_does_not_fit_is_refused():
    x = torch.zeros(4, 2)
    with pytest.raises(ValueError, match="std must be positive, got 0"):
        denoising_loss(lambda v: v, x, 0.0)
    with pytest.raises(ValueError, match=r"noise must have shape \(4, 2\), got \(2,\)"):
        denoising_loss(lambda v: v, x, 0.1, noise=torch.zeros(2))
    with pytest.raises(ValueError, match=r"score must have shape \(4, 2\), got \(4, 1\)"):
        implicit_loss(lambda v: v[:, :1], x)
    with pytest.raises(ValueError, match=r"directions must have shape \(4, 2\), got \(2,\)"):
        sliced_loss(lambda v: v, x, directions=torch.zeros(2))
    with pytest.raises(ValueError, match=r"x must have shape \(N, \*event\), got \(4,\)"):
        implicit_loss(lambda v: v, torch.zeros(4))
