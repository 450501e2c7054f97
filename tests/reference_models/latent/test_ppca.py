"""Probabilistic PCA against dense Gaussians of SciPy and torch, scikit-learn's PCA, zero gradients at its optimum."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor
from torch.distributions import kl_divergence

from reference_models.latent.ppca import PPCA
from reference_models.latent.vae import GaussianPosterior
from tests.reference_models.helpers import close, numpy, standard_errors
from tests.reference_models.latent.linear import LATENT, D, as_torch, evidence, model, posterior


def data(n: int = 60) -> Tensor:
    return torch.randn(n, 3) @ torch.randn(3, D) + 0.3 * torch.randn(n, D) + 1.0


@pytest.mark.parametrize("batch", [(), (64,)])
@pytest.mark.parametrize("latent_dim", [1, 3])
def test_log_prob_is_the_dense_gaussian(batch: tuple[int, ...], latent_dim: int) -> None:
    """Woodbury's d × d form equals SciPy's D × D one, within 1e-9; float32 within 1e-3."""
    ppca, x = model(latent_dim), torch.randn(*batch, D)
    assert close(ppca.log_prob(x), evidence(ppca, x))
    assert ppca.log_prob(x).shape == batch
    assert close(ppca.float().log_prob(x.float()).double(), evidence(ppca, x), 1e-3)


@pytest.mark.parametrize("batch", [(), (64,)])
def test_posterior_is_the_conditional_of_the_joint_gaussian(batch: tuple[int, ...]) -> None:
    ppca, x = model(), torch.randn(*batch, D)
    exact, ours = posterior(ppca, x), ppca.posterior(x)
    assert close(ours.mean, exact.mean)
    assert close(ours.covariance, exact.covariance_matrix.reshape(-1, LATENT, LATENT)[0])
    z = torch.randn(*batch, LATENT)
    assert close(ours.log_prob(z), exact.log_prob(z))


def test_bayes_rule_holds_pointwise() -> None:
    """log p(x|z) + log p(z) − log p(z|x) is log p(x) whatever z is."""
    ppca, x, z = model(), torch.randn(5, D), torch.randn(5, LATENT)
    joint = torch.distributions.Normal(z @ ppca.W.T + ppca.mean, ppca.log_std.exp()).log_prob(x).sum(
        -1
    ) + torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    assert close(joint - ppca.posterior(x).log_prob(z), evidence(ppca, x))


def test_closed_form_fit_is_sklearns() -> None:
    """Covariance and noise equal those of scikit-learn's PCA, which divides by N − 1 where the likelihood has N."""
    x = data()
    ppca, pca = PPCA.maximum_likelihood(x, 2), PCA(2).fit(numpy(x))
    factor = (len(x) - 1) / len(x)
    C = ppca.W @ ppca.W.T + ppca.variance * torch.eye(D)
    assert close(C, factor * torch.as_tensor(pca.get_covariance()).to(x))
    assert abs(float(ppca.variance.detach()) - factor * pca.noise_variance_) < 1e-9
    assert close(ppca.mean, torch.as_tensor(pca.mean_).to(x))
    cosine = torch.nn.functional.normalize(ppca.W, dim=0).T @ torch.as_tensor(pca.components_.T).to(x)
    assert close(cosine.diagonal().abs(), torch.ones(2))  # the largest eigenvalue first


def test_closed_form_fit_is_stationary_and_beats_its_neighbours() -> None:
    x = data()
    best = PPCA.maximum_likelihood(x, 2)
    top = best.log_prob(x).mean()
    gradients = torch.autograd.grad(top, [best.W, best.mean, best.log_std])
    assert all(float(g.abs().max()) < 1e-9 for g in gradients)
    for _ in range(5):
        moved = PPCA(best.W + 0.05 * torch.randn(D, 2), best.mean, float(best.log_std.exp()) * 1.02)
        assert moved.log_prob(x).mean() < top


def test_one_em_step_maximises_the_expected_complete_likelihood() -> None:
    """W = Σ (x−μ) E[z]ᵀ (Σ E[zzᵀ])⁻¹ and σ² the mean expected squared residual, example by example."""
    x, before = data(20), model()
    with torch.no_grad():
        before.mean.copy_(x.mean(0))
    q = posterior(before, x)
    second = q.covariance_matrix + q.mean[:, :, None] * q.mean[:, None, :]  # (N, d, d): E[zzᵀ]
    centred = x - x.mean(0)
    W = torch.einsum("ni,nj->ij", centred, q.mean) @ torch.linalg.inv(second.sum(0))
    residual = 0.0
    for n in range(20):
        residual += float(centred[n] @ centred[n] - 2 * centred[n] @ W @ q.mean[n] + (second[n] @ W.T @ W).trace())
    after = before.em_step(x)
    assert close(after.W, W)
    assert abs(float(after.variance) - residual / (20 * D)) < 1e-9


