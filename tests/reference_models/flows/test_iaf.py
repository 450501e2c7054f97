"""IAF: sampling and scoring one's own samples in one pass, and the duality with MAF."""

from __future__ import annotations

import math

import pytest
import torch

from reference_models.flows.change_of_variables import FlowDensity
from reference_models.flows.iaf import IAF, GatedAutoregressive, InitialAffine, dual, maf_parameters
from reference_models.flows.maf import AffineAutoregressive
from tests.reference_models.helpers import close, jacobian, log_abs_det, perturb

ORDER = [2, 0, 3, 1]


def test_the_forget_bias_opens_the_gates() -> None:
    """A network of zeros leaves σ = sigmoid(bias): the paper's choice unless another is given."""

    class Zeros(torch.nn.Module):
        def forward(self, z, condition=None):
            return torch.zeros(*z.shape, 2)

    z = torch.randn(5, 3)
    for options, bias in (({}, 1.5), ({"forget_bias": -0.5}, -0.5)):
        x, logdet = GatedAutoregressive(3, net=Zeros(), **options).inverse(z)
        sigma = 1 / (1 + math.exp(-bias))
        assert close(x, sigma * z, 1e-12)
        assert close(logdet, torch.full((5,), 3 * math.log(sigma)), 1e-12)


def step(condition_dim: int = 0) -> GatedAutoregressive:
    return perturb(GatedAutoregressive(4, (16,), order=ORDER, condition_dim=condition_dim), 0.4)


def test_a_step_is_a_convex_combination_gated_by_sigma() -> None:
    """x = σ z + (1 - σ) m and log|det| = Σ log σ, algorithm 1."""
    iaf_step = step()
    z = torch.randn(5, 4)
    m, s = iaf_step.parameters_of(z, None)
    sigma = 1 / (1 + torch.exp(-s))
    x, logdet = iaf_step.inverse(z)
    assert close(x, sigma * z + (1 - sigma) * m, 1e-12)
    assert close(logdet, sigma.log().sum(-1), 1e-12)
    assert close(logdet, log_abs_det(lambda one: iaf_step.inverse(one)[0], z), 1e-9)
    back, logdet_back = iaf_step(x)
    assert close(back, z, 1e-9)
    assert close(logdet_back, -logdet, 1e-9)


def test_the_gate_starts_open() -> None:
    """With the last layer at zero σ = sigmoid(1.5), 0.82: a step starts near the identity."""
    iaf_step = GatedAutoregressive(3, (8,))
    with torch.no_grad():
        for p in iaf_step.net.net[-1].parameters():
            p.zero_()
    z = torch.randn(3)
    assert close(iaf_step.inverse(z)[0], z * torch.sigmoid(torch.tensor(1.5)), 1e-12)


def test_the_jacobian_is_triangular_in_the_order_and_full_below_the_diagonal() -> None:
    iaf_step = step()
    matrix = jacobian(lambda one: iaf_step.inverse(one)[0], torch.randn(4))[ORDER][:, ORDER]
    assert close(matrix.triu(1), torch.zeros(4, 4), 0.0)
    assert bool((matrix.tril().abs()[torch.ones(4, 4).tril().bool()] > 1e-9).all())


def test_a_draw_takes_one_pass_a_step_and_a_foreign_point_one_a_dimension() -> None:
    iaf = IAF(5, 2, (8,))
    calls = []
    for part in iaf.transform.transforms[:-1]:
        part.net.register_forward_hook(lambda *_: calls.append(1))
    drawn = iaf.draw(torch.randn(3, 5))
    assert len(calls) == 2
    calls.clear()
    foreign = iaf.log_prob(drawn.x)
    assert len(calls) == 2 * 5
    assert close(foreign, drawn.log_prob, 1e-9)


def test_the_noise_is_first_scaled_and_shifted() -> None:
    """z_0 = μ_0 + σ_0 ε, against torch.distributions, with and without context."""
    for dim in (0, 2):
        first = perturb(InitialAffine(3, condition_dim=dim), 0.4)
        h = torch.randn(5, dim) if dim else None
        mean, log_std = first.mean_log_std(h)
        z, logdet = first.inverse(torch.ones(5, 3), condition=h)
        assert close(z, (mean + log_std.exp()).expand(5, 3), 1e-12)
        assert close(logdet, log_std.sum(-1).expand(5), 1e-12)
        expected = torch.distributions.Normal(mean, log_std.exp()).log_prob(z).sum(-1)
        assert close(FlowDensity(first).log_prob(z, condition=h), expected, 1e-10)


def test_the_flow_starts_at_the_scale_of_its_base() -> None:
    """With the last layers at zero, six gates of sigmoid(1.5) after σ_0 = sigmoid(1.5)^-6 are the identity."""
    iaf = IAF(3, 6, (8,))
    with torch.no_grad():
        for part in iaf.transform.transforms[:-1]:
            for p in part.net.net[-1].parameters():
                p.zero_()
    z = torch.randn(5, 3)
    assert close(iaf.inverse(z)[0], z, 1e-12)


