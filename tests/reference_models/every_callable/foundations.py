"""How to call what stands in `reference_models/foundations`."""

from __future__ import annotations

import torch

from reference_models.foundations import conjugate_bayes, divergences, f_divergences, rejection_sampling, wasserstein
from reference_models.foundations import importance_sampling as importance
from reference_models.foundations import langevin as chains
from reference_models.parts.distributions import DiagonalNormal, GaussianMixture
from tests.reference_models.every_callable.rows import Row, fixed, gen


def mixture(weights: list[float], means: list[list[float]], covariances: list[list[list[float]]]) -> GaussianMixture:
    return GaussianMixture(*(torch.tensor(part, dtype=torch.float64) for part in (weights, means, covariances)))


MIXTURE = mixture([0.7, 0.3], [[0.0, 1.0], [2.0, -1.0]], [[[0.5, 0.2], [0.2, 0.4]], [[0.3, 0.0], [0.0, 0.6]]])
ONE = mixture([1.0], [[0.5, 0.0]], [[[2.0, 0.0], [0.0, 2.0]]])


def x(n: int = 6, d: int = 2, seed: int = 3) -> torch.Tensor:
    return fixed(n, d, seed=seed)


def normal(v: torch.Tensor) -> torch.Tensor:
    return -0.5 * (v**2).sum(-1)


def predicted(**k):
    law = conjugate_bayes.BetaBernoulli(**{"heads": 2, "tails": 1} | k)
    return [v for name in dir(law) if not name.startswith("_") and isinstance(v := getattr(law, name), float | int)]


def regression(**k):
    law = conjugate_bayes.LinearRegression(x(8), x(8, 1)[:, 0], **k)
    return [v for name in dir(law) if not name.startswith("_") and isinstance(v := getattr(law, name), torch.Tensor)]


WEIGHTS = torch.tensor([0.1, 0.2, 0.3, 0.1, 0.1, 0.2], dtype=torch.float64)
ROWS = [
    Row("foundations.conjugate_bayes.BetaBernoulli", predicted, a=2.0, b=3.0, heads=4, tails=5),
    Row("foundations.conjugate_bayes.LinearRegression", regression, alpha=2.0, beta=3.0),
    Row("foundations.divergences.monte_carlo_kl", lambda **k: divergences.monte_carlo_kl(MIXTURE, ONE, **k), n=50),
    Row(
        "foundations.divergences.monte_carlo_jensen_shannon",
        lambda **k: divergences.monte_carlo_jensen_shannon(MIXTURE, ONE, **k),
        n=50,
    ),
    Row("foundations.divergences.GaussianFit", lambda **k: divergences.GaussianFit(2, **k), mean=x()[0]),
    Row("foundations.divergences.GaussianFit.rsample", lambda **k: divergences.GaussianFit(2).rsample(4, **k)),
    Row("foundations.divergences.GaussianFit.sample", lambda **k: divergences.GaussianFit(2).sample(4, **k)),
    Row(
        "foundations.divergences.GaussianFit.reverse_kl_loss",
        lambda **k: divergences.GaussianFit(2).reverse_kl_loss(MIXTURE, **k),
        n=40,
    ),
    Row(
        "foundations.f_divergences.variational_bound",
        lambda **k: f_divergences.variational_bound("kl", x()[:, 0], x()[:, 1], **k),
        weights_p=WEIGHTS,
        weights_q=WEIGHTS,
    ),
    Row(
        "foundations.importance_sampling.importance_sample",
        lambda **k: importance.importance_sample(MIXTURE.log_prob, ONE, 5, **k),
    ),
    Row(
        "foundations.importance_sampling.resample",
        lambda **k: importance.resample(
            importance.importance_sample(MIXTURE.log_prob, ONE, 9, generator=gen(5)), 8, **k
        ),
    ),
    Row(
        "foundations.langevin.langevin",
        lambda **k: chains.langevin(MIXTURE.score, x(), step_size=0.1, steps=3, **k),
        denoise=True,
    ),
    Row(
        "foundations.langevin.mala",
        lambda **k: chains.mala(normal, x(), step_size=0.5, steps=3, **k),
        score=lambda v: -2 * v,
    ),
    Row(
        "foundations.langevin.annealed_langevin",
        lambda **k: chains.annealed_langevin(
            lambda v, s: -v / s**2, x(), torch.tensor([1.0, 0.5]), smallest_step=0.01, steps=2, **k
        ),
        denoise=True,
    ),
    Row(
        "foundations.rejection_sampling.rejection_sample",
        lambda **k: rejection_sampling.rejection_sample(
            lambda v: DiagonalNormal(torch.zeros(2), torch.zeros(2)).log_prob(v), ONE, 1.5, 6, **k
        ),
        batch=7,
    ),
    Row(
        "foundations.wasserstein.wasserstein_1d",
        lambda **k: wasserstein.wasserstein_1d(x()[:, 0], x()[:, 1], **k),
        p=2.0,
        weights_x=WEIGHTS,
        weights_y=WEIGHTS,
    ),
    Row(
        "foundations.wasserstein.wasserstein_samples",
        lambda **k: wasserstein.wasserstein_samples(x(), x(seed=4), **k),
        p=2.0,
    ),
    Row(
        "foundations.wasserstein.transport",
        lambda **k: wasserstein.transport(torch.cdist(x(), x(seed=4)), **k),
        weights_x=WEIGHTS,
        weights_y=WEIGHTS,
    ),
    Row(
        "foundations.wasserstein.DistancePotential",
        lambda **k: wasserstein.DistancePotential(x(), **k)(x(seed=4)),
        heights=3 * WEIGHTS,
    ),
]
APART = {
    "foundations.rejection_sampling.rejection_sample.most": (
        "foundations/test_rejection_sampling.py",
        "test_a_hopeless_m_gives_up_and_says_so",
    ),
}
