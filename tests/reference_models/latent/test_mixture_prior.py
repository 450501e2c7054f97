"""A learnable mixture prior against torch.distributions, quadrature and a numerical minimiser."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import softmax
from scipy.stats import kstest, norm
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from reference_models.latent.mixture_prior import MixturePrior, VaDE
from reference_models.latent.vae import GaussianPosterior
from tests.reference_models.helpers import close, numpy, perturb, standard_errors


def prior(d: int = 2, K: int = 3) -> MixturePrior:
    return perturb(MixturePrior(d, K), scale=0.7)


def as_mixture(p: MixturePrior) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(logits=p.logits), Independent(Normal(p.means, p.log_stds.exp()), 1))


def posterior(n: int = 4, d: int = 2) -> GaussianPosterior:
    return GaussianPosterior(torch.randn(n, d), 0.5 * torch.randn(n, d))


@pytest.mark.parametrize("batch", [(), (64,), (3, 4)])
def test_log_prob_and_responsibilities_are_those_of_the_mixture(batch: tuple[int, ...]) -> None:
    p, z = prior(), torch.randn(*batch, 2)
    mixture = as_mixture(p)
    assert close(p.log_prob(z), mixture.log_prob(z).detach(), atol=1e-10)
    joint = mixture.mixture_distribution.probs * mixture.component_distribution.log_prob(z.unsqueeze(-2)).exp()
    assert close(p.responsibilities(z), (joint / joint.sum(-1, keepdim=True)).detach(), atol=1e-10)


def test_samples_follow_the_mixture(generator: torch.Generator) -> None:
    """20 000 draws in one dimension, Kolmogorov–Smirnov against the mixture's distribution function; below 1e-6."""
    p = prior(1, 3)
    w, m, s = softmax(numpy(p.logits)), numpy(p.means)[:, 0], np.exp(numpy(p.log_stds)[:, 0])
    z = numpy(p.sample(20_000, generator=generator))[:, 0]
    assert kstest(z, lambda t: (w * norm.cdf((t[:, None] - m) / s)).sum(1)).pvalue > 1e-6


def test_dimensions_of_a_sample_come_from_one_component(generator: torch.Generator) -> None:
    """The covariance between dimensions, which the component carries: 20 000 draws, 5 standard errors."""
    p = prior(2, 3)
    z = p.sample(20_000, generator=generator)
    w = torch.softmax(p.logits, 0)
    assert standard_errors(z.prod(1), (w * p.means.prod(1)).sum().detach()) < 5


def test_the_bound_is_the_least_over_all_weights() -> None:
    p, q = prior(), posterior(1)
    pi = softmax(numpy(p.logits))
    kl = numpy(kl_divergence(Normal(q.mean[:, None], q.log_std[:, None].exp()), Normal(p.means, p.log_stds.exp())))
    kl = kl.sum(-1)[0]

    def bound(a: np.ndarray) -> float:
        gamma = softmax(a)
        return float(gamma @ kl + gamma @ np.log(gamma / pi))

    found = minimize(bound, np.zeros(3), tol=1e-12)
    assert abs(float(p.kl_bound(q)[0].detach()) - found.fun) < 1e-7
    assert np.allclose(numpy(p.assignments(q))[0], softmax(found.x), atol=1e-4)


def test_the_bound_lies_above_the_kl_and_meets_it_for_one_component() -> None:
    """KL in one dimension by quadrature."""
    p, q = prior(1, 3), posterior(4, 1)
    z = torch.linspace(-15, 15, 6001)[:, None]
    log_q = q.log_prob(z.unsqueeze(1))  # (6001, 4)
    kl = (log_q.exp() * (log_q - p.log_prob(z)[:, None])).sum(0) * float(z[1] - z[0])
    assert bool((p.kl_bound(q) > kl + 1e-4).all())
    single, q = prior(2, 1), posterior()
    truth = kl_divergence(Normal(q.mean, q.log_std.exp()), Normal(single.means[0], single.log_stds[0].exp())).sum(-1)
    assert close(single.kl_bound(q), truth.detach(), atol=1e-10)


