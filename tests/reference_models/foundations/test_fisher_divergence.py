"""The Fisher divergence: Gaussians by hand, quadrature, integration by parts, and de Bruijn's identity for KL."""

from __future__ import annotations

import pytest
import torch
from scipy.integrate import quad

from reference_models.foundations.divergences import gaussian_kl
from reference_models.foundations.fisher_divergence import (
    divergence_of,
    fisher_divergence,
    gaussian_fisher_divergence,
    score_matching_terms,
    score_of,
)
from reference_models.parts.distributions import DiagonalNormal, GaussianMixture
from tests.reference_models.helpers import close, jacobian


def two_gaussians(d: int) -> tuple[torch.Tensor, ...]:
    roots = torch.randn(2, d, d)
    cov = roots @ roots.mT + 0.5 * torch.eye(d)
    return torch.randn(d), cov[0], torch.randn(d), cov[1]


def line(mean: float, std: float) -> DiagonalNormal:
    return DiagonalNormal(torch.tensor([mean]), torch.tensor([std]).log())


@pytest.mark.parametrize("batch", [(), (64,)])
def test_the_score_is_the_gradient_of_the_log_density(batch):
    mixture = GaussianMixture(torch.tensor([0.3, 0.7]), torch.randn(2, 2), torch.eye(2).repeat(2, 1, 1))
    x = torch.randn(*batch, 2)
    assert close(score_of(mixture.log_prob)(x), mixture.score(x), 1e-10)
    with torch.no_grad():
        assert not score_of(mixture.log_prob)(x).requires_grad
    assert not x.requires_grad


def test_the_score_carries_gradients_to_parameters():
    """s(x) = m − x for N(m, 1): ∂s/∂m = 1."""
    mean = torch.zeros(1, requires_grad=True)
    s = score_of(lambda x: -0.5 * ((x - mean) ** 2).sum(-1))(torch.randn(3, 1))
    assert close(torch.autograd.grad(s.sum(), mean)[0], 3.0, 1e-12)


def test_gaussians_on_the_line_by_hand():
    """N(0, 1) and N(m, s²): E (−x + (x − m)/s²)² = (1/s² − 1)² + m²/s⁴."""
    m, v = 0.7, 2.5
    found = gaussian_fisher_divergence(torch.zeros(1), torch.eye(1), torch.tensor([m]), v * torch.eye(1))
    assert float(found) == pytest.approx((1 / v - 1) ** 2 + m * m / v**2, abs=1e-12)


def test_gaussians_in_space_by_the_formula_of_traces():
    """tr P⁻¹ − 2 tr Q⁻¹ + tr Q⁻¹ P Q⁻¹ + |Q⁻¹(m_p − m_q)|², the docstring's first fact."""
    mean_p, cov_p, mean_q, cov_q = two_gaussians(3)
    inv_p, inv_q = torch.linalg.inv(cov_p), torch.linalg.inv(cov_q)
    expected = inv_p.trace() - 2 * inv_q.trace() + (inv_q @ cov_p @ inv_q).trace()
    expected = expected + ((inv_q @ (mean_p - mean_q)) ** 2).sum()
    assert close(gaussian_fisher_divergence(mean_p, cov_p, mean_q, cov_q), expected, 1e-8)


def test_de_bruijn_kl_falls_at_half_the_fisher_divergence_under_noise():
    """d/dt KL of both laws noised by N(0, tI), by central differences of the closed form."""
    mean_p, cov_p, mean_q, cov_q = two_gaussians(2)
    eye, t, h = torch.eye(2), 0.4, 1e-4

    def kl(time: float) -> float:
        return float(gaussian_kl(mean_p, cov_p + time * eye, mean_q, cov_q + time * eye))

    fisher = float(gaussian_fisher_divergence(mean_p, cov_p + t * eye, mean_q, cov_q + t * eye))
    assert (kl(t + h) - kl(t - h)) / (2 * h) == pytest.approx(-0.5 * fisher, rel=1e-5)


def test_the_average_over_samples_meets_the_closed_form(generator):
    """5 standard errors of 4000 draws: 6e-7. p and q are not exchangeable."""
    p, q = line(0.0, 1.0), line(0.8, 0.6)
    x = p.sample(4000, generator=generator)
    exact = gaussian_fisher_divergence(torch.zeros(1), torch.eye(1), torch.tensor([0.8]), 0.36 * torch.eye(1))
    terms = ((p.score(x) - q.score(x)) ** 2).sum(-1)
    assert abs(float(fisher_divergence(x, p.score, q.score) - exact)) < 5 * float(terms.std()) / 4000**0.5


