"""β-VAE's objectives against torch.distributions and the closed-form optimum of the linear model."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from reference_models.latent.beta_vae import BetaVAE, linear_capacity, normalised_beta
from reference_models.latent.vae import GaussianPosterior, mlp_vae
from tests.reference_models.helpers import binary_states, close, perturb
from tests.reference_models.latent.linear import LATENT, D, FreePosterior, model, sigma_points


def small(beta: float = 4.0) -> BetaVAE:
    return BetaVAE(perturb(mlp_vae((4,), 2, (5,)), 0.5), beta)


def terms(beta_vae: BetaVAE, x: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """log p(x|z) at the noise's z, and the KL, both by torch.distributions."""
    q = beta_vae.vae.posterior(x)
    assert isinstance(q, GaussianPosterior)
    law = Normal(q.mean, q.log_std.exp())
    logits = beta_vae.vae.decoder(law.mean + law.stddev * noise[0])
    rate = kl_divergence(Independent(law, 1), Independent(Normal(torch.zeros(16, 2), 1.0), 1))
    return Bernoulli(logits=logits).log_prob(x).sum(-1), rate


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_objective_weights_the_rate(beta: float) -> None:
    model_, x, noise = small(beta), binary_states(4), torch.randn(1, 16, 2)
    reconstruction, rate = terms(model_, x, noise)
    assert close(model_.objective(x, noise=noise), reconstruction - beta * rate)
    if beta == 1:
        assert close(model_.objective(x, noise=noise), model_.vae.elbo(x, noise=noise).value)


def test_capacity_prices_the_distance_from_it() -> None:
    """Rates above and below C both cost γ for each nat they are away."""
    model_, x, noise = small(3.0), binary_states(4), torch.randn(1, 16, 2)
    reconstruction, rate = terms(model_, x, noise)
    C = float(rate.median())
    assert bool((rate < C - 0.01).any())
    assert bool((rate > C + 0.01).any())
    assert close(model_.objective(x, noise=noise, capacity=C), reconstruction - 3 * (rate - C).abs())


@pytest.mark.parametrize("beta", [0.5, 1.0, 4.0])
def test_best_posterior_is_that_of_a_tempered_likelihood(beta: float) -> None:
    """Linear decoder: the objective is stationary at mean P⁻¹Wᵀ(x−μ)/βσ² and variances 1/P_jj, P = I + WᵀW/βσ²."""
    ppca, x = model(), torch.randn(3, D)
    q = FreePosterior(3, LATENT)
    s2 = float(ppca.variance) * beta
    P = torch.eye(LATENT) + ppca.W.T @ ppca.W / s2
    with torch.no_grad():
        q.mean.copy_((x - ppca.mean) @ ppca.W @ torch.linalg.inv(P) / s2)
        q.log_std.copy_(-0.5 * P.diagonal().log().expand(3, LATENT))
    objective = BetaVAE(ppca.as_vae(q), beta).objective(x, samples=2 * LATENT, noise=sigma_points(LATENT, 3))
    gradients = torch.autograd.grad(objective.sum(), [q.mean, q.log_std])
    assert all(float(g.abs().max()) < 1e-9 for g in gradients)


def test_loss_is_minus_the_mean_and_the_bound_stays_honest(generator: torch.Generator) -> None:
    model_, x = small(), binary_states(4)
    loss = model_.loss(x, generator=generator)
    assert close(loss, -model_.objective(x, generator=generator.manual_seed(0)).mean())
    bound = model_.elbo(x, generator=generator.manual_seed(0))
    assert close(bound.value, bound.reconstruction - bound.kl)
    loss.backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in model_.parameters())


@pytest.mark.parametrize("batch", [(), (64,)])
def test_batch_shapes_and_single_precision(batch: tuple[int, ...]) -> None:
    model_ = perturb(BetaVAE.mlp((1, 2, 2), 2))
    x = (torch.rand(*batch, 1, 2, 2) < 0.5).double()
    noise = torch.randn(1, batch[0] if batch else 1, 2)
    double = model_.objective(x, noise=noise)
    assert double.shape == batch
    assert close(model_.float().objective(x.float(), noise=noise.float()).double(), double, 1e-4)
    assert model_.sample(3).shape == (3, 1, 2, 2)


def test_schedules_by_hand() -> None:
    assert [linear_capacity(p, 25.0) for p in (-1, 0, 0.5, 1, 2)] == [0, 0, 12.5, 25, 25]
    assert normalised_beta(4.0, 10, 4096) == 40 / 4096


def test_traversal_moves_one_axis() -> None:
    model_, z = small(), torch.tensor([0.3, -0.8])
    path = model_.traverse(z, 1, torch.tensor([-2.0, 0.0, 2.0]))
    expected = model_.vae.decoder(torch.tensor([[0.3, -2.0], [0.3, 0.0], [0.3, 2.0]]))
    assert close(path, expected)
    assert close(z, torch.tensor([0.3, -0.8]), 0.0)


def test_paper_size() -> None:
    """4096-1200-1200 to 10 latents (mean and log-std), and 10-1200-1200-1200-4096 back."""
    with torch.device("meta"):
        model_ = BetaVAE.paper()
    encoder = 4097 * 1200 + 1201 * 1200 + 1201 * 20
    decoder = 11 * 1200 + 2 * 1201 * 1200 + 1201 * 4096
    assert sum(p.numel() for p in model_.parameters()) == encoder + decoder


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="beta must be at least 0, got -1"):
        small(-1.0)
    with pytest.raises(ValueError, match=r"dimension must lie in 0\.\.1, got 2"):
        small().traverse(torch.zeros(2), 2, torch.zeros(1))
