"""Variational dequantisation: any q gives unbiased probabilities, the uniform q the uniform bound, the best q log P."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reference_models.flows.bases import StandardLogistic
from reference_models.flows.change_of_variables import Composed, FlowDensity, Mapped, Transform
from reference_models.flows.dequantisation import UniformDequantisation
from reference_models.flows.logit_transform import Logit
from reference_models.flows.variational_dequantisation import VariationalDequantisation, conditional_noise
from tests.reference_models.flows.test_dequantisation import K, density, exact
from tests.reference_models.helpers import close, perturb, standard_errors


class Ignoring(Transform):
    """A transform that takes a condition and does nothing."""

    def __init__(self, dim: int) -> None:
        super().__init__((dim,), condition_shape=(dim,))

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        return x, x.new_zeros(len(x))

    _inverse = _forward


class Quadratic(Transform):
    """z = y² on (0, 1): with a uniform base p(y) = 2y, whose law in every cell is known."""

    def __init__(self) -> None:
        super().__init__((1,))

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        return x**2, torch.log(2 * x).sum(1)

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        return z.sqrt(), -torch.log(2 * z.sqrt()).sum(1)


class WithinTheCell(Transform):
    """The distribution function of u given x when p(y) = 2y: F(u) = ((x + u)² - x²) / (2x + 1)."""

    def __init__(self, num_levels: int) -> None:
        super().__init__((1,), condition_shape=(1,))
        self.num_levels = num_levels

    def level(self, condition: Tensor | None) -> Tensor:
        assert condition is not None
        return (condition + 1) / 2 * (self.num_levels - 1)

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        level = self.level(condition)
        return (x**2 + 2 * level * x) / (2 * level + 1), torch.log((2 * x + 2 * level) / (2 * level + 1)).sum(1)

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        level = self.level(condition)
        u = torch.sqrt(level**2 + z * (2 * level + 1)) - level
        return u, -torch.log((2 * u + 2 * level) / (2 * level + 1)).sum(1)


def uniform_base() -> list[Transform]:
    return [Logit((1,), alpha=0.0)]


def test_the_best_noise_makes_the_bound_exact_for_every_draw(generator: torch.Generator) -> None:
    """p(y) = 2y on five levels: P(x) = (2x + 1)/25, and q the law of u within the cell has no gap."""
    p = FlowDensity(Composed([Quadratic(), *uniform_base()]), StandardLogistic((1,)))
    q = FlowDensity(Composed([WithinTheCell(5), *uniform_base()]), StandardLogistic((1,)))
    levels = torch.arange(5).repeat(8)[:, None]
    bound = VariationalDequantisation(p, 5, q).bound(levels, generator=generator)
    assert close(bound, torch.log((2 * levels[:, 0] + 1) / 25), 1e-8)
    uniform = UniformDequantisation(p, 5).bound(levels, generator=generator)
    assert float((uniform - bound).abs().max()) > 0.1


def test_uniform_noise_gives_the_uniform_bound(device: torch.device) -> None:
    """u = sigmoid of a logistic variable is uniform: log q = 0."""
    q = FlowDensity(Composed([Logit((2,), alpha=0.0), Ignoring(2)]), StandardLogistic((2,)))
    levels = torch.randint(0, K, (6, 2))
    p = density()

    def noise() -> torch.Generator:
        return torch.Generator(device).manual_seed(4)

    drawn = VariationalDequantisation(p, K, q).noise(levels.to(torch.get_default_dtype()), generator=noise())
    assert close(drawn.log_q, torch.zeros(6), 1e-9)
    bound = VariationalDequantisation(p, K, q).bound(levels, generator=noise())
    expected = p.log_prob((levels + drawn.u) / K) - 2 * math.log(K)
    assert close(bound, expected, 1e-9)


def test_any_noise_gives_unbiased_probabilities_and_a_lower_bound(generator: torch.Generator) -> None:
    """E_q[p K^{-D} / q] = P(x) by SciPy's quadrature, 5 standard errors of 6000 draws (6e-7 of seeds fail)."""
    p, levels = density(), (0, 2)
    model = VariationalDequantisation(p, K, perturb(conditional_noise((2,), 2, hidden=(8,)), 0.2))
    with torch.no_grad():
        draws = model.bound(torch.tensor(levels).expand(6000, 2), generator=generator)
    truth = exact(p, levels)
    assert standard_errors(draws.exp(), truth) < 5
    assert float(draws.mean()) < math.log(truth)


def test_the_noise_lies_in_the_cube_and_its_density_is_that_of_the_flow(generator: torch.Generator) -> None:
    model = VariationalDequantisation(density(), K, perturb(conditional_noise((2,), 2, hidden=(8,)), 0.2))
    levels = torch.tensor([[0.0, 2.0], [1.0, 1.0]]).repeat(32, 1)
    drawn = model.noise(levels, generator=generator)
    assert float(drawn.u.detach().min()) > 0
    assert float(drawn.u.detach().max()) < 1
    condition = levels - 1  # 2x / (K - 1) - 1 for K = 3
    assert close(drawn.log_q, model.q.log_prob(drawn.u, condition=condition), 1e-8)
    assert not close(drawn.log_q, model.q.log_prob(drawn.u, condition=condition + 1), 1e-3)


def test_the_noise_of_images_sees_the_image(generator: torch.Generator) -> None:
    q = perturb(conditional_noise((1, 4, 4), 2, width=4), 0.3)
    noise = q.base.sample(1, generator=generator)
    black, white = torch.full((1, 1, 4, 4), -1.0), torch.full((1, 1, 4, 4), 1.0)
    assert not close(q.draw(noise, condition=black).x, q.draw(noise, condition=white).x, 1e-3)


def test_the_gradient_of_the_bound_in_q_is_that_of_finite_differences(device: torch.device) -> None:
    """Through u and through log q, with the noise held."""
    model = VariationalDequantisation(density(), K, perturb(conditional_noise((2,), 2, hidden=(4,)), 0.2))
    levels = torch.tensor([[0, 2], [1, 1]])

    def bound() -> Tensor:
        return model.bound(levels, generator=torch.Generator(device).manual_seed(2)).sum()

    parameters = list(model.q.parameters())
    step = 1e-6
    for parameter, gradient in zip(parameters, torch.autograd.grad(bound(), parameters), strict=True):
        direction = torch.randn_like(parameter)
        values = []
        for sign in (1, -2):
            with torch.no_grad():
                parameter += sign * step * direction
                values.append(bound())
        with torch.no_grad():
            parameter += step * direction
        assert close((values[0] - values[1]) / (2 * step), (gradient * direction).sum(), 1e-6)


def test_the_bound_teaches_the_noise(generator: torch.Generator) -> None:
    model = VariationalDequantisation(density(), K, conditional_noise((2,), 2, hidden=(8,)))
    model.bound(torch.tensor([[0, 2], [1, 1]]), generator=generator).sum().backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in model.q.parameters())


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"q has events of shape \(3,\), the density \(2,\)"):
        VariationalDequantisation(density(), K, conditional_noise((3,)))
    with pytest.raises(ValueError, match="couplings must be at least 1, got 0"):
        conditional_noise((2,), 0)
    with pytest.raises(ValueError, match=r"levels must be whole numbers in 0\.\.2"):
        VariationalDequantisation(density(), K).bound(torch.tensor([[0, -1]]))
