"""Likelihood, MAP and averaging, against quadrature, SciPy's laws and scikit-learn's ridge regression."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from sklearn.linear_model import Ridge

from reference_models.foundations.conjugate_bayes import BetaBernoulli, LinearRegression
from tests.reference_models.helpers import close, numpy

FLIPS = torch.tensor([1, 1, 0, 1, 0, 1, 1])


def likelihood(theta: float) -> float:
    return theta**5 * (1 - theta) ** 2


def test_the_coin_by_quadrature_and_search():
    """Prior Beta(2, 3), five heads of seven: every quantity by its definition."""
    coin = BetaBernoulli(2.0, 3.0).observe(FLIPS)
    prior = stats.beta(2, 3).pdf
    evidence = quad(lambda t: likelihood(t) * prior(t), 0, 1)[0]
    predictive = quad(lambda t: t * likelihood(t) * prior(t), 0, 1)[0] / evidence
    mode = minimize_scalar(lambda t: -likelihood(t) * prior(t), bounds=(0, 1), method="bounded").x
    assert coin.posterior == (7, 5)
    assert coin.log_evidence == pytest.approx(math.log(evidence), abs=1e-9)
    assert coin.predictive == pytest.approx(predictive, abs=1e-9)
    assert coin.maximum_a_posteriori == pytest.approx(mode, abs=1e-5)
    assert coin.maximum_likelihood == 5 / 7


def test_the_evidence_of_all_orders_together_is_the_beta_binomial_law():
    coin = BetaBernoulli(2.0, 3.0).observe(FLIPS)
    exact = stats.betabinom(7, 2, 3).logpmf(5) - math.log(math.comb(7, 5))
    assert coin.log_evidence == pytest.approx(exact, abs=1e-9)


def test_the_evidence_is_the_product_of_predictions_made_in_turn():
    coin, product = BetaBernoulli(0.5, 1.5), 0.0
    for flip in FLIPS:
        chance = coin.predictive if flip else 1 - coin.predictive
        product += math.log(chance)
        coin = coin.observe(flip[None])
    assert coin.log_evidence == pytest.approx(product, abs=1e-9)
    assert coin == BetaBernoulli(0.5, 1.5).observe(FLIPS)


def test_a_flat_prior_makes_map_maximum_likelihood_and_averaging_laplaces_rule():
    coin = BetaBernoulli().observe(torch.ones(3))
    assert coin.maximum_a_posteriori == coin.maximum_likelihood == 1
    assert coin.predictive == 4 / 5


def regression(n: int = 12, d: int = 3, **precisions: float) -> LinearRegression:
    features = torch.randn(n, d)
    targets = features @ torch.tensor([1.0, -2.0, 0.5])[:d] + 0.3 * torch.randn(n)
    return LinearRegression(features, targets, **precisions)


def test_map_is_ridge_regression_and_maximum_likelihood_least_squares():
    model = regression(alpha=0.8, beta=4.0)
    ridge = Ridge(alpha=0.8 / 4.0, fit_intercept=False).fit(numpy(model.features), numpy(model.targets))
    assert close(model.maximum_a_posteriori, torch.as_tensor(ridge.coef_, device=model.mean.device), 1e-9)
    residual = model.targets - model.features @ model.maximum_likelihood
    assert close(model.features.T @ residual, 0.0, 1e-9)  # the normal equations


def test_the_posterior_is_the_conditional_of_the_joint_normal_law():
    """(w, y) is normal with blocks I/α, Φ'/α and ΦΦ'/α + I/β: condition it on y by the general formula."""
    model = regression(alpha=0.8, beta=4.0)
    phi = model.features
    cov_y = phi @ phi.T / 0.8 + torch.eye(12) / 4.0
    gain = torch.linalg.solve(cov_y, phi / 0.8).T
    assert close(model.mean, gain @ model.targets, 1e-9)
    assert close(model.covariance, torch.eye(3) / 0.8 - gain @ phi / 0.8, 1e-9)


def test_the_evidence_is_the_marginal_normal_law_of_scipy():
    model = regression(alpha=0.8, beta=4.0)
    cov = numpy(model.features @ model.features.T / 0.8 + torch.eye(12) / 4.0)
    exact = stats.multivariate_normal(cov=cov).logpdf(numpy(model.targets))
    assert float(model.log_evidence) == pytest.approx(float(exact), abs=1e-9)


def test_the_evidence_is_the_product_of_averaged_predictions_made_in_turn():
    model = regression(alpha=0.8, beta=4.0)
    total = 0.0
    for n in range(12):
        before = LinearRegression(model.features[:n], model.targets[:n], alpha=0.8, beta=4.0)
        ahead = before.predict(model.features[n : n + 1])
        total += stats.norm(float(ahead.mean), float(ahead.variance) ** 0.5).logpdf(float(model.targets[n]))
    assert float(model.log_evidence) == pytest.approx(total, abs=1e-9)


def test_averaging_over_drawn_lines_gives_the_predictive_variance(generator):
    """20000 draws of the posterior plus noise: mean and variance at each input within 5 standard errors."""
    model = regression(n=4, alpha=0.8, beta=4.0)
    at = torch.randn(64, 3)
    noise = torch.randn(20000, 3, generator=generator, device=generator.device)
    w = model.mean + noise @ torch.linalg.cholesky(model.covariance).T
    lines = w @ at.T
    found = model.predict(at)
    variance = found.variance - 1 / 4.0
    assert bool(((lines.mean(0) - found.mean).abs() < 5 * (variance / 20000).sqrt()).all())
    assert bool(((lines.var(0) - variance).abs() < 5 * variance * (2 / 20000) ** 0.5).all())


def test_averaging_is_wider_than_any_line_and_widest_away_from_data():
    model = LinearRegression(torch.tensor([[1.0, 0.0], [2.0, 0.0]]), torch.tensor([1.0, 2.0]), alpha=1.0, beta=2.0)
    at = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    averaged, line = model.predict(at), model.plug_in(at, model.maximum_likelihood)
    assert close(line.variance, 0.5, 1e-12)
    assert averaged.variance.tolist() == pytest.approx([0.5 + 1 / 11, 0.5 + 1], abs=1e-12)  # 1/(1 + 2·5), 1/α
    assert close(line.mean, torch.tensor([1.0, 0.0]), 1e-12)


def test_float32_agrees():
    model = regression()
    single = LinearRegression(model.features.float(), model.targets.float())
    assert single.mean.dtype == torch.float32
    assert float(single.log_evidence) == pytest.approx(float(model.log_evidence), rel=1e-4)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="a must be positive, got 0"):
        BetaBernoulli(0, 1)
    with pytest.raises(ValueError, match="heads and tails must not be negative, got -1 and 0"):
        BetaBernoulli(heads=-1)
    with pytest.raises(ValueError, match=r"flips must be zeros and ones .*, got shape \(1,\), values \[0.5\]"):
        BetaBernoulli().observe(torch.tensor([0.5]))
    with pytest.raises(ValueError, match="maximum likelihood needs at least one flip, got none"):
        _ = BetaBernoulli().maximum_likelihood
    with pytest.raises(ValueError, match=r"Beta\(0.5, 0.5\) has no single mode"):
        _ = BetaBernoulli(0.5, 0.5).maximum_a_posteriori
    with pytest.raises(ValueError, match=r"Beta\(1, 1\) has no single mode"):
        _ = BetaBernoulli().maximum_a_posteriori
    assert BetaBernoulli(1, 2).maximum_a_posteriori == 0
    with pytest.raises(ValueError, match=r"weights must have shape \(3,\), got \(3, 2\)"):
        regression().plug_in(torch.zeros(2, 3), torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"features and targets must have shapes \(N, D\) and \(N,\), got"):
        LinearRegression(torch.zeros(3, 2), torch.zeros(4))
    with pytest.raises(ValueError, match="beta must be positive, got -1"):
        regression(beta=-1)
    with pytest.raises(ValueError, match=r"features must have shape \(M, 3\), got \(2, 2\)"):
        regression().predict(torch.zeros(2, 2))
