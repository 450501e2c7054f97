"""EM steps; the oracles are the reference model, scikit-learn and moments by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture as Fitted
from torch import Tensor
from torch.distributions import MultivariateNormal

from autograder.checks import assert_em_step
from reference_models.latent.gaussian_mixture import em_step as reference_step
from reference_models.parts.distributions import GaussianMixture
from tests.autograder.vocabulary.forked import notebook
from tests.autograder.vocabulary.students import fails, generator

F64 = torch.float64
N, D, K = 40, 3, 2
Mixture = tuple[Tensor, Tensor, Tensor]


def problem(seed: int, dtype: torch.dtype = F64) -> tuple[Tensor, Mixture]:
    g = generator(seed)
    centres = 1.5 * torch.randn(K, D, generator=g, dtype=F64)
    x = centres[torch.randint(0, K, (N,), generator=g)] + torch.randn(N, D, generator=g, dtype=F64)
    roots = torch.eye(D) + 0.4 * torch.randn(K, D, D, generator=g, dtype=F64)
    means = centres + 0.7 * torch.randn(K, D, generator=g, dtype=F64)
    before = (torch.tensor([0.3, 0.7], dtype=F64), means, roots @ roots.mT)
    return x.to(dtype), tuple(q.to(dtype) for q in before)  # type: ignore[return-value]


def e_step(x: Tensor, weights: Tensor, means: Tensor, covs: Tensor) -> Tensor:
    return (weights.log() + MultivariateNormal(means, covs).log_prob(x[:, None])).softmax(1)


def m_step(x: Tensor, r: Tensor, shared: bool = False, error: str = "", old: Tensor | None = None) -> Mixture:
    counts = r.sum(0)
    means = (r.T @ x) / counts[:, None]
    around = old if error == "old means" and old is not None else means
    deviation = x[:, None] - around
    outer = torch.einsum("nk,nki,nkj->kij", r, deviation, deviation)
    divisor = {"N - 1": counts - 1, "N": torch.full_like(counts, len(x))}.get(error, counts)
    covs = outer.sum(0).expand_as(outer) / len(x) if shared else outer / divisor[:, None, None]
    if error == "plain mean" and shared:
        covs = (outer / counts[:, None, None]).mean(0).expand_as(outer)
    weights = counts if error == "counts" else counts / len(x)
    return weights, means, covs


def em(x: Tensor, weights: Tensor, means: Tensor, covs: Tensor, error: str = "", shared: bool = False) -> Mixture:
    used = torch.full_like(weights, 1 / len(weights)) if error == "no weights" else weights
    return m_step(x, e_step(x, used, means, covs), shared, error, means)


def loops(x: Tensor, weights: Tensor, means: Tensor, covs: Tensor) -> Mixture:
    r = e_step(x, weights, means, covs)
    new = [(r[:, k, None] * x).sum(0) / r[:, k].sum() for k in range(K)]
    spreads = [torch.cov(x.T, correction=0, aweights=r[:, k]) for k in range(K)]
    return r.mean(0), torch.stack(new), torch.stack(spreads)


def ridged(x: Tensor, weights: Tensor, means: Tensor, covs: Tensor) -> Mixture:
    w, m, c = em(x, weights, means, covs)
    return w, m, c + 1e-6 * torch.eye(D, dtype=c.dtype)


def scikit(x: Tensor, weights: Tensor, means: Tensor, covs: Tensor) -> Mixture:
    precisions = np.linalg.inv(covs.numpy())
    model = Fitted(K, weights_init=weights.numpy(), means_init=means.numpy(), precisions_init=precisions, max_iter=1)
    model.reg_covar = 0.0
    with pytest.warns(Warning, match="converge"):
        model.fit(x.numpy())
    return tuple(torch.as_tensor(q) for q in (model.weights_, model.means_, model.covariances_))  # type: ignore[return-value]


def reference(x: Tensor, weights: Tensor, means: Tensor, covs: Tensor) -> Mixture:
    found = reference_step(x, GaussianMixture(weights, means, covs), floor=0.0)
    return found.weights, found.means, found.covariances


@pytest.mark.parametrize("right", [em, loops, ridged, scikit, reference])
def test_right_steps_pass_however_they_are_written(right: Any) -> None:
    for seed in range(10):
        x, before = problem(seed)
        assert_em_step(right, x, *before)


def test_right_steps_pass_in_float32_at_its_precision() -> None:
    for seed in range(5):
        x, before = problem(seed, torch.float32)
        assert_em_step(em, x, *before, atol=1e-4)


@pytest.mark.parametrize("shared", [False, True])
def test_an_m_step_alone_takes_any_responsibilities(shared: bool) -> None:
    def wrong(x: Tensor, r: Tensor) -> Mixture:
        return m_step(x, r, shared, "plain mean" if shared else "N - 1")

    def other(x: Tensor, r: Tensor) -> Mixture:
        return m_step(x, r, not shared)

    for seed in range(10):
        x, before = problem(seed)
        r = torch.rand(N, 4, generator=generator(seed), dtype=F64) + 0.05
        options: dict[str, Any] = {"responsibilities": r / r.sum(1, keepdim=True), "shared": shared}
        assert_em_step(lambda x, r: list(m_step(x, r, shared)), x, **options)
        assert_em_step(lambda *q: em(*q, shared=shared), x, *before, shared=shared)
        for fn, hint in ((wrong, None if shared else "divided by N_k − 1"), (other, None)):
            ask = lambda fn=fn, x=x, options=options: assert_em_step(fn, x, **options)  # noqa: E731
            fails(ask, says="the covariances after", hint=hint)


@pytest.mark.parametrize(
    ("error", "says", "hint"),
    [
        ("old means", "the covariances after", "taken around the old means"),
        ("N - 1", "the covariances after", "divided by N_k − 1 where N_k"),
        ("N", "the covariances after", None),
        ("no weights", "the weights after", "the weights are left out of the responsibilities"),
        ("counts", "the weights after", None),
    ],
)
def test_each_wrong_step_fails_and_is_named_where_it_can_be(error: str, says: str, hint: str | None) -> None:
    for seed in range(10):
        x, before = problem(seed)
        fault = fails(lambda x=x, b=before: assert_em_step(lambda *q: em(*q, error), x, *b), says=says, hint=hint)
        assert "are off by" in fault.message
        assert "asked with a (40, 3) float64 tensor with values from" in fault.message


def test_old_means_are_named_for_a_shared_covariance_too() -> None:
    def wrong(x: Tensor, weights: Tensor, means: Tensor, covs: Tensor) -> Mixture:
        r = e_step(x, weights, means, covs)
        w, m, _ = m_step(x, r)
        d = x[:, None] - means
        return w, m, (torch.einsum("nk,nki,nkj->ij", r, d, d) / len(x)).expand(K, D, D)

    x, before = problem(0)
    fails(lambda: assert_em_step(wrong, x, *before, shared=True), hint="taken around the old means")


def test_the_size_of_the_error_is_that_of_the_parameter() -> None:
    """The derivative of the expected log-likelihood, in units of the parameters, is exactly what is missing."""
    x, before = problem(3)
    w, m, c = em(x, *before)
    off_m, off_c = m.clone(), c.clone()
    off_m[1, 2] += 0.125
    off_c[0] *= 1.5
    shifted = c - torch.einsum("ki,kj->kij", off_m - m, off_m - m)
    assert shifted.shape == c.shape
    fails(
        lambda: assert_em_step(lambda *_: (w, off_m, c), x, *before),
        says="the means after the EM step are off by 0.125",
    )
    wanted = float((0.5 * c[0]).abs().max())
    fails(lambda: assert_em_step(lambda *_: (w, m, off_c), x, *before), says=f"are off by {wanted:.3g}")
    off_w = w + torch.tensor([0.01, -0.01], dtype=F64)
    fails(
        lambda: assert_em_step(lambda *_: (off_w, m, c), x, *before),
        says="the weights after the EM step are off by 0.01",
    )


def test_a_far_point_does_not_make_the_oracle_undefined() -> None:
    x, before = problem(1)
    x = torch.cat([x, torch.tensor([[300.0, -200.0, 50.0]], dtype=F64)])

    def naive(x: Tensor, weights: Tensor, means: Tensor, covs: Tensor) -> Mixture:
        r = weights * MultivariateNormal(means, covs).log_prob(x[:, None]).exp()
        return m_step(x, r / r.sum(1, keepdim=True))

    assert_em_step(em, x, *before, atol=1e-3)
    fails(lambda: assert_em_step(naive, x, *before), says="finite")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda m: m[:2], "should be a tuple of 3: (weights, means, covariances)"),
        (lambda m: None, "None"),
        (lambda m: (m[0], m[1], m[2][0]), "shape (2, 3, 3), got (3, 3)"),
        (lambda m: (m[0][:, None], m[1], m[2]), "shape (2,), got (2, 1)"),
        (lambda m: (m[0] * torch.nan, m[1], m[2]), "finite"),
        (lambda m: (-m[0], m[1], m[2]), "should be positive"),
        (lambda m: (m[0], m[1], -m[2]), "symmetric and positive definite"),
        (lambda m: (m[0], m[1], m[2].tril()), "symmetric and positive definite"),
        (lambda m: (m[0], m[1], torch.diag_embed(m[2].diagonal(dim1=1, dim2=2))), "the covariances after"),
        (lambda m: (m[0].flip(0), m[1], m[2]), "the weights after"),
        (lambda m: (m[0], m[1].flip(0), m[2]), "the means after"),
    ],
)
def test_what_is_no_mixture_fails_before_any_arithmetic(wrong: Callable[[Mixture], Any], says: str) -> None:
    x, before = problem(2)
    fails(lambda: assert_em_step(lambda *q: wrong(em(*q)), x, *before), says=says)


def test_a_step_is_asked_from_parameters_or_from_responsibilities() -> None:
    x, before = problem(0)
    with pytest.raises(ValueError, match="parameters before the step, or responsibilities"):
        assert_em_step(em, x)
    with pytest.raises(ValueError, match="parameters before the step, or responsibilities"):
        assert_em_step(em, x, *before, responsibilities=e_step(x, *before))


SOURCE = """
import torch
def step(x, weights, means, covs):
    log = weights.log() + torch.distributions.MultivariateNormal(means, covs).log_prob(x[:, None])
    r = log.softmax(1)
    n = r.sum(0)
    means = r.T @ x / n[:, None]
    d = x[:, None] - means
    return n / len(x), means, (r[:, :, None, None] * d[..., None] * d[..., None, :]).sum(0) / n[:, None, None]
"""


def test_a_step_in_a_worker_is_judged_alike() -> None:
    x, before = problem(5)
    with notebook(SOURCE) as student:
        assert_em_step(student.step, x, *before)