def test_em_climbs_to_the_closed_form() -> None:
    x = data()
    ppca = model()
    ppca = PPCA(ppca.W, x.mean(0), 0.7)
    best = float(PPCA.maximum_likelihood(x, LATENT).log_prob(x).mean())
    trace = []
    for _ in range(300):
        trace.append(float(ppca.log_prob(x).mean()))
        ppca = ppca.em_step(x)
    assert all(b >= a - 1e-12 for a, b in pairwise(trace))
    assert abs(trace[-1] - best) < 1e-6


@pytest.mark.parametrize("batch", [(), (64,)])
def test_bound_of_any_gaussian_is_evidence_minus_gap(batch: tuple[int, ...]) -> None:
    """ELBO = log p(x) − KL(q ‖ p(z|x)) with SciPy's evidence and torch's KL; its rate is torch's KL to the prior."""
    ppca, x = model(), torch.randn(*batch, D)
    q = GaussianPosterior(torch.randn(*batch, LATENT), 0.5 * torch.randn(*batch, LATENT))
    gap = kl_divergence(as_torch(q), posterior(ppca, x))
    bound = ppca.elbo(x, q=q)
    assert close(ppca.kl_to_posterior(q, x), gap)
    assert close(bound.value, evidence(ppca, x) - gap)
    prior = torch.distributions.Normal(torch.zeros(LATENT), torch.ones(LATENT))
    assert close(bound.kl, kl_divergence(torch.distributions.Normal(q.mean, q.log_std.exp()), prior).sum(-1))
    assert close(bound.value, bound.reconstruction - bound.kl)
    assert bound.kl.shape == batch


def test_mean_field_posterior_is_the_best_diagonal_gaussian() -> None:
    """The gap's gradient in mean and log-std vanishes there, and the bound is the evidence minus it."""
    ppca, x = model(), torch.randn(3, D)
    q = ppca.mean_field_posterior(x)
    mean, log_std = q.mean.detach().requires_grad_(), q.log_std.detach().clone().requires_grad_()
    gap = kl_divergence(as_torch(GaussianPosterior(mean, log_std)), posterior(ppca, x))
    gradients = torch.autograd.grad(gap.sum(), [mean, log_std])
    assert all(float(g.abs().max()) < 1e-9 for g in gradients)
    assert close(ppca.elbo(x).value, evidence(ppca, x) - gap)


def test_samples_have_the_models_mean_and_covariance(generator: torch.Generator) -> None:
    """20000 draws, each moment within 5 standard errors: false alarm below 1e-5 for the 20 of them."""
    ppca = model()
    x = ppca.sample(20000, generator=generator)
    assert standard_errors(x, ppca.mean.detach()) < 5
    centred = x - ppca.mean.detach()
    C = (ppca.W @ ppca.W.T + ppca.variance * torch.eye(D)).detach()
    assert standard_errors(centred[:, :, None] * centred[:, None, :], C) < 5


def test_as_vae_is_the_same_joint() -> None:
    ppca, x, z = model(), torch.randn(3, D), torch.randn(1, 3, LATENT)
    vae = ppca.as_vae()
    joint = vae.log_likelihood(x, z) + vae.prior.log_prob(z)
    assert close(joint[0] - posterior(ppca, x).log_prob(z[0]), evidence(ppca, x))


def test_random_models_repeat_with_the_generator(generator: torch.Generator) -> None:
    a, b = PPCA.random(4, 2, generator=generator), PPCA.random(4, 2, generator=generator)
    assert a.W.shape == (4, 2)
    assert not close(a.W, b.W)
    again = PPCA.random(4, 2, generator=generator.manual_seed(0))
    assert close(a.W, again.W, 0.0)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"latent_dim must lie between 1 and 3 .* got 4"):
        PPCA.maximum_likelihood(torch.randn(10, 4), 4)
    with pytest.raises(ValueError, match=r"got 0"):
        PPCA.maximum_likelihood(torch.randn(10, 4), 0)
    with pytest.raises(ValueError, match=r"W must be \(D, d\) and mean \(D,\), got \(4, 2\) and \(3,\)"):
        PPCA(torch.zeros(4, 2), torch.zeros(3), 1.0)
    with pytest.raises(ValueError, match="std must be positive, got -1"):
        PPCA(torch.zeros(4, 2), torch.zeros(4), -1.0)
    with pytest.raises(ValueError, match=r"x must have shape \(4\) or \(N, 4\), got \(2, 5\)"):
        model().log_prob(torch.zeros(2, 5))
