"""Importance sampling, against exact enumeration on finite laws and Gaussian integrals."""

from __future__ import annotations

import math

import pytest
import torch

from reference_models.foundations.importance_sampling import (
    Weighted,
    effective_sample_size,
    importance_sample,
    log_normaliser,
    plain_estimate,
    resample,
    self_normalised_estimate,
    standard_error,
)
from reference_models.parts.distributions import DiagonalNormal
from tests.reference_models.helpers import close, standard_errors


def test_three_weights_by_hand():
    """Weights 1, 2, 5 and values 3, 0, −1: −2/3 plain, −1/4 normalised, log 8/3, 64/30."""
    log_weights, values = torch.tensor([1.0, 2.0, 5.0]).log(), torch.tensor([3.0, 0.0, -1.0])
    assert float(plain_estimate(log_weights, values)) == pytest.approx(-2 / 3)
    assert float(self_normalised_estimate(log_weights, values)) == pytest.approx(-1 / 4)
    assert float(log_normaliser(log_weights)) == pytest.approx(math.log(8 / 3))
    assert float(effective_sample_size(log_weights)) == pytest.approx(64 / 30)
    error = math.sqrt((3.25**2 + (2 * 0.25) ** 2 + (5 * 0.75) ** 2) / 64)
    assert float(standard_error(log_weights, values)) == pytest.approx(error)


def test_every_pair_of_draws_of_a_finite_law_enumerated():
    """N = 2 draws of q on 3 outcomes, all 9 pairs: the plain mean is Z E_p h exactly, E Ẑ = Z, and E log Ẑ < log Z."""
    q, unnormalised = torch.tensor([0.5, 0.3, 0.2]), 1.7 * torch.tensor([0.2, 0.3, 0.5])
    h = torch.tensor([1.0, -2.0, 4.0])
    log_w = (unnormalised / q).log()
    plain = normaliser = log_z = 0.0
    for i in range(3):
        for j in range(3):
            chance, pair = float(q[i] * q[j]), torch.tensor([i, j])
            plain += chance * float(plain_estimate(log_w[pair], h[pair]))
            normaliser += chance * math.exp(float(log_normaliser(log_w[pair])))
            log_z += chance * float(log_normaliser(log_w[pair]))
    assert plain == pytest.approx(1.7 * float((torch.tensor([0.2, 0.3, 0.5]) * h).sum()), abs=1e-12)
    assert normaliser == pytest.approx(1.7, abs=1e-12)
    assert log_z < math.log(1.7) - 1e-3


def wide() -> DiagonalNormal:
    return DiagonalNormal(torch.zeros(2), torch.full((2,), math.log(2.0)))


def narrow() -> DiagonalNormal:
    return DiagonalNormal(torch.tensor([1.0, -0.5]), torch.zeros(2))


def test_estimates_meet_gaussian_moments(generator):
    """Mean of N((1, −½), I) from draws of N(0, 4I), target scaled by e³: 5 standard errors of 100 runs."""
    target = narrow()
    plain, normalised, errors = [], [], []
    for _ in range(100):
        drawn = importance_sample(target.log_prob, wide(), 200, generator=generator)
        plain.append(plain_estimate(drawn.log_weights, drawn.x))
        drawn = importance_sample(lambda x: target.log_prob(x) + 3, wide(), 200, generator=generator)
        normalised.append(self_normalised_estimate(drawn.log_weights, drawn.x))
        errors.append(standard_error(drawn.log_weights, drawn.x))
    assert standard_errors(torch.stack(plain), target.mean) < 5
    spread = torch.stack(normalised)
    assert bool(((spread.mean(0) - target.mean).abs() < 5 * spread.std(0) / 10 + 0.02).all())  # bias of order 1/200
    assert bool(((torch.stack(errors).mean(0) / spread.std(0) - 1).abs() < 0.35).all())


