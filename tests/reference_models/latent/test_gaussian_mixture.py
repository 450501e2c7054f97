"""EM against scikit-learn and one step by hand; the gradient against Fisher's identity; the bound against its gap."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as SklearnMixture
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from reference_models.latent.gaussian_mixture import (
    MixtureOfGaussians,
    em_step,
    fit_by_em,
    free_energy,
    m_step,
    spread_start,
)
from reference_models.parts.distributions import GaussianMixture
from tests.reference_models.helpers import close, numpy, perturb, standard_errors


def mixture(K: int = 3, D: int = 2) -> GaussianMixture:
    root = torch.randn(K, D, D)
    return GaussianMixture(torch.rand(K) + 0.2, 2 * torch.randn(K, D), root @ root.mT + 0.3 * torch.eye(D))


def test_em_follows_sklearn_step_by_step() -> None:
    """One step and eleven steps from the same start give scikit-learn's weights, means and covariances."""
    x, start = mixture().sample(200), mixture()
    for steps in (1, 11):
        ours = fit_by_em(x, start, steps=steps, tolerance=-math.inf, floor=1e-6).mixture
        theirs = SklearnMixture(
            3,
            weights_init=numpy(start.weights),
            means_init=numpy(start.means),
            precisions_init=numpy(torch.linalg.inv(start.covariances)),
            max_iter=steps,
            tol=0,
            reg_covar=1e-6,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            theirs.fit(numpy(x))
        assert close(ours.weights, torch.as_tensor(theirs.weights_).to(x))
        assert close(ours.means, torch.as_tensor(theirs.means_).to(x), 1e-8)
        assert close(ours.covariances, torch.as_tensor(theirs.covariances_).to(x), 1e-8)
        assert abs(float(ours.log_prob(x).mean()) - theirs.score(numpy(x))) < 1e-9


def test_one_step_by_hand() -> None:
    """Two components on three numbers, from fixed parameters, worked out with plain arithmetic."""
    data, pi, mu, var = [-1.0, 0.5, 2.0], [0.3, 0.7], [-0.5, 1.0], [0.8, 1.5]
    r = []
    for x in data:
        joint = [
            p * math.exp(-((x - m) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v)
            for p, m, v in zip(pi, mu, var, strict=True)
        ]
        r.append([j / sum(joint) for j in joint])
    after = em_step(
        torch.tensor(data)[:, None],
        GaussianMixture(torch.tensor(pi), torch.tensor(mu)[:, None], torch.tensor(var)[:, None, None]),
        floor=0.0,
    )
    for k in range(2):
        N_k = sum(row[k] for row in r)
        mean = sum(row[k] * x for row, x in zip(r, data, strict=True)) / N_k
        variance = sum(row[k] * (x - mean) ** 2 for row, x in zip(r, data, strict=True)) / N_k
        assert abs(float(after.weights[k]) - N_k / 3) < 1e-12
        assert abs(float(after.means[k, 0]) - mean) < 1e-12
        assert abs(float(after.covariances[k, 0, 0]) - variance) < 1e-12


def test_log_likelihood_never_falls_and_the_fit_stops_when_it_no_longer_gains() -> None:
    x, start = mixture().sample(300), mixture()
    fit = fit_by_em(x, start, steps=200, tolerance=1e-5, floor=0.0)
    for one, at in ((start, 0), (fit.mixture, -1)):
        assert close(fit.log_likelihoods[at], one.log_prob(x).mean(), 1e-12)
    gains = fit.log_likelihoods.diff()
    assert bool((gains >= -1e-10).all())
    assert len(gains) < 200
    assert float(gains[-1]) < 1e-5 <= float(gains[:-1].min())


def test_em_is_the_gradient_with_a_step_of_its_own() -> None:
    """μ⁺ − μ = Σ/N_k ∂ℓ/∂μ, π⁺ − π = (diag π − ππᵀ)/N ∂ℓ/∂π and, for the old mean, Σ⁺ − Σ = 2/N_k Σ ∂ℓ/∂Σ Σ.

    (On Convergence Properties of the EM Algorithm for Gaussian Mixtures, Xu and Jordan, 1996, theorem 1.)
    """
    now = mixture()
    x = mixture().sample(50)
    N = len(x)
    weights, means = now.weights.clone().requires_grad_(), now.means.clone().requires_grad_()
    covariances = now.covariances.clone().requires_grad_()
    law = MixtureSameFamily(Categorical(weights), MultivariateNormal(means, covariances))
    g_pi, g_mu, g_sigma = torch.autograd.grad(law.log_prob(x).sum(), [weights, means, covariances])
    after = em_step(x, now, floor=0.0)
    N_k = N * after.weights
    assert close(after.means - now.means, (now.covariances @ g_mu[..., None])[..., 0] / N_k[:, None], 1e-8)
    fisher = torch.diag(now.weights) - torch.outer(now.weights, now.weights)
    assert close(after.weights - now.weights, fisher @ g_pi / N, 1e-8)
    moved = (after.means - now.means)[:, :, None]
    step = 2 * now.covariances @ g_sigma @ now.covariances / N_k[:, None, None]
    assert close(after.covariances - now.covariances + moved @ moved.mT, 0.5 * (step + step.mT), 1e-8)


def test_bound_loses_exactly_the_kl_to_the_posterior() -> None:
    """F(q) = log p(x) − KL(q ‖ responsibilities): for random q, for one-hot q, at the responsibilities themselves."""
    m, x = mixture(), torch.randn(5, 2)
    evidence = MixtureSameFamily(Categorical(m.weights), MultivariateNormal(m.means, m.covariances)).log_prob(x)
    r = m.responsibilities(x)
    assert close(r.sum(-1), 1.0)
    q = torch.rand(5, 3).softmax(-1)
    gap = torch.distributions.kl_divergence(Categorical(q), Categorical(r))
    bound = free_energy(x, q, m)
    assert close(bound.value, evidence - gap)
    assert close(bound.kl, torch.distributions.kl_divergence(Categorical(q), Categorical(m.weights.expand(5, 3))))
    assert close(bound.value, bound.reconstruction - bound.kl)
    assert close(free_energy(x, r, m).value, evidence)
    hard = torch.eye(3)[[0, 1, 2, 0, 1]]
    assert close(free_energy(x, hard, m).value, evidence + (r * hard).sum(-1).log())


def test_m_step_maximises_the_bound() -> None:
    """Every small move of the parameters away from the M-step's lowers E_q log p(x, z) + H(q)."""
    x, q = torch.randn(40, 2), torch.rand(40, 3).softmax(-1)
    best = m_step(x, q, floor=0.0)
    top = free_energy(x, q, best).value.sum()
    for _ in range(10):
        root = torch.eye(2) + 0.05 * torch.randn(3, 2, 2)
        other = GaussianMixture(
            best.weights * (1 + 0.1 * torch.rand(3)),
            best.means + 0.05 * torch.randn(3, 2),
            root @ best.covariances @ root.mT,
        )
        assert free_energy(x, q, other).value.sum() < top


def test_gradient_ascent_reaches_the_optimum_of_em(generator: torch.Generator) -> None:
    """From one start, Adam on −log p(x) and EM end at the same log-likelihood within 1e-3 nats."""
    target = GaussianMixture(
        torch.tensor([0.5, 0.5]), torch.tensor([[-2.0, 0.0], [2.0, 1.0]]), torch.eye(2).expand(2, 2, 2)
    )
    x = target.sample(150, generator=generator)
    start = spread_start(x, 2, generator=generator)
    by_gradient = MixtureOfGaussians(start)
    trace = by_gradient.fit_by_gradient(x, steps=250, lr=0.05)
    best = fit_by_em(x, start, steps=300, tolerance=1e-12).log_likelihoods[-1]
    assert trace.shape == (250,)
    assert abs(float(by_gradient.log_prob(x).mean().detach() - best)) < 1e-3


def test_module_stands_for_the_mixture_it_starts_from() -> None:
    start = mixture()
    module = MixtureOfGaussians(start)
    assert close(module.mixture().weights, start.weights)
    assert close(module.mixture().covariances, start.covariances)
    x = torch.randn(7, 2)
    perturb(module)
    m = module.mixture()
    scale = torch.linalg.cholesky(m.covariances)
    assert close(scale.tril(-1), module.lower.detach().tril(-1))
    assert close(scale.diagonal(dim1=1, dim2=2).log(), module.log_diagonal)
    law = MixtureSameFamily(Categorical(m.weights), MultivariateNormal(m.means, m.covariances))
    assert close(module.log_prob(x), law.log_prob(x))
    assert close(module.elbo(x).value, law.log_prob(x))
    (-module.log_prob(x).mean()).backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in module.parameters() if p.grad is not None)
    assert all(p.grad is not None for p in module.parameters())


@pytest.mark.parametrize("batch", [(), (64,)])
def test_batch_shapes_and_single_precision(batch: tuple[int, ...]) -> None:
    module = MixtureOfGaussians(mixture())
    x = torch.randn(*batch, 2)
    double = module.log_prob(x)
    assert double.shape == batch
    assert module.elbo(x).kl.shape == batch
    assert close(module.float().log_prob(x.float()).double(), double, 1e-4)


def test_samples_have_the_mixtures_mean(generator: torch.Generator) -> None:
    """The mean of 20000 draws, within 5 standard errors in both coordinates: false alarm 1e-6."""
    module = MixtureOfGaussians(mixture())
    m = module.mixture()
    draws = module.sample(20000, generator=generator)
    assert standard_errors(draws, (m.weights @ m.means).detach()) < 5
    assert not draws.requires_grad


def test_start_takes_its_means_from_the_data_far_apart(generator: torch.Generator) -> None:
    """Three tight clusters get one mean each: drawing without regard to distance would miss one in most seeds."""
    x = torch.cat([torch.randn(50, 2) * 1e-3 + centre for centre in (5.0, 15.0, -5.0)])
    for _ in range(10):
        start = spread_start(x, 3, generator=generator)
        assert bool((start.means[:, None] == x).all(-1).any(-1).all())
        assert sorted(round(float(m)) for m in start.means[:, 0]) == [-5, 5, 15]
    assert close(start.weights, torch.full((3,), 1 / 3))
    assert close(start.covariances, (torch.cov(x.mT, correction=0) / 9).expand(3, 2, 2), 1e-5)


def test_a_component_on_one_point_keeps_the_floor_as_its_variance() -> None:
    x = torch.tensor([[0.0], [5.0], [6.0]])
    r = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    after = m_step(x, r, floor=1e-3)
    assert close(after.covariances.flatten(), torch.tensor([1e-3, 0.25 + 1e-3]))


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x must have shape \(2\) or \(N, 2\), got \(3, 4\)"):
        fit_by_em(torch.zeros(3, 4), mixture())
    with pytest.raises(ValueError, match="number of examples must be at least 1, got 0"):
        fit_by_em(torch.zeros(0, 2), mixture())
    with pytest.raises(ValueError, match=r"q must have shape \(5, 3\), got \(5, 2\)"):
        free_energy(torch.zeros(5, 2), torch.zeros(5, 2), mixture())
    with pytest.raises(ValueError, match="components must be at least 1, got 0"):
        spread_start(torch.zeros(5, 2), 0)
    with pytest.raises(ValueError, match="must be at least 6, got 5"):
        spread_start(torch.zeros(5, 2), 6)


def test_a_start_has_equal_weights(generator: torch.Generator) -> None:
    start = spread_start(torch.randn(40, 2), 5, generator=generator)
    assert close(start.weights, torch.full((5,), 0.2), 1e-12)
    assert close(start.weights.sum(), 1.0, 1e-12)
