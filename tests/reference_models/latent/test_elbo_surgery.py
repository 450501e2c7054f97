"""The parts of the rate against enumeration with SciPy and integration; the gaps against closed forms of pPCA."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import Tensor, nn
from torch.distributions import Normal

from reference_models.latent.elbo_surgery import discrete_marginal_parts, discrete_surgery, fit_posterior, surgery
from reference_models.latent.ppca import PPCA
from reference_models.latent.vae import GaussianPosterior, StandardNormal
from tests.reference_models.helpers import close, numpy, standard_errors
from tests.reference_models.latent.linear import LATENT, D, FreePosterior, evidence, model


def test_discrete_parts_are_scipys_and_add_up() -> None:
    """Ten examples, six codes: the rate by SciPy's KL row by row, the information as H(z) − H(z|n), to 1e-12."""
    q, p = (2 * torch.randn(10, 6)).softmax(1), torch.randn(6).softmax(0)
    parts = discrete_surgery(q, p)
    rows, prior = numpy(q), numpy(p)
    assert abs(float(parts.rate) - np.mean([entropy(row, prior) for row in rows])) < 1e-12
    information = entropy(rows.mean(0)) - np.mean([entropy(row) for row in rows])
    assert abs(float(parts.mutual_information) - information) < 1e-12
    assert abs(float(parts.marginal_kl) - entropy(rows.mean(0), prior)) < 1e-12
    assert close(parts.mutual_information + parts.marginal_kl, parts.rate, 1e-12)


def test_information_is_log_n_for_distinct_codes_and_zero_for_one() -> None:
    distinct = discrete_surgery(torch.eye(5), torch.full((5,), 0.2))
    assert close(distinct.mutual_information, math.log(5), 1e-12)
    assert close(distinct.marginal_kl, 0.0, 1e-12)
    same = discrete_surgery(torch.tensor([0.2, 0.8]).expand(5, 2), torch.tensor([0.5, 0.5]))
    assert close(same.mutual_information, 0.0, 1e-12)
    assert float(same.marginal_kl) > 0.1


def test_gaussian_parts_are_those_of_integration(generator: torch.Generator) -> None:
    """Three posteriors on a line: integrals on a grid; the mean of 200 estimates within 5 standard errors."""
    q = GaussianPosterior(torch.tensor([[-1.5], [0.2], [2.0]]), torch.tensor([[-0.7], [0.1], [-0.3]]))
    z = torch.linspace(-12, 12, 20001)
    p_n = Normal(q.mean, q.log_std.exp()).log_prob(z).exp()  # (3, grid)
    aggregate = p_n.mean(0)
    dz = 24 / 20000
    prior = Normal(0.0, 1.0).log_prob(z)
    rate = (torch.special.xlogy(p_n, p_n) - p_n * prior).sum() * dz / 3
    marginal = (torch.special.xlogy(aggregate, aggregate) - aggregate * prior).sum() * dz
    runs = [surgery(q, StandardNormal(1), samples=20, generator=generator) for _ in range(200)]
    assert standard_errors(torch.stack([run.rate for run in runs]), rate) < 5
    assert standard_errors(torch.stack([run.marginal_kl for run in runs]), marginal) < 5
    assert standard_errors(torch.stack([run.mutual_information for run in runs]), rate - marginal) < 5
    assert close(rate, q.kl_to_standard_normal().mean(), 1e-9)


def test_far_apart_codes_tell_everything(generator: torch.Generator) -> None:
    """Means 100 apart in two dimensions: the information is log N to 1e-9, whatever is drawn."""
    q = GaussianPosterior(100 * torch.arange(4.0)[:, None].expand(4, 2), torch.randn(4, 2))
    assert close(surgery(q, StandardNormal(2), generator=generator).mutual_information, math.log(4))


