"""Homework 3, hidden checks of tasks 2.1 and 2.2: EM, and Gaussians entry by entry."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from autograder.checks import (
    assert_close,
    assert_density,
    assert_dtype,
    assert_em_step,
    assert_finite,
    assert_gaussian_kl,
    assert_increasing,
    assert_integrates_to_one,
    assert_reparametrised,
    assert_shape,
    assert_tuple,
)

from ..common.draws import F64, normal, randint

N, K, D = 40, 3, 2
THIN = 0.15  # smallest eigenvalue of a covariance


def mixture(rng, K=K, D=D):
    """Unequal weights, means apart, correlated covariances."""
    weights = torch.tensor([0.55, 0.3, 0.1, 0.05], dtype=F64)[:K]
    roots = 0.6 * normal(rng, K, D, D) + 0.7 * torch.eye(D, dtype=F64)
    return weights / weights.sum(), 2 * normal(rng, K, D), roots @ roots.mT + 0.2 * torch.eye(D, dtype=F64)


def points(rng, D=D, N=N):
    return 2 * normal(rng, N, D) + normal(rng, D)


def log_joint(x, weights, means, covs):
    return weights.log() + MultivariateNormal(means, covs).log_prob(x[:, None])


def exact_step(x, weights, means, covs):
    r = log_joint(x, weights, means, covs).softmax(1)
    means = (r.T @ x) / r.sum(0)[:, None]
    apart = x[:, None] - means
    covs = torch.einsum("nk,nki,nkj->kij", r, apart, apart) / r.sum(0)[:, None, None]
    return r.mean(0), means, covs


def exact_path(rng, steps):
    """Data, and the parameters before each step and after the last: redrawn until none of them has a thin component,
    whose density would feel a ridge of 1e-6."""
    while True:
        x, path = points(rng), [mixture(rng)]
        while len(path) <= steps and float(torch.linalg.eigvalsh(path[-1][2]).min()) >= THIN:
            path.append(exact_step(x, *path[-1]))
        if len(path) > steps and float(torch.linalg.eigvalsh(path[-1][2]).min()) >= THIN:
            return x, path


@pytest.mark.graded("em", points=0.35)
def test_densities_and_responsibilities(student, rng):
    """ln p and the responsibilities of mixtures of several sizes, and of points far away."""
    for k, d in ((3, 2), (2, 3), (4, 1)):
        law, x = mixture(rng, k, d), points(rng, d)
        terms = log_joint(x, *law)
        words = f"of {k} components in {d} dimensions"
        unweighted = {"the weights are left out": (terms - law[0].log()).logsumexp(1)}
        assert_close(
            student.gmm_log_prob(x, *law), terms.logsumexp(1), f"`gmm_log_prob` {words}", alternatives=unweighted
        )
        other = {
            "columns sum to 1: rows should": terms.softmax(0),
            "the weights are left out": (terms - law[0].log()).softmax(1),
        }
        assert_close(student.e_step(x, *law), terms.softmax(1), f"`e_step` {words}", alternatives=other)
    far, law = torch.tensor([[300.0, -200.0], [-250.0, 310.0], [0.0, 0.0]], dtype=F64), mixture(rng)
    r = assert_finite(assert_shape(student.e_step(far, *law), (3, K), "`e_step`"), "`e_step` far away")
    assert_close(r, log_joint(far, *law).softmax(1), "`e_step` of points hundreds of deviations away")
    assert_close(
        student.gmm_log_prob(far, *law), log_joint(far, *law).logsumexp(1), "`gmm_log_prob` of points far away"
    )


@pytest.mark.graded("em", points=0.4)
def test_m_step_maximises(student, rng):
    """Weights, means and covariances are those that the responsibilities ask for; shared or not."""
    for k, d in ((3, 2), (2, 3)):
        x = points(rng, d)
        r = (1.5 * normal(rng, N, k)).softmax(1)
        words = f"`m_step` of {k} components in {d} dimensions"
        assert_em_step(student.m_step, x, responsibilities=r, what=words)
        assert_em_step(
            lambda x, r: student.m_step(x, r, shared=True),
            x,
            responsibilities=r,
            shared=True,
            what=f"{words}, shared=True",
        )


@pytest.mark.graded("em", points=0.4)
def test_fit_is_exact_steps(student, rng):
    """`fit_gmm` for 0, 1 and 3 steps gives the parameters of as many exact steps, and the list that belongs to them."""
    x, path = exact_path(rng, 3)
    for steps in (1, 0, 3):
        now, right = path[steps], [log_joint(x, *law).logsumexp(1).mean() for law in path[: steps + 1]]
        answer = student.fit_gmm(x, *path[0], steps)
        *found, history = assert_tuple(
            answer, 4, "the result of `fit_gmm`", names=("weights", "means", "covs", "log_likelihoods")
        )
        for name, got, expected in zip(("weights", "means", "covariances"), found, now, strict=True):
            assert_close(got, expected, f"the {name} after {steps} steps", rtol=1e-5, atol=2e-5)
        what = f"the list of mean log-likelihoods of {steps} steps"
        if steps:
            history = assert_increasing(history, slack=1e-5, length=steps + 1, what=what)
        else:
            history = torch.stack([torch.as_tensor(value).double().detach() for value in history])
        total = torch.stack(right)
        assert_close(history, total, what, rtol=1e-5, atol=2e-5, sizes={"data": N})


@pytest.mark.graded("gaussians", points=0.25)
def test_kl_of_random_laws(student, rng):
    """KL of normal laws, deviations from e⁻³ to e³, with and without the second law, and broadcast."""
    B, L = 4, 3
    m1, m2 = normal(rng, B, L), normal(rng, B, L)
    s1, s2 = (torch.tensor([-3.0, 0.4, 3.0], dtype=F64) + 0.2 * normal(rng, B, L) for _ in range(2))
    what = "`normal_kl`"
    assert_gaussian_kl(student.normal_kl, m1, 0.3 * s1, m2, -0.2 * s2, rtol=1e-5, what=what)
    assert_gaussian_kl(student.normal_kl, m1, s1, m2, s1 + 0.3 * normal(rng, B, L), rtol=1e-5, what=what)
    assert_gaussian_kl(student.normal_kl, m1, 0.5 * s1, rtol=1e-5, what=f"{what} to the prior")
    wide = (normal(rng, B, 1), 0.5 * normal(rng, B, 1), normal(rng, L), 0.5 * normal(rng, L))
    assert_gaussian_kl(student.normal_kl, *wide, rtol=1e-5, what=f"{what} of (B, 1) and (L,)")
    zero = torch.zeros(B, L, dtype=F64)
    assert_close(student.normal_kl(m1, s1, m1, s1), zero, "the KL of a law with itself", atol=1e-6)
    single = student.normal_kl(m1.float(), s1.float())
    assert_dtype(assert_shape(single, (B, L), what), torch.float32, f"{what} of float32")


@pytest.mark.graded("gaussians", points=0.2)
def test_nll_is_of_a_density(student, rng):
    """Minus the logarithm of the normal density, whose integral is 1."""
    x, mean, log_std = 2 * normal(rng, 5, 3), normal(rng, 5, 3), 0.8 * normal(rng, 5, 3)
    right = Normal(mean, log_std.exp()).log_prob(x)
    assert_density(student.normal_nll, x, mean, log_std, expected=right, negative=True, rtol=1e-5, what="`normal_nll`")
    wide = Normal(mean[:, :1], log_std[0].exp()).log_prob(x)
    assert_close(student.normal_nll(x, mean[:, :1], log_std[0]), -wide, "`normal_nll`, broadcast", rtol=1e-5, atol=1e-6)
    for log_sigma in (-1.0, 0.5):
        m, s = torch.tensor(0.3, dtype=F64), torch.tensor(log_sigma, dtype=F64)
        assert_integrates_to_one(
            lambda x, m=m, s=s: -student.normal_nll(x[:, 0], m, s).double(),
            [(-12.0, 12.0)],
            points=2000,
            atol=1e-4,
            what="the density of `normal_nll`",
        )


@pytest.mark.graded("gaussians", points=0.3)
def test_draws_and_their_gradients(student, rng, seed):
    """z = μ + σε with fresh standard normal ε, and its derivatives in μ and ln σ, draw by draw."""
    L = randint(rng, 3, 5)
    mean, log_std = normal(rng, 4000, L), 0.7 * normal(rng, 4000, L)
    assert_reparametrised(student.reparametrise, mean, log_std, seed=seed, what="`reparametrise`")
