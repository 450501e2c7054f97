"""FFJORD: the estimator by its exact mean and variance, one noise for a whole solve, a linear field by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reference_models.flows.ffjord import FFJORD, ConcatSquash, ConcatSquashField, hutchinson_divergence, probes_like
from reference_models.flows.neural_ode import CNF
from tests.reference_models.helpers import close, numpy, perturb, standard_errors


class Linear(nn.Module):
    def __init__(self, A: Tensor) -> None:
        super().__init__()
        self.A = nn.Parameter(A)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x @ self.A.T


def field(dim: int = 2) -> ConcatSquashField:
    return perturb(ConcatSquashField(dim, (8, 8)), 0.3)


@pytest.mark.parametrize("law", ["gaussian", "rademacher"])
def test_the_estimator_has_the_trace_as_mean_and_the_known_variance(law: str, generator: torch.Generator) -> None:
    """20000 probes: mean within 5 standard errors (6e-7 of seeds fail); variance 2‖S‖² or 2(‖S‖² - Σ s_ii²) to 10 %,
    over 7 of its standard errors.
    """
    A = torch.randn(4, 4)
    S = (A + A.T) / 2
    x = torch.randn(20000, 4)
    probes = probes_like(x, law, generator=generator)  # type: ignore[arg-type]
    slope, draws = hutchinson_divergence(Linear(A), x, torch.tensor(0.0), probes)
    assert close(slope, x @ A.T, 0.0)
    assert standard_errors(draws.detach(), A.trace()) < 5
    variance = 2 * (S**2).sum() - (2 * (S.diag() ** 2).sum() if law == "rademacher" else 0)
    assert abs(float(draws.detach().var() / variance) - 1) < 0.1


def test_the_product_is_taken_with_the_jacobian_row_by_row() -> None:
    """εᵀ A ε for each row's own ε, by NumPy."""
    A = torch.randn(3, 3)
    x, probes = torch.randn(5, 3), torch.randn(5, 3)
    _, estimate = hutchinson_divergence(Linear(A), x, torch.tensor(0.0), probes)
    e = numpy(probes)
    assert np.allclose(numpy(estimate), np.einsum("ni,ij,nj->n", e, numpy(A), e), atol=1e-12)


def test_signs_are_exact_for_a_diagonal_field(generator: torch.Generator) -> None:
    """ε_i² = 1: log p with one probe is log p. Gaussian probes are not exact."""
    A = torch.diag(torch.tensor([0.4, -0.7, 0.2]))
    x = torch.randn(4, 3)
    for law, exact in (("rademacher", True), ("gaussian", False)):
        flow = FFJORD(Linear(A), (3,), law=law, steps=10)  # type: ignore[arg-type]
        estimate = flow.log_prob(x, probes=flow.probes(x, generator=generator))
        assert close(estimate, flow.log_prob(x), 1e-9) == exact


def test_a_linear_field_s_estimate_is_the_quadratic_form_held_through_the_solve() -> None:
    """log p = log N(e^{-A} x) - εᵀ A ε when ε stays the same for the whole solve."""
    A = 0.5 * torch.randn(2, 2)
    flow = FFJORD(Linear(A), (2,), steps=30)
    x, probes = torch.randn(5, 2), torch.randn(5, 2)
    z = x @ torch.linalg.matrix_exp(-A).T
    base = torch.distributions.Normal(torch.zeros(2), torch.ones(2)).log_prob(z).sum(-1)
    quadratic = torch.einsum("ni,ij,nj->n", probes, A, probes)
    assert close(flow.log_prob(x, probes=probes).detach(), base - quadratic, 1e-6)
    assert close(flow.log_prob(x[0], probes=probes[0]).detach(), (base - quadratic)[0], 1e-6)


def test_the_estimates_along_a_basis_add_up_to_the_exact_log_density() -> None:
    """Σ_i e_iᵀ (∂f/∂x) e_i is the trace, at every time: D probes give it exactly, on a field that is not linear."""
    flow = FFJORD(field(3), (3,), steps=8)
    x = torch.randn(4, 3)
    exact = flow.log_prob(x)
    base = flow.base.log_prob(flow.forward(x)[0])
    parts = [flow.log_prob(x, probes=torch.eye(3)[i].expand(4, 3)) - base for i in range(3)]
    assert close(base + sum(parts), exact.detach(), 1e-9)


@pytest.mark.parametrize("adjoint", [True, False])
def test_the_gradients_along_a_basis_add_up_to_those_of_the_exact_log_density(adjoint: bool) -> None:
    """Also through the trace: gradients of its estimates sum to the gradient of the trace."""
    flow = FFJORD(field(), (2,), steps=12, adjoint=adjoint)
    x = torch.randn(3, 2)
    base = flow.base.log_prob(flow.forward(x)[0])
    whole = base + sum(flow.log_prob(x, probes=torch.eye(2)[i].expand(3, 2)) - base for i in range(2))
    trace_only = flow.log_prob(x) - base
    parameters = list(flow.parameters())
    expected = torch.autograd.grad(flow.log_prob(x).sum(), parameters)
    for one, other in zip(torch.autograd.grad(whole.sum(), parameters, retain_graph=True), expected, strict=True):
        assert close(one, other, 1e-7)
    assert max(float(g.abs().max()) for g in torch.autograd.grad(trace_only.sum(), parameters)) > 0.1


