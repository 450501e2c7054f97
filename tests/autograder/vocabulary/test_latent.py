"""Divergences, densities, bounds and climbing sequences; the oracles are torch.distributions, SciPy and exact laws."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from autograder.checks import (
    GaussianDecoder,
    GaussianEncoder,
    assert_bound,
    assert_density,
    assert_gaussian_kl,
    assert_increasing,
    assert_integrates_to_one,
    encoder_near,
    exact_encoder,
    linear_gaussian_law,
    orthogonal_columns,
)
from tests.autograder.vocabulary.forked import notebook
from tests.autograder.vocabulary.students import fails, generator

F64 = torch.float64


def normal(seed: int, *shape: int, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=F64).to(dtype)


def kl(m1: Tensor, s1: Tensor, m2: Any = 0.0, s2: Any = 0.0) -> Tensor:
    m2, s2 = (torch.as_tensor(q, dtype=m1.dtype) for q in (m2, s2))
    return s2 - s1 + 0.5 * ((2 * (s1 - s2)).exp() + ((m1 - m2) / s2.exp()) ** 2) - 0.5


def kl_of_library(m1: Tensor, s1: Tensor, m2: Any = None, s2: Any = None) -> Tensor:
    m2, s2 = (torch.zeros_like(m1), torch.zeros_like(s1)) if m2 is None else (m2, s2)
    return kl_divergence(Normal(m1, s1.exp()), Normal(m2, s2.exp()))


def kl_by_variances(m1: Tensor, s1: Tensor, m2: Any = 0.0, s2: Any = 0.0) -> Tensor:
    v1, v2 = s1.exp() ** 2, torch.as_tensor(s2, dtype=m1.dtype).exp() ** 2
    return 0.5 * (v2.log() - v1.log() + v1 / v2 + (m1 - m2) ** 2 / v2 - 1)


def arguments(shape: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    """Means away from zero, logarithms of deviations of both signs, up to 3."""
    s1, s2 = (3 * torch.rand(shape, generator=generator(s), dtype=F64).mul(2).sub(1) for s in (11, 12))
    return [q.to(dtype) for q in (1 + normal(1, *shape), s1, normal(2, *shape), s2)]


@pytest.mark.parametrize("right", [kl, kl_of_library, kl_by_variances])
@pytest.mark.parametrize("shape", [(), (64,), (5, 3), (4, 1, 2, 2)])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_right_divergences_pass(right: Any, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    m1, s1, m2, s2 = arguments(shape, dtype)
    assert_gaussian_kl(right, m1, s1, m2, s2)
    assert_gaussian_kl(right, m1, s1)
    assert_gaussian_kl(right, m1, s1, m1, s1)
    if len(shape) > 1:
        assert_gaussian_kl(right, m1[:, :1], s1[:, :1], m2[0], s2[0])  # (B, 1) with (L,)
        assert_gaussian_kl(lambda *q: right(*q).flatten(1).sum(1), m1, s1, m2, s2, summed=True)
    variances = lambda m1, v1, m2, v2: right(m1, v1 / 2, m2, v2 / 2)  # noqa: E731
    assert_gaussian_kl(variances, m1, 2 * s1, m2, 2 * s2, scale="log_var")
    assert_gaussian_kl(lambda m1, d1: right(m1, d1.log()), m1, s1.exp(), scale="std")


@pytest.mark.parametrize(
    ("wrong", "says", "hint"),
    [
        (lambda a, b, c, d: kl(c, d, a, b), "off by", "exchanged: this is KL(N₂ ‖ N₁)"),
        (lambda a, b, c, d: kl(a, b / 2, c, d / 2), "off by", "is read as that of the variance"),
        (lambda a, b, c, d: 2 * kl(a, b, c, d), "off by", "twice"),
        (lambda a, b, c, d: kl(a, b, c, d) + 0.5, "off by 0.5", "a constant term is missing"),
        (lambda a, b, c, d: -kl(a, b, c, d), "off by", "sign"),
        (lambda a, b, c, d: kl(a, b, c, d) / math.log(2), "off by", "bits"),
        (lambda a, b, c, d: kl(a, b), "off by", None),
        (lambda a, b, c, d: kl(a, b, c, d).sum(1), "shape (5, 3), got (5,)", ""),
        (lambda a, b, c, d: kl(a, b, c, d).mean(), "shape (5, 3), got ()", ""),
        (lambda a, b, c, d: kl(a, b, c, d) * torch.nan, "NaN", None),
        (lambda a, b, c, d: None, "should be a tensor", ""),
    ],
)
def test_wrong_divergences_fail(wrong: Callable[..., Any], says: str, hint: str | None) -> None:
    fault = fails(lambda: assert_gaussian_kl(wrong, *arguments((5, 3), F64)), says=says, hint=hint)
    if "off by" in says:
        assert "the KL divergence of a (5, 3) float64 tensor with values from" in fault.message


def test_sums_over_dimensions_are_told_from_means_and_variances_from_deviations() -> None:
    m1, s1, m2, s2 = arguments((5, 3), F64)
    mean = lambda *q: kl(*q).mean(1)  # noqa: E731
    fails(lambda: assert_gaussian_kl(mean, m1, s1, m2, s2, summed=True), hint="averaged over dimensions")
    fails(
        lambda: assert_gaussian_kl(kl, m1, s1, m2, s2, scale="log_var"), hint="read as that of the standard deviation"
    )
    with pytest.raises(ValueError, match="mean and scale of the second law"):
        assert_gaussian_kl(kl, m1, s1, m2)


def nll(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    return log_std + 0.5 * ((x - mean) / log_std.exp()) ** 2 + 0.5 * math.log(2 * math.pi)


@pytest.mark.parametrize("shape", [(), (64,), (5, 3)])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_right_densities_pass_entry_by_entry_and_summed(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    mean, log_std, x, _ = arguments(shape, dtype)
    law = Normal(mean.double(), log_std.double().exp())
    right = [nll, lambda x, m, s: -Normal(m, s.exp()).log_prob(x)]
    scipys = torch.as_tensor(stats.norm.logpdf(x, mean, log_std.double().exp()))
    for fn in right:
        assert_density(fn, x, mean, log_std, expected=law.log_prob(x.double()), negative=True)
        assert_density(lambda *q, fn=fn: -fn(*q), x, mean, log_std, expected=scipys)
        if len(shape) > 1:
            total = law.log_prob(x.double()).sum(1)
            assert_density(lambda *q, fn=fn: -fn(*q).sum(1), x, mean, log_std, expected=total, dimensions=3)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda x, m, s: -nll(x, m, s), "sign"),
        (lambda x, m, s: nll(x, m, s) - 0.5 * math.log(2 * math.pi), "(D/2) ln 2π is missing, with D = 1"),
        (lambda x, m, s: nll(x, m, s) / math.log(2), "bits"),
        (lambda x, m, s: (-nll(x, m, s)).exp(), "this is the density, not its logarithm"),
        (lambda x, m, s: nll(x, m, s / 2), None),
        (lambda x, m, s: nll(x, m, s) - s, None),
        (lambda x, m, s: nll(x, m, s) * torch.nan, None),
    ],
)
def test_wrong_densities_fail(wrong: Callable[..., Tensor], hint: str | None) -> None:
    mean, log_std, x, _ = arguments((5, 3), F64)
    expected = Normal(mean, log_std.exp()).log_prob(x)
    fails(lambda: assert_density(wrong, x, mean, log_std, expected=expected, negative=True), hint=hint)


def test_wrong_sums_of_a_density_fail_and_integrals_see_what_they_can() -> None:
    mean, log_std, x, _ = arguments((5, 3), F64)
    expected = Normal(mean, log_std.exp()).log_prob(x).sum(1)
    tries: list[tuple[Callable[..., Tensor], str]] = [
        (lambda *q: -nll(*q).mean(1), "averaged over dimensions"),
        (lambda *q: -nll(*q).sum(1) + 1.5 * math.log(2 * math.pi), "−(D/2) ln 2π is missing, with D = 3"),
        (lambda *q: -nll(*q), ""),
    ]
    for wrong, hint in tries:
        ask = lambda wrong=wrong: assert_density(wrong, x, mean, log_std, expected=expected, dimensions=3)  # noqa: E731
        fails(ask, hint=hint)
    one = torch.tensor(0.5, dtype=F64)
    assert_integrates_to_one(lambda x: -nll(x[:, 0], 2 * one, one.log()), [(-5, 7)])
    fails(lambda: assert_integrates_to_one(lambda x: -nll(x[:, 0], 2 * one, one.log() / 2) + 0.1, [(-5, 7)]))


# bounds

W, MU, SIGMA = orthogonal_columns(4, 2, generator(1)), normal(2, 4), 0.6
LAW = linear_gaussian_law(W, MU, SIGMA)
X = LAW.mu + normal(3, 5, 2) @ W.T + SIGMA * normal(4, 5, 4)
NEAR = GaussianEncoder(*encoder_near(W, MU, SIGMA, by=0.25, generator=generator(5)))
EXACT = GaussianEncoder(*exact_encoder(W, MU, SIGMA))
DECODER = GaussianDecoder(W, MU, SIGMA)
PRIOR = Independent(Normal(torch.zeros(2, dtype=F64), torch.ones(2, dtype=F64)), 1)


def parts(seed: int, n: int, encoder: Any, share: bool = False, scale: float = 1.0) -> tuple[Tensor, ...]:
    mean, log_std = (q.detach() for q in encoder(X))
    eps = normal(seed, n, 1 if share else 5, 2).expand(n, 5, 2) * scale
    z = mean + log_std.exp() * eps
    likelihood = DECODER(X.repeat(n, 1), z.reshape(-1, 2)).reshape(n, 5).detach()
    q = Independent(Normal(mean, log_std.exp()), 1)
    p = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    return likelihood, PRIOR.log_prob(z), q.log_prob(z), kl_divergence(q, p), q.entropy()


FORMS: dict[str, Callable[..., Tensor]] = {
    "closed KL": lambda rec, p, q, kl, h: rec - kl,
    "three densities": lambda rec, p, q, kl, h: rec + p - q,
    "joint and entropy": lambda rec, p, q, kl, h: rec + p + h,
}
WRONG: dict[str, Callable[..., Tensor]] = {
    "sign of KL": lambda rec, p, q, kl, h: rec + kl,
    "no prior": lambda rec, p, q, kl, h: rec - q,
    "no q": lambda rec, p, q, kl, h: rec + p,
    "mean over pixels": lambda rec, p, q, kl, h: rec / 4 - kl,
    "half KL": lambda rec, p, q, kl, h: rec - kl / 2,
    "summed over the batch": lambda rec, p, q, kl, h: (rec - kl).sum(1, keepdim=True).expand(-1, 5),
}
GAP = LAW.evidence(X) - LAW.elbo(X, *(q.detach() for q in NEAR(X)))
SPREAD = LAW.elbo_deviation(X, *(q.detach() for q in NEAR(X)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_every_legal_form_of_the_bound_passes_over_seeds(form: str, dtype: torch.dtype) -> None:
    for seed in range(10):
        draws = FORMS[form](*parts(seed, 1000, NEAR)).to(dtype)
        assert_bound(draws, LAW.evidence(X), gap=GAP, deviation=SPREAD)
        assert_bound(draws, LAW.evidence(X), deviation=SPREAD)


@pytest.mark.parametrize("error", WRONG)
def test_every_wrong_bound_fails_over_seeds(error: str) -> None:
    for seed in range(10):
        draws = WRONG[error](*parts(seed, 1000, NEAR))
        fails(
            lambda draws=draws: assert_bound(draws, LAW.evidence(X), gap=GAP, deviation=SPREAD, what="the ELBO"),
            says="the mean of the ELBO is too",
        )


def test_a_bound_above_the_evidence_fails_without_a_known_gap_and_noise_in_the_wrong_place_with_it() -> None:
    # E exp of the mean of k draws outside of the logarithm: log of an average is taken for its bound, shifted by ln k
    above = FORMS["closed KL"](*parts(0, 1000, NEAR)) + GAP + math.log(8) / 2
    fails(lambda: assert_bound(above, LAW.evidence(X), deviation=SPREAD), says="too large by")
    still = FORMS["closed KL"](*parts(0, 1000, NEAR, scale=0.0))  # z = mean: a value above its own mean
    fails(lambda: assert_bound(still, LAW.evidence(X), gap=GAP, deviation=SPREAD), says="too large")


def test_weights_of_the_exact_posterior_are_the_evidence_in_every_draw() -> None:
    zero = torch.zeros(5, dtype=F64)
    draws = FORMS["three densities"](*parts(0, 3, EXACT))
    assert_bound(draws, LAW.evidence(X), gap=zero, deviation=0.0)
    fails(lambda: assert_bound(draws + 0.01, LAW.evidence(X), gap=zero, deviation=0.0), says="in every draw is off by")
    fails(lambda: assert_bound(FORMS["three densities"](*parts(0, 3, NEAR)), LAW.evidence(X), gap=zero, deviation=0.0))
    for gap in (None, GAP):
        with pytest.raises(ValueError, match="a gap of zeros"):
            assert_bound(draws, LAW.evidence(X), gap=gap, deviation=0.0)


@pytest.mark.parametrize(
    "bad", [torch.full((9, 5), torch.nan), torch.zeros(9, 4), torch.zeros(5), None, torch.zeros(1, 5)]
)
def test_draws_of_another_shape_or_of_nan_are_no_bound(bad: Any) -> None:
    fails(lambda: assert_bound(bad, LAW.evidence(X), gap=GAP, deviation=SPREAD))


# sequences


@pytest.mark.parametrize("values", [[-3.0, -2.5, -2.5, -2.4], torch.tensor([1.0, 2.0]), (torch.tensor(1.0), 1)])
def test_sequences_that_never_fall_pass_in_any_container(values: Any) -> None:
    assert_increasing(values)
    assert_increasing([-1.0, -1.0 - 1e-6], slack=1e-5)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([-3.0, -2.5, -2.6, -2.7], "after number 2 of 4 it falls by 0.1, from -2.5 to -2.6; 2 of 3 steps fall"),
        ([1.0, float("nan"), 2.0], "finite"),
        ([1.0, float("inf")], "finite"),
        ([1.0], "should hold two numbers or more, it holds 1"),
        ([], "is empty"),
        (torch.zeros(2, 2), "shape"),
        ([torch.zeros(2), 1.0], "each number"),
        (None, "should be a tensor"),
    ],
)
def test_sequences_that_fall_or_hold_no_numbers_fail(values: Any, says: str) -> None:
    fails(lambda: assert_increasing(values), says=says)


def test_length_and_gain_of_a_sequence_are_looked_at() -> None:
    assert_increasing([1.0, 2.0, 3.0], length=3, gains=1.9)
    fails(lambda: assert_increasing([1.0, 2.0], length=3), says="should hold 3 numbers, it holds 2")
    fails(lambda: assert_increasing([1.0, 1.0, 1.0], gains=0.1), says="should rise by at least 0.1, it rises by 0")


SOURCE = """
import torch
def elbo(x, encoder, log_likelihood):
    mean, log_std = encoder(x)
    z = mean + log_std.exp() * torch.randn_like(mean)
    kl = 0.5 * (mean ** 2 + (2 * log_std).exp() - 1 - 2 * log_std).sum(1)
    return log_likelihood(x, z) - kl
def normal_kl(mean_1, log_std_1, mean_2=0.0, log_std_2=0.0):
    mean_2, log_std_2 = torch.as_tensor(mean_2), torch.as_tensor(log_std_2)
    ratio = (log_std_1 - log_std_2).exp() ** 2
    return 0.5 * (ratio + ((mean_1 - mean_2) / log_std_2.exp()) ** 2 - 1 - ratio.log())
"""


def test_a_students_elbo_in_a_worker_is_compared_with_exact_integrals() -> None:
    with notebook(SOURCE) as student:
        encoder = student.probe("GaussianEncoder", *encoder_near(W, MU, SIGMA, by=0.25, generator=generator(5)))
        decoder = student.probe("GaussianDecoder", W, MU, SIGMA)
        images = X.reshape(5, 1, 2, 2)
        draws = student.elbo(images.repeat(2000, 1, 1, 1), encoder, decoder).reshape(2000, 5)
        assert_bound(draws, LAW.evidence(images), gap=GAP, deviation=SPREAD)
        assert_gaussian_kl(student.normal_kl, *arguments((5, 3), F64))
        assert_gaussian_kl(student.normal_kl, *arguments((64,), torch.float32)[:2])
