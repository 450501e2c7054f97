"""What every flow must do: its log-determinant is that of its Jacobian, and each direction undoes the other.

Jacobians by autograd, determinants by LU decomposition; neither knows the formulas of the families.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from reference_models.catalogue import families
from reference_models.flows.change_of_variables import FlowDensity, Mapped
from reference_models.flows.iaf import IAF
from reference_models.flows.maf import MAF
from reference_models.flows.neural_ode import CNF
from reference_models.flows.nice import NICE
from reference_models.flows.planar import PlanarFlow
from reference_models.flows.realnvp import RealNVP
from reference_models.flows.spline import NSF
from reference_models.flows.sylvester import SylvesterFlow
from reference_models.protocols import Density, Flow
from tests.reference_models.flows.cases import CASES, Case
from tests.reference_models.helpers import close, log_abs_det

every_flow = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
every_density = pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in CASES.items() if case.density]
)


def log_dets(direction: Callable[..., Mapped], points: Tensor, condition: Tensor | None) -> Tensor:
    """log|det| of the Jacobian at every point, (N,), each with its own condition."""
    if condition is None:
        return log_abs_det(lambda one: direction(one)[0], points)
    return torch.cat(
        [
            log_abs_det(lambda one, y=y: direction(one, condition=y)[0], point[None])
            for point, y in zip(points, condition, strict=True)
        ]
    )


@every_flow
def test_the_log_determinants_are_those_of_the_jacobians_and_each_direction_undoes_the_other(case: Case) -> None:
    flow = case.flow()
    x, y = case.points(flow)
    z, logdet = flow.forward(x, condition=y)
    back, logdet_back = flow.inverse(z, condition=y)
    assert close(logdet, log_dets(flow.forward, x, y), case.atol)
    assert close(logdet_back, log_dets(flow.inverse, z, y), case.atol)
    assert close(back, x, case.atol)
    assert close(logdet + logdet_back, torch.zeros(len(x)), case.atol)


@every_flow
def test_the_latent_of_any_point_of_the_base_is_that_point(case: Case) -> None:
    flow = case.flow()
    shape = flow.transform.latent_shape if isinstance(flow, FlowDensity) else flow.latent_shape
    z, (_, y) = torch.randn(4, *shape), case.points(flow, 4)
    x, _ = flow.inverse(z, condition=y)
    assert close(flow.forward(x, condition=y)[0], z, case.atol)


@every_flow
def test_an_example_alone_and_in_a_batch_of_64_gives_the_same(case: Case) -> None:
    flow = case.flow()
    x, y = case.points(flow, 64)
    z, logdet = flow.forward(x, condition=y)
    back, logdet_back = flow.inverse(z, condition=y)
    assert logdet.shape == logdet_back.shape == (64,)
    for i in (0, 63):
        z_i, logdet_i = flow.forward(x[i], condition=None if y is None else y[i])
        assert logdet_i.shape == ()
        assert close(z_i, z[i], case.alone)
        assert close(logdet_i, logdet[i], case.alone)
        back_i, logdet_back_i = flow.inverse(z[i], condition=None if y is None else y[i])
        assert close(back_i, back[i], case.alone)
        assert close(logdet_back_i, logdet_back[i], case.alone)


@every_flow
def test_float32_stays_float32_and_gradients_are_finite(case: Case) -> None:
    flow = case.flow().float()
    x, y = (None if t is None else t.float() for t in case.points(flow))
    before = x.clone()
    z, logdet = flow.forward(x, condition=y)
    back, _ = flow.inverse(z, condition=y)
    assert z.dtype == logdet.dtype == back.dtype == torch.float32
    assert close(back, x, 1e-3)
    assert torch.equal(x, before)
    if z.requires_grad:
        (logdet.sum() + (z**2).sum()).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in flow.parameters())


@pytest.mark.parametrize("case", [pytest.param(c, id=n) for n, c in CASES.items() if c.mixes])
def test_every_coordinate_moves(case: Case) -> None:
    flow = case.flow()
    x, y = case.points(flow, 8)
    z, _ = flow.forward(x, condition=y)
    assert float((z - x).detach().flatten(1).abs().amax(0).min()) > 1e-2


@every_density
def test_log_prob_is_the_base_at_the_latent_plus_the_log_determinant(case: Case) -> None:
    """The base by torch.distributions, the determinant by autograd."""
    flow = case.flow()
    x, y = case.points(flow)
    z, _ = flow.forward(x, condition=y)
    base = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    logistic = type(flow.base).__name__ == "StandardLogistic"
    terms = -z - 2 * torch.log1p(torch.exp(-z)) if logistic else base.log_prob(z)
    expected = terms.flatten(1).sum(1) + log_dets(flow.forward, x, y)
    assert close(flow.log_prob(x, condition=y), expected, max(case.atol, 1e-9))
    assert isinstance(flow, Density)
    assert isinstance(flow, Flow)


@every_density
def test_samples_are_the_inverse_of_the_base_and_know_their_density(case: Case, device: torch.device) -> None:
    flow = case.flow()
    _, y = case.points(flow, 5)

    def noise() -> torch.Generator:
        return torch.Generator(device).manual_seed(3)

    x = flow.sample(5, condition=y, generator=noise())
    z = flow.base.sample(5, generator=noise())
    assert close(x, flow.inverse(z, condition=y)[0], 1e-9)
    assert torch.equal(x, flow.sample(5, condition=y, generator=noise()))
    assert not x.requires_grad
    drawn = flow.draw(z, condition=y)
    assert close(drawn.x, x, 1e-9)
    assert close(drawn.log_prob, flow.log_prob(x, condition=y), 10 * case.atol)


PLANE: dict[str, Case] = {
    "planar": Case(lambda: PlanarFlow(2, 4)),
    "radial": CASES["radial, from the noise"],
    "Sylvester": Case(lambda: SylvesterFlow(2, 3)),
    "NICE": Case(lambda: NICE(2, 4, (8,))),
    "RealNVP": Case(lambda: RealNVP((2,), couplings=4, hidden=(8,))),
    "MAF": Case(lambda: MAF(2, 3, (12,))),
    "IAF": Case(lambda: IAF(2, 3, (12,))),
    "neural spline flow": Case(lambda: NSF(2, 2, (8,), bins=4), scale=0.3),
    "continuous flow": CASES["continuous flow"],
    "FFJORD": CASES["FFJORD"],
}


@pytest.mark.parametrize("name", PLANE)
def test_the_density_integrates_to_one(name: str) -> None:
    """On a grid over the box of 20000 of the model's own samples, widened by 1.3."""
    flow = PLANE[name].flow()
    n = 60 if isinstance(flow, CNF) else 320
    with torch.no_grad():
        samples = flow.sample(2000 if isinstance(flow, CNF) else 20000)
        low, high = samples.amin(0), samples.amax(0)
        middle, half = (low + high) / 2, 1.3 * (high - low) / 2
        axis = (torch.arange(n) + 0.5) / n * 2 - 1
        grid = middle + half * torch.cartesian_prod(axis, axis)
        mass = flow.log_prob(grid).exp().mean() * (2 * half).prod()
    assert abs(float(mass) - 1) < 5e-3


@every_flow
def test_shapes_that_do_not_fit_are_refused(case: Case) -> None:
    flow = case.flow()
    x, y = case.points(flow)
    with pytest.raises(ValueError, match="x must have shape"):
        flow.forward(torch.cat([x, x], dim=1), condition=y)
    with pytest.raises(ValueError, match="x must have shape"):
        flow.forward(x[None], condition=y)
    if y is None:
        with pytest.raises(ValueError, match="takes no condition, got one of shape"):
            flow.forward(x, condition=x)
    else:
        with pytest.raises(ValueError, match="needs a condition of shape"):
            flow.forward(x)
        with pytest.raises(ValueError, match="condition must have 3 rows"):
            flow.forward(x, condition=y[:2])


def test_every_family_of_the_folder_has_a_case() -> None:
    used = {type(module).__module__ for case in CASES.values() for module in case.build().modules()}
    dequantisers = {f"reference_models.flows.{name}dequantisation" for name in ("", "variational_")}
    assert {family.module for family in families() if family.folder == "flows"} - dequantisers <= used