def test_the_estimate_is_unbiased_and_its_noise_comes_by_argument(generator: torch.Generator) -> None:
    """4000 probes at one point, 5 standard errors; the same probes give the same numbers."""
    flow = FFJORD(field(), (2,), steps=4)
    x = torch.randn(2).expand(4000, 2)
    probes = flow.probes(x, generator=generator)
    with torch.no_grad():
        draws = flow.log_prob(x, probes=probes)
        assert torch.equal(draws, flow.log_prob(x, probes=probes))
        assert standard_errors(draws, flow.log_prob(x[:1])) < 5
    assert float(draws.std()) > 1e-3


def test_without_probes_it_is_the_continuous_flow_with_the_exact_trace() -> None:
    network = field()
    x = torch.randn(3, 2)
    assert close(FFJORD(network, (2,)).log_prob(x), CNF(network, (2,)).log_prob(x).detach(), 0.0)


def test_the_gradients_of_the_estimate_by_adjoint_are_those_of_backpropagation() -> None:
    network = field()
    x, probes = torch.randn(4, 2), torch.randn(4, 2)
    grads = []
    for adjoint in (True, False):
        loss = FFJORD(network, (2,), steps=20, adjoint=adjoint).log_prob(x, probes=probes).mean()
        grads.append(torch.autograd.grad(loss, list(network.parameters())))
    for one, other in zip(*grads, strict=True):
        assert close(one, other, 1e-5)


def test_images_flow_through_a_convolution() -> None:
    class Convolution(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return torch.tanh(self.convolution(x)) * (1 + t)

    flow = FFJORD(perturb(Convolution(), 0.2), (1, 2, 3), steps=4)
    x = torch.randn(2, 1, 2, 3)
    whole = flow.log_prob(x)
    z, _ = flow.forward(x)
    base = flow.base.log_prob(z)
    basis = torch.eye(6).reshape(6, 1, 2, 3)
    parts = sum(flow.log_prob(x, probes=e.expand(2, 1, 2, 3)) - base for e in basis)
    assert close(base + parts, whole.detach(), 1e-9)
    assert flow.sample(3).shape == (3, 1, 2, 3)


def test_the_layers_are_gated_and_shifted_by_time() -> None:
    """(W x + b) ⊙ σ(w_g t + b_g) + w_b t by NumPy."""
    layer = perturb(ConcatSquash(2, 3))
    x, t = torch.randn(4, 2), 0.7
    gate = 1 / (1 + np.exp(-(numpy(layer.gate.weight)[:, 0] * t + numpy(layer.gate.bias))))
    linear = numpy(x) @ numpy(layer.linear.weight).T + numpy(layer.linear.bias)
    expected = linear * gate + numpy(layer.shift.weight)[:, 0] * t
    assert np.allclose(numpy(layer(x, torch.tensor(t))), expected, atol=1e-12)


def test_the_activation_stands_between_layers_not_before_the_first() -> None:
    """The first layer sees x itself: two points with one softplus image differ."""
    network = ConcatSquashField(1, (4,))
    first = network.layers[0]
    seen = []
    first.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    x = torch.tensor([[-3.0]])
    network(x, torch.tensor(0.0))
    assert torch.equal(seen[0], x)


def test_bad_arguments_are_refused() -> None:
    flow = FFJORD(field(), (2,))
    with pytest.raises(ValueError, match="law must be one of"):
        FFJORD(field(), (2,), law="uniform")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"probes must have shape \(3, 2\), got \(2,\)"):
        flow.log_prob(torch.randn(3, 2), probes=torch.randn(2))
    with pytest.raises(ValueError, match="takes no condition"):
        flow.sample(3, condition=torch.randn(3, 1))
    with pytest.raises(ValueError, match="x must have shape"):
        flow.log_prob(torch.randn(3, 3), probes=torch.randn(3, 3))


def test_the_field_changes_with_time() -> None:
    """At every layer: gates and shifts of layers other than the first matter alone, too."""
    field = perturb(ConcatSquashField(2, (8, 8)), 0.5)
    x = torch.randn(5, 2)
    assert float((field(x, torch.tensor(0.2)) - field(x, torch.tensor(0.9))).abs().min()) > 1e-4
    for layer in field.layers:
        still = copy.deepcopy(field)
        for other, one in zip(still.layers, field.layers, strict=True):
            if one is not layer:
                nn.init.zeros_(other.gate.weight)
                nn.init.zeros_(other.shift.weight)
        assert float((still(x, torch.tensor(0.2)) - still(x, torch.tensor(0.9))).abs().max()) > 1e-4