def test_the_closed_form_bound_is_below_the_sampled_one_and_both_below_the_likelihood() -> None:
    """log p(x) by quadrature over one code variable; the sampled bound by 4000 draws, 5 standard errors."""
    vae = perturb(VaDE((1, 2, 2), 1, (5,), 3), scale=0.5)
    x = (torch.rand(3, 1, 2, 2) > 0.5).double()
    z = torch.linspace(-12, 12, 2001)[:, None, None].expand(-1, 3, 1)
    log_joint = vae.log_likelihood(x, z) + vae.prior.log_prob(z)
    log_p = torch.logsumexp(log_joint, 0) + float(torch.tensor(24 / 2000).log())
    noise = torch.randn(4000, 3, 1)
    draws = vae.log_weights(x, 4000, noise=noise)
    closed, sampled = vae.elbo(x, samples=4000, noise=noise), vae.elbo(x, samples=4000, noise=noise, form="sampled")
    q = vae.posterior(x)
    assert close(closed.kl, vae.prior.kl_bound(q).detach(), atol=1e-12)
    assert close(sampled.value, draws.mean(0).detach(), atol=1e-10)
    slack = 5 * draws.std(0) / 4000**0.5
    assert bool((closed.value < sampled.value + slack).all())
    assert bool((sampled.value < log_p + slack).all())
    assert standard_errors(draws.exp().detach(), log_p.exp().detach()) < 5


def test_examples_are_put_with_the_component_their_code_is_nearest_to() -> None:
    vae = VaDE((1, 1, 2), 1, (4,), 2)
    with torch.no_grad():
        vae.prior.means.copy_(torch.tensor([[-20.0], [20.0]]))
        last = vae.encoder.net[1][-1]
        last.weight.zero_()
    for mean, component in ((-3.0, 0), (3.0, 1)):
        with torch.no_grad():
            last.bias.copy_(torch.tensor([mean, 0.0]))
        assert vae.cluster(torch.zeros(2, 1, 1, 2)).tolist() == [component] * 2


def test_the_published_network_has_its_size() -> None:
    """784-500-500-2000-(10, 10), 10-2000-500-500-784 and a prior of 10 weights, 100 means, 100 scales."""
    with torch.device("meta"):
        count = sum(p.numel() for p in VaDE.mnist().parameters())
    up = 785 * 500 + 501 * 500 + 501 * 2000 + 2001 * 20
    down = 11 * 2000 + 2001 * 500 + 501 * 500 + 501 * 784
    assert count == up + down + 210


def test_single_precision_stays_single(generator: torch.Generator) -> None:
    vae = VaDE((1, 2, 2), 2, (5,), 3).float()
    x = (torch.rand(3, 1, 2, 2) > 0.5).float()
    assert vae.elbo(x, generator=generator).value.dtype == torch.float32
    assert vae.sample(3, generator=generator).dtype == torch.float32
    assert vae.elbo(x[0], generator=generator).value.shape == ()


def test_bad_input_is_refused_with_the_value_in_hand() -> None:
    with pytest.raises(ValueError, match="components must be at least 1, got 0"):
        MixturePrior(2, 0)
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        MixturePrior(0)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        prior().sample(0)
    with pytest.raises(ValueError, match=r"z must have shape \(\*B, 2\), got \(5, 1\)"):
        MixturePrior(2).log_prob(torch.zeros(5, 1))


def test_clusters_are_assigned_by_the_whole_posterior_and_not_by_its_mean() -> None:
    """A wide posterior belongs to the wide component, though its mean lies on the narrow one's."""
    p = MixturePrior(1, 2)
    with torch.no_grad():
        p.means.copy_(torch.tensor([[0.0], [1.0]]))
        p.log_stds.copy_(torch.tensor([[-1.5], [1.0]]))
        p.logits.zero_()
    wide, narrow = (GaussianPosterior(torch.zeros(1, 1), torch.tensor([[s]])) for s in (1.0, -1.5))
    components = [Normal(0.0, math.exp(-1.5)), Normal(1.0, math.exp(1.0))]
    for q in (wide, narrow):
        kl = [float(kl_divergence(Normal(0.0, float(q.log_std.exp())), c)) for c in components]
        assert close(p.assignments(q)[0], torch.tensor(softmax([-k for k in kl])), 1e-9)
    assert int(p.assignments(wide).argmax()) == 1
    assert int(p.assignments(narrow).argmax()) == 0


def test_a_vade_clusters_by_those_assignments() -> None:
    vade = perturb(VaDE((1, 2, 2), 2, (4,), 3), 0.8)
    x = torch.rand(40, 1, 2, 2).round()
    q = vade.posterior(x)
    assert torch.equal(vade.cluster(x), vade.prior.assignments(q).argmax(-1))
    by_mean = (
        torch.distributions.Normal(vade.prior.means, vade.prior.log_stds.exp()).log_prob(q.mean[:, None]).sum(-1)
        + vade.prior.logits.log_softmax(0)
    ).argmax(-1)
    assert not torch.equal(vade.cluster(x), by_mean)