def test_the_effective_size_is_the_one_of_the_weights_second_moment(generator):
    """N / E_q (p/q)²: on the line p = N(0, 1), q = N(0, s²) gives √(2s² − 1)/s² of N, by the Gaussian integral.

    Within 2 %; by the delta method the spread of 20000 draws is 0.25 %, so that fewer than one seed in 10⁶ fails.
    """
    s = 1.6
    p = DiagonalNormal(torch.zeros(1), torch.zeros(1))
    q = DiagonalNormal(torch.zeros(1), torch.full((1,), math.log(s)))
    drawn = importance_sample(p.log_prob, q, 20000, generator=generator)
    exact = math.sqrt(2 * s * s - 1) / (s * s)
    assert float(effective_sample_size(drawn.log_weights)) / 20000 == pytest.approx(exact, rel=0.02)


def test_equal_weights_are_plain_averages_and_extreme_ones_do_not_overflow():
    values = torch.randn(5, 3)
    assert close(self_normalised_estimate(torch.full((5,), 2000.0), values), values.mean(0), 1e-12)
    assert float(effective_sample_size(torch.full((5,), -2000.0))) == pytest.approx(5)
    one = torch.tensor([0.0, -torch.inf, -torch.inf])
    assert float(effective_sample_size(one)) == pytest.approx(1)
    assert float(log_normaliser(torch.tensor([1000.0, 1000.0]))) == pytest.approx(1000)


def test_values_may_be_images():
    values = torch.randn(6, 2, 3)
    log_weights = torch.randn(6)
    expected = (log_weights.softmax(0)[:, None, None] * values).sum(0)
    assert close(self_normalised_estimate(log_weights, values), expected, 1e-12)
    assert standard_error(log_weights, values).shape == (2, 3)


def test_resampling_draws_by_weight(generator):
    """Weights 1 : 3 on two points, 4000 draws: the share within 5 standard errors."""
    weighted = Weighted(torch.tensor([[0.0], [1.0]]), torch.tensor([1.0, 3.0]).log())
    drawn = resample(weighted, 4000, generator=generator)
    assert drawn.shape == (4000, 1)
    assert standard_errors(drawn, 0.75) < 5


def test_draws_and_weights_belong_together(generator):
    drawn = importance_sample(narrow().log_prob, wide(), 50, generator=generator)
    assert drawn.x.shape == (50, 2)
    assert close(drawn.log_weights, narrow().log_prob(drawn.x) - wide().log_prob(drawn.x), 1e-12)


def test_float32_agrees():
    log_weights, values = torch.randn(9), torch.randn(9)
    single = self_normalised_estimate(log_weights.float(), values.float())
    assert single.dtype == torch.float32
    assert float(single) == pytest.approx(float(self_normalised_estimate(log_weights, values)), abs=1e-6)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"log_weights must have shape \(N,\), got \(2, 1\)"):
        effective_sample_size(torch.zeros(2, 1))
    with pytest.raises(ValueError, match=r"must be below inf and not all -inf, got values in \[-inf, -inf\]"):
        log_normaliser(torch.full((2,), -torch.inf))
    with pytest.raises(ValueError, match="log_weights must be below inf"):
        log_normaliser(torch.full((2,), torch.nan))
    with pytest.raises(ValueError, match=r"values must have shape \(2, \*\), got \(3,\)"):
        plain_estimate(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        importance_sample(narrow().log_prob, wide(), 0)


def test_resampling_draws_with_replacement(generator):
    """Of two values, one with nearly all of the weight, many copies are drawn, in the proportion of the weights."""
    weighted = Weighted(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0.7, 0.2, 0.1]).log())
    drawn = resample(weighted, 4000, generator=generator)
    shares = torch.tensor([float((drawn == value).double().mean()) for value in (1.0, 2.0, 3.0)])
    error = (torch.tensor([0.7 * 0.3, 0.2 * 0.8, 0.1 * 0.9]) / 4000).sqrt()
    assert float(((shares - torch.tensor([0.7, 0.2, 0.1])).abs() / error).max()) < 5
    few = torch.cat([resample(weighted, 2, generator=generator).T for _ in range(200)])
    assert bool((few[:, 0] == few[:, 1]).any())