def test_marginal_kl_is_total_correlation_plus_axes() -> None:
    """Two discrete coordinates: parts by SciPy, their sum the marginal KL; no total correlation for a product."""
    q = (2 * torch.randn(7, 12)).softmax(1).reshape(7, 3, 4)
    p = torch.outer(torch.randn(3).softmax(0), torch.randn(4).softmax(0))
    parts = discrete_marginal_parts(q, p)
    joint = numpy(q.mean(0))
    outer = np.outer(joint.sum(1), joint.sum(0))
    assert abs(float(parts.total_correlation) - entropy(joint.ravel(), outer.ravel())) < 1e-12
    axes = entropy(joint.sum(1), numpy(p).sum(1)) + entropy(joint.sum(0), numpy(p).sum(0))
    assert abs(float(parts.dimension_wise_kl) - axes) < 1e-12
    whole = discrete_surgery(q.flatten(1), p.flatten()).marginal_kl
    assert close(parts.total_correlation + parts.dimension_wise_kl, whole, 1e-12)
    product = torch.outer(torch.tensor([0.1, 0.9]), torch.tensor([0.3, 0.7]))
    assert close(discrete_marginal_parts(product[None], product).total_correlation, 0.0, 1e-12)


def test_refined_posterior_is_the_optimal_mean_field_one(generator: torch.Generator) -> None:
    """In pPCA, from a bad start: mean and log-std of the closed form within 0.1, the bound within 0.02 nats of it.

    Noise of deviation 2 in x, so that the prior says as much of the code as the image does.
    """
    ppca, x = PPCA(torch.randn(D, LATENT), torch.randn(D), 2.0), 2 * torch.randn(3, D)
    q = FreePosterior(3, LATENT)
    vae = ppca.as_vae(q)
    before = (q.mean.detach().clone(), q.log_std.detach().clone())
    found = fit_posterior(vae, x, steps=250, samples=8, lr=0.1, generator=generator)
    best = ppca.mean_field_posterior(x)
    assert close(found.mean, best.mean, 0.1)
    assert close(found.log_std, best.log_std, 0.1)
    gap = ppca.elbo(x, q=best).value - ppca.elbo(x, q=found).value
    assert bool(((gap >= 0) & (gap < 0.02)).all())
    assert bool((ppca.elbo(x, q=best).value - ppca.elbo(x, q=q(x)).value > 0.1).all())
    assert bool((ppca.elbo(x, q=found).value < evidence(ppca, x)).all())
    assert close(q.mean, before[0], 0.0)  # the encoder is left as it was
    assert all(p.grad is None for p in vae.parameters())


class NotGaussian(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"q must be \(N, K\) and p \(K,\), got \(2, 3\) and \(4,\)"):
        discrete_surgery(torch.ones(2, 3) / 3, torch.ones(4) / 4)
    with pytest.raises(ValueError, match=r"q must be \(N, I, J\) and p \(I, J\), got \(2, 3\)"):
        discrete_marginal_parts(torch.ones(2, 3) / 3, torch.ones(3) / 3)
    with pytest.raises(ValueError, match=r"every row of q must sum to one, got sums in \[0\.9, 1\]"):
        discrete_surgery(torch.tensor([[0.5, 0.4], [0.5, 0.5]]), torch.ones(2) / 2)
    with pytest.raises(ValueError, match=r"every table of q must sum to one, got sums in \[6, 6\]"):
        discrete_marginal_parts(torch.ones(1, 2, 3), torch.ones(2, 3) / 6)
    for parts, q in ((discrete_surgery, torch.ones(1, 2) / 2), (discrete_marginal_parts, torch.ones(1, 1, 2) / 2)):
        with pytest.raises(ValueError, match=r"every p must sum to one, got sums in \[2, 2\]"):
            parts(q, torch.ones(q.shape[1:]))
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        surgery(GaussianPosterior(torch.zeros(2, 1), torch.zeros(2, 1)), StandardNormal(1), samples=0)
    ppca = model()
    with pytest.raises(ValueError, match="only a Gaussian posterior can be refined, got Tensor"):
        fit_posterior(ppca.as_vae(NotGaussian()), torch.zeros(2, D))