def test_the_layers_alternate_so_that_every_noise_reaches_every_dimension() -> None:
    iaf = perturb(IAF(4, 2, (32,)), 0.4)
    assert bool((jacobian(lambda one: iaf.inverse(one)[0], torch.randn(4)).abs() > 1e-9).all())


def test_the_context_reaches_every_dimension_and_gradients_reach_the_context() -> None:
    iaf = perturb(IAF(3, 2, (12,), condition_dim=2), 0.4)
    noise, h = torch.randn(6, 3), torch.randn(6, 2, requires_grad=True)
    drawn = iaf.draw(noise, condition=h)
    (gradient,) = torch.autograd.grad(drawn.x.sum() + drawn.log_prob.sum(), h)
    assert bool((gradient.abs() > 1e-9).all())
    assert close(drawn.log_prob, iaf.log_prob(drawn.x, condition=h), 1e-9)


def test_the_dual_of_a_maf_layer_samples_with_the_map_that_maf_scores_with() -> None:
    """One network; MAF: x → u fast. IAF: z → x by the same numbers, fast."""
    maf = perturb(AffineAutoregressive(4, (16,), order=ORDER), 0.3)
    iaf = dual(maf)
    points = torch.randn(5, 4)
    u, logdet = maf(points)
    x, logdet_inverse = iaf.inverse(points)
    assert torch.equal(x, u)
    assert torch.equal(logdet_inverse, logdet)
    calls = []
    maf.net.register_forward_hook(lambda *_: calls.append(1))
    FlowDensity(iaf).draw(points)
    assert len(calls) == 1


def test_an_iaf_map_is_a_maf_map_with_other_parameters() -> None:
    """z e^s + m = (z - μ) e^{-α} for μ = -m e^{-s}, α = -s."""
    m, s, z = torch.randn(3, 5, 4)
    mu, alpha = maf_parameters(m, s)
    assert close((z - mu) * torch.exp(-alpha), z * torch.exp(s) + m, 1e-10)


def test_a_gated_step_is_the_maf_map_of_its_gated_mean_and_log_sigma() -> None:
    """x = σ z + (1 - σ) m is (z - μ) e^{-α} for the parameters of (1 - σ) m and log σ, log-determinant -Σ α."""
    iaf_step, z = step(), torch.randn(5, 4)
    m, s = iaf_step.parameters_of(z, None)
    sigma = 1 / (1 + torch.exp(-s))
    mu, alpha = maf_parameters((1 - sigma) * m, sigma.log())
    x, logdet = iaf_step.inverse(z)
    assert close(x, (z - mu) * torch.exp(-alpha), 1e-10)
    assert close(logdet, -alpha.sum(-1), 1e-10)


def test_fitting_a_maf_by_likelihood_is_fitting_its_dual_by_kl_in_the_base_s_space() -> None:
    """KL(data ‖ MAF) = KL(pushed data ‖ base), MAF appendix A: here with Gaussian data and a linear layer.

    Data N(0, I) through u = (x - μ)e^{-α}, constant μ and α: the KL of N(-μ e^{-α}, e^{-2α}) from N(0, 1), in closed
    form by torch.distributions, against log p_data(x) - log p_maf(x) on a quadrature grid.
    """
    maf = AffineAutoregressive(1, (4,))
    with torch.no_grad():
        for p in maf.net.parameters():
            p.zero_()
        maf.net.net[-1].bias.copy_(torch.tensor([0.7, -0.4]))
    x = torch.linspace(-12, 12, 4001)[:, None]
    mu, alpha = (part[0, 0] for part in maf.parameters_of(x, None))
    normal = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    data = normal.log_prob(x[:, 0])
    kl_data = torch.trapezoid(data.exp() * (data - FlowDensity(maf).log_prob(x)), x[:, 0])
    pushed = torch.distributions.Normal(-mu * torch.exp(-alpha), torch.exp(-alpha))
    assert close(kl_data, torch.distributions.kl_divergence(pushed, normal), 1e-9)


def test_the_paper_s_posterior_has_eight_steps_of_1920_units() -> None:
    """By hand: 32 → 1920 → 2·32 with biases, eight times, μ_0 and σ_0; the paper states no total."""
    with torch.device("meta"):
        model = IAF.paper()
    assert sum(p.numel() for p in model.parameters()) == 8 * ((32 + 1) * 1920 + (1920 + 1) * 64) + 64


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        IAF(3, 0)
    with pytest.raises(ValueError, match=r"order must be a permutation of 0..2, got \[1, 2, 3\]"):
        GatedAutoregressive(3, (4,), order=[1, 2, 3])
