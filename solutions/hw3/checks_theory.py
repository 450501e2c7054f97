"""Homework 3, hidden checks of part 1: formulas found by hand, against other ways to compute them."""

from __future__ import annotations

import pytest
import torch

from autograder.checks import assert_close, assert_dtype, assert_shape, assert_tuple, linear_gaussian_law

from ..common.draws import F64, normal

SIZES = ((5, 2), (3, 3), (4, 1), (2, 4), (1, 1))  # D, L


def models(rng):
    """Points, W, mu and sigma of several sizes; the noise small, middling and large."""
    for (D, L), sigma in zip(SIZES, (0.7, 0.05, 2.0, 1.3, 0.4), strict=True):
        W, mu = normal(rng, D, L), normal(rng, D)
        yield normal(rng, 6, D) @ (W @ W.T + sigma * torch.eye(D, dtype=F64)) + mu, W, mu, sigma


@pytest.mark.graded("theory-ppca", points=0.4)
def test_posterior_of_random_models(student, rng):
    """Mean and covariance of z given x, as the joint Gaussian of z and x has them when x is held fixed."""
    for x, W, mu, sigma in models(rng):
        law = linear_gaussian_law(W, mu, sigma).posterior(x)
        given = torch.tensor(sigma, dtype=F64) if W.shape[1] > 2 else sigma
        answer = student.ppca_posterior(x, W, mu, given)
        mean, cov = assert_tuple(answer, 2, "the result of `ppca_posterior`", names=("mean", "cov"))
        words = f"for D = {W.shape[0]}, L = {W.shape[1]}"
        other = {"mu is not subtracted": linear_gaussian_law(W, 0 * mu, sigma).posterior(x).mean}
        assert_close(mean, law.mean, f"the posterior mean {words}", rtol=1e-5, atol=1e-5, alternatives=other)
        right = law.covariance_matrix if law.covariance_matrix.dim() == 2 else law.covariance_matrix[0]
        other = {"this is M⁻¹, the factor σ² is missing": right / sigma**2} if abs(sigma - 1) > 0.1 else None
        assert_close(cov, right, f"the posterior covariance {words}", rtol=1e-5, atol=1e-6, alternatives=other)
        assert_dtype(mean, F64, "the posterior mean")


@pytest.mark.graded("theory-ppca", points=0.35)
def test_evidence_of_random_models(student, rng):
    """ln p(x) is that of the Gaussian marginal, in nats, summed over dimensions."""
    for x, W, mu, sigma in models(rng):
        right = linear_gaussian_law(W, mu, sigma).evidence(x)
        given = torch.tensor(sigma, dtype=F64) if W.shape[1] > 2 else sigma
        what = f"`ppca_log_prob` for D = {W.shape[0]}, L = {W.shape[1]}"
        assert_close(student.ppca_log_prob(x, W, mu, given), right, what, rtol=1e-5, atol=1e-5)
    single = student.ppca_log_prob(x.float(), W.float(), mu.float(), sigma)
    assert_dtype(assert_shape(single, (len(x),), "`ppca_log_prob`"), torch.float32, "`ppca_log_prob` of float32")


def spectra(rng):
    """Eigenvalues on both sides of σ², all above, on it, and one dimension."""
    yield torch.tensor([0.2, 3.0, 0.9, 1.7, 5.0, 0.5], dtype=F64) * (0.9 + 0.2 * torch.rand((), generator=rng)), 1.2
    yield 1 + 3 * torch.rand(4, generator=rng, dtype=F64), 0.5
    yield torch.tensor([2.0, 0.3, 5.0], dtype=F64), 2.0
    yield torch.tensor([1.5], dtype=F64), 0.4


@pytest.mark.graded("theory-rate", points=0.35)
def test_fit_of_random_covariances(student, rng):
    """W Wᵀ takes from each eigenvalue what lies above σ²; a dimension carries ½ ln(λ/σ²) nats or none."""
    for values, sigma2 in spectra(rng):
        D = len(values)
        turn = torch.linalg.qr(normal(rng, D, D))[0]
        W, rates = assert_tuple(
            student.ppca_fit(turn @ torch.diag(values) @ turn.T, sigma2), 2, "the result of `ppca_fit`"
        )
        W = assert_shape(W, (D, D), "W").double()
        words = f"for {D} eigenvalues"
        excess = (values - sigma2).clamp_min(0)
        other = {
            "columns should be scaled by the root of λ − σ²": turn @ torch.diag(excess**2) @ turn.T,
            "columns should be scaled by the root of λ − σ², not of λ": turn @ torch.diag(values) @ turn.T,
        }
        right = turn @ torch.diag(excess) @ turn.T
        assert_close(W @ W.T, right, f"W Wᵀ {words}", rtol=1e-5, atol=1e-5, alternatives=other if D > 1 else None)
        nats = 0.5 * (values / sigma2).clamp_min(1).log().sort(descending=True).values
        assert_close(rates, nats, f"the rates {words}", rtol=1e-5, atol=1e-5)


def pieces(q, p):
    """Both terms, summed by hand over data and codes that have a probability."""
    bar = q.mean(0)
    marginal = sum(float(b * (b / a).log()) for a, b in zip(p, bar, strict=True) if b > 0)
    joint = [float(v * (v / bar[k]).log()) for row in q for k, v in enumerate(row) if v > 0]
    return marginal, sum(joint) / len(q)


@pytest.mark.graded("theory-surgery-code", points=0.35)
def test_surgery_of_random_codes(student, rng):
    """KL of the aggregated posterior and mutual information, for random, one-hot, equal rows, and the best prior."""
    q, p = (1.5 * normal(rng, 7, 4)).softmax(1), normal(rng, 4).softmax(0)
    hot = torch.eye(5, dtype=F64)[torch.randint(0, 3, (6,), generator=rng)]
    wide = (2 * normal(rng, 3, 8)).softmax(1)
    cases = {
        "of random rows": (q, p),
        "of one-hot rows, two codes never used": (hot, normal(rng, 5).softmax(0)),
        "of equal rows": (q[:1].expand(5, 4).contiguous(), p),
        "where the prior is the aggregated posterior": (q, q.mean(0)),
        "of more codes than data": (wide, normal(rng, 8).softmax(0)),
    }
    for words, (rows, prior) in cases.items():
        answer = student.elbo_surgery(rows, prior)
        found = assert_tuple(answer, 2, "the result of `elbo_surgery`", names=("marginal_kl", "mutual_information"))
        marginal, information = pieces(rows, prior)
        other = {"this is the other term": information, "this is the sum of both terms": marginal + information}
        assert_close(found[0], marginal, f"the first term {words}", rtol=1e-5, atol=1e-6, alternatives=other)
        other = {"this is the other term": marginal, "this is the sum of both terms": marginal + information}
        assert_close(found[1], information, f"the mutual information {words}", rtol=1e-5, atol=1e-6, alternatives=other)
