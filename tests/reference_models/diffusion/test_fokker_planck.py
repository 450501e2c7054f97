"""Residuals against finite differences, and zero for densities known to solve the equation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from reference_models.diffusion.fokker_planck import continuity_residual, fokker_planck_residual
from reference_models.diffusion.sde import VE, VP, SubVP
from reference_models.parts.distributions import GaussianMixture
from tests.reference_models.helpers import close

SDES = [VP(0.3, 9.0), SubVP(0.3, 9.0), VE(0.2, 6.0)]


def some_log_density(x: Tensor, t: Tensor) -> Tensor:
    """No solution of anything: a positive function of x and t."""
    return -x.square().sum(-1) * (1 + t) + torch.sin(x[:, 0] * x[:, -1] + 3 * t)


def some_drift(x: Tensor, t: Tensor) -> Tensor:
    return torch.stack([x[:, 0] * x[:, 1] + t, torch.cos(x[:, 0]) - x[:, 1] ** 2], dim=1)


def some_diffusion(t: Tensor) -> Tensor:
    return 0.5 + t


def by_differences(field: bool) -> Tensor:
    """(∂p/∂t + div(f p) − ½ g² Δp)/p at three points by differences of p itself; without the last if `field`."""
    h, out = 1e-4, []
    for i, (x, t) in enumerate(zip(points(), times(), strict=True)):

        def p(x: Tensor, t: Tensor) -> Tensor:
            return some_log_density(x[None], t[None]).exp()[0]

        def flux(x: Tensor, t: Tensor, i: int, p=p) -> Tensor:
            return some_drift(x[None], t[None])[0, i] * p(x, t)

        value = (p(x, t + h) - p(x, t - h)) / (2 * h)
        for i in range(2):
            e = h * torch.eye(2)[i]
            value = value + (flux(x + e, t, i) - flux(x - e, t, i)) / (2 * h)
            if not field:
                laplacian = (p(x + e, t) - 2 * p(x, t) + p(x - e, t)) / h**2
                value = value - 0.5 * some_diffusion(t) ** 2 * laplacian
        out.append(value / p(x, t))
    return torch.stack(out)


def points() -> Tensor:
    return torch.tensor([[0.3, -0.4], [0.8, 0.5], [-0.6, 0.2]])


def times() -> Tensor:
    return torch.tensor([0.2, 0.5, 0.9])


def test_the_residual_is_that_of_finite_differences():
    residual = fokker_planck_residual(some_log_density, some_drift, some_diffusion, points(), times())
    assert close(residual, by_differences(field=False), 1e-5)
    assert float(residual.abs().min()) > 0.1


def test_the_continuity_residual_is_that_of_finite_differences():
    residual = continuity_residual(some_log_density, some_drift, points(), times())
    assert close(residual, by_differences(field=True), 1e-5)
    assert float(residual.abs().min()) > 0.1


def test_the_ornstein_uhlenbeck_law_solves_it():
    """dx = −x dt + √2 dw from N(2, 0.1): mean 2 e^{−t}, variance 1 + (0.1 − 1) e^{−2t}; and it does not for g = 1."""

    def log_p(x: Tensor, t: Tensor) -> Tensor:
        return Normal(2 * torch.exp(-t), (1 - 0.9 * torch.exp(-2 * t)).sqrt()).log_prob(x[:, 0])

    x, t = torch.randn(20, 1), torch.linspace(0.1, 2, 20)

    def residual(g: float) -> Tensor:
        return fokker_planck_residual(log_p, lambda x, t: -x, lambda t: torch.full_like(t, g), x, t)

    assert close(residual(math.sqrt(2)), torch.zeros(20), 1e-10)
    assert float(residual(1.0).abs().max()) > 0.1


def test_the_heat_kernel_solves_it():
    """dx = dw in three dimensions from a point: N(0, t I)."""

    def log_p(x: Tensor, t: Tensor) -> Tensor:
        return -0.5 * x.square().sum(1) / t - 1.5 * torch.log(2 * math.pi * t)

    x, t = torch.randn(20, 3), torch.linspace(0.1, 2, 20)
    residual = fokker_planck_residual(log_p, lambda x, t: torch.zeros_like(x), torch.ones_like, x, t)
    assert close(residual, torch.zeros(20), 1e-9)


@pytest.mark.parametrize("sde", SDES)
def test_noised_mixtures_solve_the_equation_of_their_sde_and_of_its_flow(sde):
    """p_t = Σ w N(a μ, a² Σ + σ²) has drift f and diffusion g, and is carried by v = f − ½ g² ∇ log p."""
    weights, means = torch.tensor([0.4, 0.6]), torch.tensor([[-1.0, 0.0], [1.0, 0.5]])
    covariances = torch.tensor([[[0.3, 0.1], [0.1, 0.2]], [[0.4, -0.2], [-0.2, 0.5]]])

    def at(t: Tensor) -> GaussianMixture:
        return GaussianMixture(weights, means, covariances).noised(sde.a(t), sde.sigma(t))

    def log_p(x: Tensor, t: Tensor) -> Tensor:
        return torch.stack([at(t[i]).log_prob(x[i]) for i in range(len(x))])

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        score = torch.stack([at(t[i]).score(x[i]) for i in range(len(x))])
        return sde.flow_drift(x, t, score)

    x, t = torch.randn(8, 2), torch.linspace(0.1, 1.0, 8)
    assert close(fokker_planck_residual(log_p, sde.drift, sde.diffusion, x, t), torch.zeros(8), 1e-8)
    assert close(continuity_residual(log_p, velocity, x, t), torch.zeros(8), 1e-8)
    wrong = fokker_planck_residual(log_p, sde.drift, lambda t: 1.1 * sde.diffusion(t), x, t)
    assert float(wrong.abs().max()) > 1e-2


def test_float32_works_and_inputs_stay_as_they_are():
    x, t = points().float(), times().float()
    residual = fokker_planck_residual(some_log_density, some_drift, some_diffusion, x, t)
    assert residual.dtype == torch.float32
    exact = fokker_planck_residual(some_log_density, some_drift, some_diffusion, points(), times())
    assert close(residual.double(), exact, 1e-4)
    assert not x.requires_grad
    assert not residual.requires_grad


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"x must have shape \(N, D\) and t \(N,\), got \(3, 2\) and \(\)"):
        fokker_planck_residual(some_log_density, some_drift, some_diffusion, points(), torch.tensor(0.5))
    with pytest.raises(ValueError, match=r"log_prob must return shape \(3,\), got \(3, 2\)"):
        continuity_residual(lambda x, t: x * t[:, None], some_drift, points(), times())
