"""Homework 4, hidden checks of part 1: formulas found by hand, against other ways to compute them."""

from __future__ import annotations

import math

import pytest
import torch

from autograder.checks import assert_close, assert_number, assert_tuple, assert_unchanged_arguments, gradient

from ..common.draws import F64, randint


def laws(rng, K):
    """Two laws over K states; each has a zero, never both at one state."""
    p, q = (0.05 + torch.rand(K, generator=rng, dtype=F64) for _ in range(2))
    order = torch.randperm(K, generator=rng)
    p[order[0]], q[order[1]] = 0.0, 0.0
    return p / p.sum(), q / q.sum()


def plogq(p, q):
    """Σ p ln q, with 0 ln 0 = 0."""
    return float(torch.special.xlogy(p, q).sum())


@pytest.mark.graded("theory-discriminator-code", points=0.35)
def test_best_discriminator_of_random_laws(student, rng):
    """D* and the value of the game, for three priors, with states that one of the laws never takes."""
    for prior in (0.5, 0.3, 0.9, 0.1):
        p, q = laws(rng, randint(rng, 3, 7))
        mixture = prior * p + (1 - prior) * q
        found = assert_unchanged_arguments(student.optimal_discriminator, p, q, prior, what="`optimal_discriminator`")
        d, value = assert_tuple(found, 2, "the result", names=("d", "value"))
        wrong = {
            "this is the best discriminator of a balanced game": p / (p + q),
            "this is the probability of fake": 1 - prior * p / mixture,
        }
        asked = f"with a prior of {prior:g}"
        assert_close(d, prior * p / mixture, f"`d` {asked}", alternatives=wrong if prior != 0.5 else None)
        entropy = -prior * math.log(prior) - (1 - prior) * math.log(1 - prior)
        divergence = prior * (plogq(p, p) - plogq(p, mixture)) + (1 - prior) * (plogq(q, q) - plogq(q, mixture))
        other = {
            "this is V + H(π): the divergence, not the value": divergence,
            "the sign is flipped": entropy - divergence,
        }
        assert_number(value, divergence - entropy, "`value`", tolerance=1e-6, asked=asked, alternatives=other)


@pytest.mark.graded("theory-conjugate", points=0.35)
def test_conjugate_where_the_best_critic_goes(student, rng):
    """For −3 ≤ t ≤ 1: value, derivative, and with T* the divergence itself, which no other critic exceeds."""
    t = torch.cat([-2.9 + 3.8 * torch.rand(20, generator=rng, dtype=F64), torch.tensor([-3.0, 0.0, 1.0], dtype=F64)])
    assert_close(student.conjugate(t), supremum(t), "`conjugate` for −3 ≤ t ≤ 1", atol=1e-6)
    ratio = 2 / (1 - t[:20]).sqrt() - 1  # where the supremum is
    assert_close(
        gradient(student.conjugate, t[:20].reshape(4, 5)), ratio.reshape(4, 5), "the derivative of `conjugate`"
    )
    assert_close(student.optimal_critic(ratio), t[:20], "`optimal_critic`")
    p, q = 0.05 + torch.rand(2, 6, generator=rng, dtype=F64)
    p[0] = 0.0
    p, q = p / p.sum(), q / q.sum()
    best = student.optimal_critic((p / q).reshape(2, 3)).reshape(6)
    reached = (p * best).sum() - (q * student.conjugate(best)).sum()
    assert_close(reached, ((p - q).square() / (p + q)).sum(), "the bound at `optimal_critic`")


@pytest.mark.graded("theory-conjugate", points=0.4)
def test_conjugate_where_an_untrained_critic_goes(student, rng):
    """For t below the range of the best critic: value and derivative."""
    t = -3.05 - 2.95 * torch.rand(3, 6, generator=rng, dtype=F64)
    wrong = {"the formula of −3 ≤ t ≤ 1 does not hold here: is its u ≥ 0?": supremum(t, inside=True)}
    found = assert_unchanged_arguments(student.conjugate, t, what="`conjugate`")
    assert_close(found, supremum(t), "`conjugate` for t < −3", alternatives=wrong)
    found = gradient(student.conjugate, t)
    slope = torch.zeros_like(t) if found is None else found  # a constant without a graph is right here
    assert_close(slope, torch.zeros_like(t), "the derivative of `conjugate` for t < −3")


def supremum(t, inside=False):
    """f*(t) by the point u that takes it: where f′(u) = t, and 0 where that is negative."""
    u = 2 / (1 - t).clamp(min=1e-12).sqrt() - 1
    u = u if inside else u.clamp(min=0)
    value = u * t - (u - 1).square() / (u + 1)
    return torch.where(t == 1, torch.full_like(t, 3.0), value)


@pytest.mark.graded("theory-penalty-code", points=0.3)
def test_penalised_critic_of_random_cases(student, rng):
    """Steepness, gap and maximum, for four distances and strengths."""
    for _ in range(4):
        theta, lam = (0.3 + 3.7 * torch.rand(2, generator=rng, dtype=F64)).tolist()
        names = ("steepness", "gap", "objective")
        found = assert_tuple(student.penalised_critic(theta, lam), 3, "the result", names=names)
        a = torch.linspace(0, 2 + theta / lam, 2001, dtype=F64)  # its middle is the maximiser
        objective = a * theta - lam * (a - 1).square()
        best = int(objective.argmax())
        right = (float(a[best]), float(a[best]) * theta, float(objective[best]))
        asked = f"for θ = {theta:.3f}, λ = {lam:.3f}"
        for value, expected, name in zip(found, right, names, strict=True):
            assert_number(value, expected, f"the {name}", tolerance=1e-6, asked=asked, show=False)


@pytest.mark.graded("theory-bias-code", points=0.3)
def test_bias_of_a_perfect_generator(student, rng):
    """The leading order within 2 %, for unequal sizes and for exact statistics on either side."""
    for infinite in (None, "m", "n"):
        D, n, m = randint(rng, 3, 40), randint(rng, 400, 900), randint(rng, 1500, 9000)
        n, m = (math.inf if infinite == "n" else n), (math.inf if infinite == "m" else m)
        means = D / n + D / m
        spread = D * (D + 1) / 4 * (1 / n + 1 / m)
        wrong = {
            "this is the term of the means alone": means,
            "this is the term of the covariances alone": spread,
            "this counts the diagonal of the covariances only": means + D / 2 * (1 / n + 1 / m),
        }
        asked = f"in {D} dimensions, n = {n}, m = {m}"
        right = means + spread
        assert_number(
            student.frechet_bias(D, n, m), right, "`frechet_bias`", tolerance=0.02 * right, asked=asked,
            alternatives=wrong, show=False,
        )  # fmt: skip
