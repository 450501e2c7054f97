"""Log-densities against torch.distributions and SciPy; the mixture against autograd and its moments."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import logistic, multivariate_normal
from torch.distributions import Bernoulli, Normal, kl_divergence

from reference_models.parts.distributions import (
    DiagonalNormal,
    GaussianMixture,
    bernoulli_log_prob,
    discretised_logistic_mixture_log_prob,
    normal_kl,
    normal_log_prob,
    standard_normal,
)
from tests.reference_models.helpers import close, numpy, standard_errors


def test_the_normal_agrees_with_torch():
    x, mean, log_std = torch.randn(64), torch.randn(64), torch.randn(64)
    assert close(normal_log_prob(x, mean, log_std), Normal(mean, log_std.exp()).log_prob(x), 1e-10)
    assert close(normal_log_prob(x, 0.5, -1.0), Normal(0.5, math.exp(-1)).log_prob(x), 1e-10)


def test_the_kl_of_normals_agrees_with_torch_and_is_zero_only_for_equals():
    a, b, c, d = torch.randn(4, 64)
    assert close(normal_kl(a, b, c, d), kl_divergence(Normal(a, b.exp()), Normal(c, d.exp())), 1e-10)
    assert close(normal_kl(a, b), kl_divergence(Normal(a, b.exp()), Normal(0.0, 1.0)), 1e-10)
    assert close(normal_kl(a, b, a, b), 0.0, 1e-12)


def test_the_bernoulli_agrees_with_torch_and_stays_finite_and_exact():
    x, logits = (torch.rand(64) < 0.5).double(), 3 * torch.randn(64)
    assert close(bernoulli_log_prob(x, logits), Bernoulli(logits=logits).log_prob(x), 1e-10)
    extreme = bernoulli_log_prob(torch.tensor([0.0, 1.0, 1.0]), torch.tensor([800.0, -800.0, 800.0]))
    assert close(extreme, torch.tensor([-800.0, -800.0, 0.0]), 0.0)
    assert close(bernoulli_log_prob(torch.tensor(0.0), torch.tensor(-30.0)), -math.exp(-30), 1e-20)


@pytest.mark.parametrize("num_levels", [2, 17, 256])
def test_the_discretised_mixture_sums_to_one_with_components_at_the_edges(num_levels):
    levels = torch.arange(num_levels)
    means = torch.tensor([-1.3, -0.95, 0.4, 1.0]).expand(num_levels, 4)
    log_scales = torch.tensor([-7.0, -1.0, -4.0, -7.0]).expand(num_levels, 4)
    logits = torch.randn(4).expand(num_levels, 4)
    log_p = discretised_logistic_mixture_log_prob(levels, logits, means, log_scales, num_levels)
    assert bool(log_p.isfinite().all())
    assert close(log_p.exp().sum(), 1.0, 1e-9)


def test_a_level_has_the_mass_of_its_bin():
    """By SciPy's cumulative distribution: levels stand at 2k/255 − 1, bins reach 1/255 to either side."""
    mean, scale = 0.1, 0.05
    for level in (0, 100, 140, 255):
        low = -math.inf if level == 0 else 2 * level / 255 - 1 - 1 / 255
        high = math.inf if level == 255 else 2 * level / 255 - 1 + 1 / 255
        expected = logistic.cdf(high, mean, scale) - logistic.cdf(low, mean, scale)
        parameters = (torch.zeros(1), torch.tensor([mean]), torch.tensor([math.log(scale)]))
        log_p = discretised_logistic_mixture_log_prob(torch.tensor(level), *parameters, 256)
        assert float(log_p.exp()) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_weights_of_the_discretised_mixture_are_a_softmax():
    levels, means, log_scales = torch.arange(5), torch.randn(2).expand(5, 2), torch.full((5, 2), -1.0)
    logits = torch.tensor([0.0, math.log(3)]).expand(5, 2)
    both = discretised_logistic_mixture_log_prob(levels, logits, means, log_scales, 5).exp()
    one, two = (
        discretised_logistic_mixture_log_prob(levels, logits[:, :1], means[:, k : k + 1], log_scales[:, :1], 5).exp()
        for k in (0, 1)
    )
    assert close(both, 0.25 * one + 0.75 * two, 1e-12)


def test_a_far_level_has_finite_mass_and_gradient_in_single_precision():
    mean = torch.tensor([0.9], dtype=torch.float32, requires_grad=True)
    log_p = discretised_logistic_mixture_log_prob(
        torch.tensor(3), torch.zeros(1, dtype=torch.float32), mean, torch.tensor([-7.0], dtype=torch.float32), 256
    )
    log_p.backward()
    assert math.isfinite(float(log_p.detach()))
    assert math.isfinite(float(mean.grad))


