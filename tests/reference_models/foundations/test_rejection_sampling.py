"""Rejection sampling: the law of what is kept, and how often, against SciPy and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch.distributions import Uniform

from reference_models.foundations.rejection_sampling import accept, rejection_sample
from reference_models.parts.distributions import DiagonalNormal
from tests.reference_models.helpers import numpy


class Box:
    """Uniform on [0, 1), with shapes (N, 1)."""

    def log_prob(self, x):
        return Uniform(torch.tensor(0.0), torch.tensor(1.0)).log_prob(x[:, 0])

    def sample(self, n, *, generator=None):
        return torch.rand(n, 1, generator=generator, device=generator.device if generator else None)


def beta(x: torch.Tensor) -> torch.Tensor:
    """Beta(2, 4) without its constant: θ(1 − θ)³, whose maximum is 27/256."""
    return x[:, 0].log() + 3 * (1 - x[:, 0]).log()


def test_what_is_kept_has_the_law_of_the_target(generator):
    """Kolmogorov–Smirnov against SciPy's beta law on 4000 draws; fails by chance once in 10⁷."""
    found = rejection_sample(beta, Box(), math.log(27 / 256), 4000, generator=generator)
    assert found.x.shape == (4000, 1)
    assert stats.kstest(numpy(found.x[:, 0]), stats.beta(2, 4).cdf).pvalue > 1e-7


@pytest.mark.parametrize("slack", [1.0, 3.0])
def test_the_acceptance_rate_is_z_over_m(slack, generator):
    """Z = B(2, 4) = 1/20; a looser M wastes proposals in proportion. 5 standard errors of a binomial share."""
    found = rejection_sample(beta, Box(), math.log(slack * 27 / 256), 4000, generator=generator)
    exact = (1 / 20) / (slack * 27 / 256)
    error = math.sqrt(exact * (1 - exact) / found.proposals)
    assert abs(found.acceptance_rate - exact) < 5 * error
    assert found.proposals % 1024 == 0


def test_a_normal_from_a_wider_normal(generator):
    """M = σ_q for p = N(0, 1) in q = N(0, σ_q²) on the line, squared in the plane; normalised, so the rate is 1/M."""
    p = DiagonalNormal(torch.zeros(2), torch.zeros(2))
    q = DiagonalNormal(torch.zeros(2), torch.full((2,), math.log(1.5)))
    found = rejection_sample(p.log_prob, q, 2 * math.log(1.5), 4000, generator=generator)
    assert stats.kstest(numpy(found.x[:, 0]), "norm").pvalue > 1e-7
    assert stats.kstest(numpy(found.x[:, 1]), "norm").pvalue > 1e-7
    exact = 1 / 1.5**2
    assert abs(found.acceptance_rate - exact) < 5 * math.sqrt(exact * (1 - exact) / found.proposals)


def test_a_proposal_is_kept_when_u_lies_below_the_ratio():
    log_ratio = torch.tensor([math.log(0.5), math.log(0.5), 0.0, -math.inf])
    assert accept(log_ratio, torch.tensor([0.49, 0.51, 0.999, 0.0])).tolist() == [True, False, True, False]
    assert accept(torch.zeros(0), torch.zeros(0)).shape == (0,)


def test_the_same_generator_state_gives_the_same_draws(device):
    def draw():
        return rejection_sample(beta, Box(), 0.0, 5, generator=torch.Generator(device).manual_seed(1), batch=7)

    assert torch.equal(draw().x, draw().x)
    assert draw().x.shape == (5, 1)


def test_float32_draws(generator):
    p = DiagonalNormal(torch.zeros(1, dtype=torch.float32), torch.zeros(1, dtype=torch.float32))
    q = DiagonalNormal(torch.zeros(1, dtype=torch.float32), torch.full((1,), 0.5, dtype=torch.float32))
    found = rejection_sample(p.log_prob, q, 0.5, 100, generator=generator)
    assert found.x.dtype == torch.float32


def test_an_m_that_is_no_bound_is_refused(generator):
    with pytest.raises(ValueError, match=r"M q must bound the target everywhere, got target / \(M q\) = (1\.9\d+|2)$"):
        rejection_sample(beta, Box(), math.log(27 / 256) - math.log(2.0), 4000, generator=generator)
    with pytest.raises(ValueError, match="must bound the target everywhere"):
        accept(torch.tensor([torch.nan]), torch.tensor([0.5]))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        rejection_sample(beta, Box(), 0.0, 0)


def test_a_hopeless_m_gives_up_and_says_so(generator):
    with pytest.raises(RuntimeError, match="0 of 2048 proposals were accepted, too few for 5 draws"):
        rejection_sample(beta, Box(), 30.0, 5, generator=generator, most=2000)