def test_the_average_sums_over_dimensions():
    """Scores that differ by (1, 2) everywhere: 5."""
    shift = torch.tensor([1.0, 2.0])
    assert float(fisher_divergence(torch.randn(4, 2), lambda x: x, lambda x: x + shift)) == pytest.approx(5)


def test_the_divergence_is_the_trace_of_the_jacobian():
    weight = torch.randn(3, 3)

    def field(x):
        return torch.tanh(x @ weight) * x.roll(1, -1)

    x = torch.randn(5, 3)
    expected = torch.stack([jacobian(field, one).trace() for one in x])
    assert close(divergence_of(field, x), expected, 1e-10)
    assert close(divergence_of(field, x[0]), expected[0], 1e-10)


def test_integration_by_parts_gives_the_divergence_without_the_score_of_p(generator):
    """On the line, F(p ‖ q) = E[s_q² + 2 s_q'] + E s_p², all three by quadrature or closed form; and from samples."""
    p = GaussianMixture(torch.tensor([0.4, 0.6]), torch.tensor([[-1.0], [1.2]]), torch.tensor([[[0.5]], [[0.8]]]))
    q = GaussianMixture(torch.tensor([0.7, 0.3]), torch.tensor([[-0.5], [1.0]]), torch.tensor([[[0.9]], [[0.6]]]))

    def at(x):
        return torch.tensor([[x]])

    def expectation(h):
        return quad(lambda x: float(p.log_prob(at(x)).exp()) * float(h(at(x)).detach()), -9, 9, limit=100)[0]

    fisher = expectation(lambda x: fisher_divergence(x, p.score, q.score))
    terms = expectation(lambda x: score_matching_terms(x, q.score))
    assert fisher == pytest.approx(terms + expectation(lambda x: (p.score(x) ** 2).sum()), abs=1e-6)


@pytest.mark.parametrize("D", [1, 3])
def test_score_matching_trains_the_score_it_should(D):
    """Model s(x) = −a x on a sample: the terms are a² E|x|² − 2aD; the gradient reaches a."""
    x = torch.randn(50, D)
    a = torch.tensor(0.3, requires_grad=True)
    terms = score_matching_terms(x, lambda at: -a * at)
    moment = float((x**2).sum(1).mean())
    assert float(terms.detach()) == pytest.approx(0.09 * moment - 0.6 * D, abs=1e-12)
    assert float(torch.autograd.grad(terms, a)[0]) == pytest.approx(0.6 * moment - 2 * D, abs=1e-12)


def test_weights_of_modes_far_apart_hardly_show(generator):
    """Two mixtures of the same two modes, 0.5/0.5 and 0.9/0.1: KL is 0.51, Fisher almost nothing."""
    means, cov = torch.tensor([[-6.0], [6.0]]), torch.eye(1).repeat(2, 1, 1)
    p = GaussianMixture(torch.tensor([0.5, 0.5]), means, cov)
    q = GaussianMixture(torch.tensor([0.9, 0.1]), means, cov)
    x = p.sample(2000, generator=generator)
    assert float((p.log_prob(x) - q.log_prob(x)).mean()) > 0.4
    assert float(fisher_divergence(x, p.score, q.score)) < 1e-3


def test_float32_agrees():
    mean_p, cov_p, mean_q, cov_q = two_gaussians(2)
    single = gaussian_fisher_divergence(mean_p.float(), cov_p.float(), mean_q.float(), cov_q.float())
    assert single.dtype == torch.float32
    assert float(single) == pytest.approx(float(gaussian_fisher_divergence(mean_p, cov_p, mean_q, cov_q)), rel=1e-3)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"x must have shape \(N, D\), got \(3,\)"):
        fisher_divergence(torch.zeros(3), lambda x: x, lambda x: x)
    with pytest.raises(ValueError, match="cov_p must be positive definite, got an eigenvalue of -1"):
        gaussian_fisher_divergence(torch.zeros(2), torch.tensor([[-1.0, 0], [0, 2]]), torch.zeros(2), torch.eye(2))
