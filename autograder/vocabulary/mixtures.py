"""An EM step of a Gaussian mixture, judged by what it maximises.

With responsibilities r the M-step maximises Q = Σ_nk r_nk ln(π_k N(x_n; μ_k, Σ_k)). Where Q's derivatives at the
parameters that came back are not zero, they say by how much these are off, in the parameters' own units: a gradient of
the log-likelihood is an EM step times a known matrix. On Convergence Properties of the EM Algorithm for Gaussian
Mixtures (Xu, Jordan, 1996), theorem 1, https://doi.org/10.1162/neco.1996.8.1.129
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from autograder.errors import AuthorError, Wrong
from autograder.vocabulary.calls import assert_tuple
from autograder.vocabulary.tensors import argmax_index, as_double, assert_real, assert_shape
from autograder.vocabulary.words import in_words

Mixture = tuple[Tensor, Tensor, Tensor]
ACCEPTED = 1e-5  # a ridge of 1e-6 on covariances is allowed; division by N_k − 1 is off by 1e-2


def assert_em_step(
    step: Callable[..., Any],
    x: Tensor,
    weights: Tensor | None = None,
    means: Tensor | None = None,
    covs: Tensor | None = None,
    *,
    responsibilities: Tensor | None = None,
    shared: bool = False,
    atol: float = ACCEPTED,
    what: str = "the EM step",
) -> None:
    """One step gives exactly the parameters that maximise the expected log-likelihood: weights, means, covariances.

    Args:
        step: called as `step(x, weights, means, covs)`, an E-step and an M-step; or as `step(x, responsibilities)`, an
            M-step alone. Gives weights (K,), means (K, D), covariances (K, D, D).
        x: data, (N, D), float64; N, K and D all different, weights unequal, covariances correlated.
        weights, means, covs: the parameters before; or
        responsibilities: (N, K), rows summing to one.
        shared: all components have one covariance, repeated K times.
        atol: largest accepted error of any parameter.
    """
    before = None if weights is None or means is None or covs is None else (weights, means, covs)
    if (before is None) == (responsibilities is None):
        raise AuthorError("give the parameters before the step, or responsibilities")
    r = _responsibilities(x, *before) if before is not None else as_double(responsibilities)  # type: ignore[arg-type]
    asked = before if before is not None else (responsibilities,)
    found = _mixture(step(x, *asked), r.shape[1], x.shape[1], what)
    errors = _errors(as_double(x), r, found, shared)
    for name, error in errors.items():
        if not bool((error.abs() <= atol).all()):
            index = argmax_index(error.abs().nan_to_num(nan=float("inf")))
            hints = list(_causes(as_double(x), r, before, found, shared, atol))
            raise Wrong(
                f"the {name} after {what} are off by {float(error[index].abs()):.3g} at index {index}, at most "
                f"{atol:.0e} is accepted (asked with {in_words(x, *asked)})",
                hint=hints[0] if len(hints) == 1 else None,
            )


def _mixture(result: Any, K: int, D: int, what: str) -> Mixture:
    parts = assert_tuple(result, 3, f"the result of {what}", names=("weights", "means", "covariances"))
    named = zip(("weights", "means", "covariances"), parts, ((K,), (K, D), (K, D, D)), strict=True)
    weights, means, covs = (
        as_double(assert_real(assert_shape(p, s, f"the {n} after {what}"), f"the {n} after {what}"))
        for n, p, s in named
    )
    if not bool((weights > 0).all()):
        raise Wrong(f"the weights after {what} should be positive")
    if not _positive(covs) or not torch.allclose(covs, covs.mT):
        raise Wrong(f"the covariances after {what} should be symmetric and positive definite")
    return weights, means, covs


def _positive(covs: Tensor) -> bool:
    return not bool((torch.linalg.cholesky_ex((covs + covs.mT) / 2)[1] > 0).any())


def _joint(x: Tensor, weights: Tensor, means: Tensor, covs: Tensor) -> Tensor:
    log_prob: Tensor = MultivariateNormal(means, covs).log_prob(x[:, None])
    return weights.log() + log_prob  # (N, K)


def _responsibilities(x: Tensor, weights: Tensor, means: Tensor, covs: Tensor) -> Tensor:
    return _joint(*(as_double(q) for q in (x, weights, means, covs))).softmax(1)


def _errors(x: Tensor, r: Tensor, mixture: Mixture, shared: bool) -> dict[str, Tensor]:
    """By how much each parameter is off, from the derivatives of Q at it."""
    leaves = [part.clone().requires_grad_(True) for part in mixture]
    weights, means, covs = leaves
    used = covs.mean(0).expand_as(covs) if shared else covs
    Q = (r * _joint(x, weights, means, used)).sum()
    d_weights, d_means, d_covs = torch.autograd.grad(Q, leaves)
    weights, means, covs = mixture
    counts = r.sum(0)  # (K,)
    precise = (covs @ (d_covs.sum(0).expand_as(covs) if shared else d_covs) @ covs) * 2
    size = counts.sum() if shared else counts[:, None, None]
    return {
        "weights": weights * d_weights / counts.sum() - weights,
        "means": (covs @ d_means[:, :, None]).squeeze(2) / counts[:, None],
        "covariances": precise / size + (covs.mean(0) - covs if shared else 0.0),
    }


def _causes(
    x: Tensor, r: Tensor, before: tuple[Tensor, ...] | None, found: Mixture, shared: bool, atol: float
) -> Iterator[str]:
    """Sentences that are true of all three parts: with this one mistake everything fits."""

    def fits(r: Tensor, mixture: Mixture) -> bool:
        if not _positive(mixture[2]):
            return False
        return all(bool((error.abs() <= atol).all()) for error in _errors(x, r, mixture, shared).values())

    weights, means, covs = found
    counts = r.sum(0)[:, None, None]
    if not shared and bool((counts > 1).all()) and fits(r, (weights, means, covs * (counts - 1) / counts)):
        yield "covariances are divided by N_k − 1 where N_k is asked for"
    if before is None:
        return
    even = torch.full_like(as_double(before[0]), 1 / len(before[0]))
    if fits(_responsibilities(x, even, *before[1:]), found):
        yield "the weights are left out of the responsibilities"
    step = (as_double(before[1]) - means)[:, :, None]
    spread = step @ step.mT
    moved = (spread * counts / counts.sum()).sum(0).expand_as(spread) if shared else spread
    if fits(r, (weights, means, covs - moved)):
        yield "covariances are taken around the old means; the step asks for the new ones"