def test_noise_takes_device_and_precision_of_a_tensor_or_a_module():
    assert standard_normal((2, 3), torch.zeros(1, dtype=torch.float32)).dtype == torch.float32
    assert standard_normal((2, 3), torch.nn.Linear(1, 1).float()).dtype == torch.float32
    assert standard_normal((2,), torch.nn.Embedding(3, 2)).shape == (2,)


def test_the_diagonal_normal_agrees_with_torch(generator):
    mean, log_std, x = torch.randn(3), torch.randn(3), torch.randn(64, 3, requires_grad=True)
    law, expected = DiagonalNormal(mean, log_std), Normal(mean, log_std.exp())
    log_p = law.log_prob(x)
    assert close(log_p, expected.log_prob(x).sum(-1), 1e-9)
    assert close(law.score(x), torch.autograd.grad(log_p.sum(), x)[0], 1e-9)
    assert close(law.entropy(), expected.entropy().sum(), 1e-9)
    draws = law.sample(10000, generator=generator)
    assert standard_errors(draws, mean) < 5
    assert standard_errors((draws - mean) ** 2, torch.exp(2 * log_std)) < 5
    assert law.log_prob(x[0]).shape == ()


def example() -> GaussianMixture:
    factors = torch.tensor([[[1.0, 0.0], [0.5, 0.7]], [[0.3, 0.0], [-0.4, 1.2]], [[0.8, 0.0], [0.0, 0.8]]])
    return GaussianMixture(torch.tensor([2.0, 1.0, 3.0]), torch.randn(3, 2), factors @ factors.mT)


def test_the_mixture_agrees_with_scipy():
    mixture, x = example(), torch.randn(20, 2)
    components = zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    expected = sum(float(w) * multivariate_normal.pdf(numpy(x), numpy(m), numpy(c)) for w, m, c in components)
    assert numpy(mixture.log_prob(x).exp()) == pytest.approx(expected, rel=1e-9)
    assert close(mixture.responsibilities(x).sum(-1), 1.0, 1e-12)
    assert mixture.log_prob(x[0]).shape == ()


def test_the_score_of_the_mixture_is_its_gradient():
    mixture, x = example(), torch.randn(20, 2, requires_grad=True)
    assert close(mixture.score(x), torch.autograd.grad(mixture.log_prob(x).sum(), x)[0], 1e-10)


def test_samples_of_the_mixture_have_its_moments(generator):
    """20 000 draws; mean, second moments and shares of the components within five standard errors."""
    mixture = example()
    x, labels = mixture.sample_with_labels(20000, generator=generator)
    assert standard_errors(x, mixture.mean) < 5
    deviation = x - mixture.mean
    assert standard_errors(deviation[:, :, None] * deviation[:, None, :], mixture.covariance) < 5
    assert standard_errors(torch.nn.functional.one_hot(labels, 3).double(), mixture.weights) < 5
    assert standard_errors(x[labels == 1], mixture.means[1]) < 5


def test_the_noised_mixture_is_the_law_of_the_noised_draws(generator):
    mixture = example()
    x = 0.7 * mixture.sample(20000, generator=generator) + 0.4 * torch.randn(20000, 2, generator=generator)
    noised = mixture.noised(0.7, 0.4)
    assert standard_errors(x, noised.mean) < 5
    deviation = x - noised.mean
    assert standard_errors(deviation[:, :, None] * deviation[:, None, :], noised.covariance) < 5
    one = mixture.covariances[1]
    assert close(noised.covariances[1], 0.49 * one + 0.16 * torch.eye(2), 1e-12)


def test_what_is_no_mixture_is_refused():
    eye = torch.eye(2).expand(2, 2, 2)
    with pytest.raises(ValueError, match="every weight must be positive"):
        GaussianMixture(torch.tensor([1.0, 0.0]), torch.zeros(2, 2), eye)
    with pytest.raises(ValueError, match=r"\(K, D, D\), got \(2,\), \(2, 2\), \(2, 2\)"):
        GaussianMixture(torch.ones(2), torch.zeros(2, 2), torch.eye(2))
    with pytest.raises(ValueError, match="positive definite, got eigenvalue -1"):
        GaussianMixture(torch.ones(2), torch.zeros(2, 2), -eye)
    with pytest.raises(ValueError, match="must both have shape"):
        DiagonalNormal(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="num_levels must be at least 2, got 1"):
        discretised_logistic_mixture_log_prob(torch.zeros(1), *torch.zeros(3, 1, 1), 1)
    for law in (GaussianMixture(torch.ones(2), torch.zeros(2, 2), eye), DiagonalNormal(torch.zeros(2), torch.zeros(2))):
        for call in (law.log_prob, law.score):
            with pytest.raises(ValueError, match=r"x must have shape \(\*B, 2\), got \(5, 1\)"):
                call(torch.zeros(5, 1))
