"""The composed flow with its base: closed forms, conditions, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import scipy.stats
import torch
from torch import Tensor

from reference_models.flows.bases import Base, StandardLogistic, StandardNormal
from reference_models.flows.change_of_variables import Composed, FlowDensity, Inverse, Mapped, Transform
from reference_models.flows.linear import LinearFlow
from reference_models.flows.multi_scale import Flatten, Squeeze
from tests.reference_models.helpers import close, numpy


class Affine(Transform):
    """z = a x + b, or a x + condition."""

    def __init__(self, dim: int, a: float, b: float, conditional: bool = False) -> None:
        super().__init__((dim,), condition_shape=(dim,) if conditional else ())
        self.a, self.b = a, b

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        shift = self.b if condition is None else condition
        return self.a * x + shift, self._log(x)

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        shift = self.b if condition is None else condition
        return (z - shift) / self.a, -self._log(z)

    def _log(self, x: Tensor) -> Tensor:
        return torch.full((len(x),), self.event_shape[0] * math.log(abs(self.a)), dtype=x.dtype)


def test_a_flow_that_does_nothing_is_its_base() -> None:
    x = torch.randn(64, 3)
    identity = Affine(3, 1.0, 0.0)
    normal = torch.distributions.Normal(torch.zeros(3), torch.ones(3))
    assert close(FlowDensity(identity).log_prob(x), normal.log_prob(x).sum(-1), 1e-12)
    logistic = torch.as_tensor(scipy.stats.logistic.logpdf(numpy(x))).sum(-1)
    assert close(FlowDensity(identity, StandardLogistic((3,))).log_prob(x).cpu(), logistic, 1e-12)


def test_an_affine_flow_is_the_normal_distribution_it_must_be() -> None:
    """z = -2(x - 1) + 1/2 standard normal: x has mean 5/4 and standard deviation 1/2."""
    flow = FlowDensity(Composed([Affine(3, 1.0, -1.0), Affine(3, -2.0, 0.5)]))
    x = torch.randn(64, 3)
    expected = torch.distributions.Normal(torch.full((3,), 1.25), torch.full((3,), 0.5)).log_prob(x).sum(-1)
    assert close(flow.log_prob(x), expected, 1e-12)
    assert close(flow.log_prob(x[0]), expected[0], 1e-12)


def test_samples_of_an_affine_flow_have_its_moments(generator: torch.Generator) -> None:
    """Mean within 5 standard errors (fails by chance for 6e-7 of seeds), variance by its χ² law likewise."""
    flow = FlowDensity(Composed([Affine(1, 1.0, -1.0), Affine(1, -2.0, 0.5)]))
    x = flow.sample(20000, generator=generator)[:, 0]
    assert abs(float(x.mean()) - 1.25) < 5 * 0.5 / 20000**0.5
    assert abs(float(x.var()) / 0.25 - 1) < 5 * (2 / 20000) ** 0.5


def test_the_inverse_of_a_transform_exchanges_its_directions() -> None:
    x = torch.randn(5, 2)
    scaled = Affine(2, 3.0, 1.0)
    there, back = scaled(x), Inverse(scaled).inverse(x)
    assert close(there[0], back[0], 0.0)
    assert close(Inverse(scaled)(x)[1], torch.full((5,), -2 * math.log(3)), 1e-12)


def test_the_parts_of_a_composition_run_in_order_and_backwards() -> None:
    """First subtract one, then double: 3 goes to 4, and 4 comes back to 3."""
    flow = Composed([Affine(1, 1.0, -1.0), Affine(1, 2.0, 0.0)])
    assert float(flow(torch.tensor([3.0]))[0]) == 4.0
    assert float(flow.inverse(torch.tensor([4.0]))[0]) == 3.0


def test_one_condition_for_all_equals_the_same_condition_for_each() -> None:
    flow = FlowDensity(Composed([Affine(2, 2.0, 0.0, conditional=True), Affine(2, 0.5, 1.0)]))
    x, y = torch.randn(6, 2), torch.randn(2)
    assert close(flow.log_prob(x, condition=y), flow.log_prob(x, condition=y.expand(6, 2)), 0.0)
    assert flow.sample(6, condition=y).shape == (6, 2)
    assert not close(flow.log_prob(x, condition=y), flow.log_prob(x, condition=y + 1), 0.1)


def test_gradients_pass_through_draws_as_reparametrisation_demands() -> None:
    """x = (z - b) / a: ∂x/∂z = 1/a, and the density of x is that of z times a in each of two dimensions."""
    z = torch.randn(4, 2, requires_grad=True)
    drawn = FlowDensity(Affine(2, 4.0, 1.0)).draw(z)
    (gradient,) = torch.autograd.grad(drawn.x.sum(), z)
    assert close(gradient, torch.full((4, 2), 0.25), 1e-12)
    base = torch.distributions.Normal(torch.zeros(2), torch.ones(2)).log_prob(z).sum(-1)
    assert close(drawn.log_prob, base + 2 * math.log(4), 1e-12)


def test_likelihood_fits_the_moments_and_the_reverse_divergence_a_mode() -> None:
    """An affine flow, all Gaussians, against two modes at ±2 with deviation ½.

    Forward KL, through log_prob on a grid: mean 0 and variance 4¼, the target's own. Reverse KL, through draws of
    quantiles of the base: one mode alone, mean ±2 and variance ¼, at KL log 2.
    """
    halves = torch.distributions.Normal(torch.tensor([-2.0, 2.0]), torch.tensor(0.5))
    half = torch.distributions.Categorical(torch.tensor([0.5, 0.5]))
    target = torch.distributions.MixtureSameFamily(half, halves)
    grid = torch.linspace(-8, 8, 801)
    p = target.log_prob(grid).exp() * 16 / 800
    noise = torch.distributions.Normal(torch.zeros(()), torch.ones(())).icdf((torch.arange(400) + 0.5) / 400)[:, None]

    def fitted(loss: Callable[[FlowDensity], Tensor]) -> tuple[float, float, float]:
        flow = LinearFlow(1)
        with torch.no_grad():
            flow.transform.transforms[1].b.fill_(-0.5)
        optimiser = torch.optim.LBFGS(flow.parameters(), max_iter=60, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            value = loss(flow)
            value.backward()
            return value

        optimiser.step(closure)
        x = flow.draw(noise).x.detach()
        return float(x.mean()), float(x.var()), float(loss(flow).detach())

    mean, variance, _ = fitted(lambda flow: -(p * flow.log_prob(grid[:, None])).sum())
    assert abs(mean) < 1e-3
    assert abs(variance / 4.25 - 1) < 0.02

    def reverse(flow: FlowDensity) -> Tensor:
        drawn = flow.draw(noise)
        return (drawn.log_prob - target.log_prob(drawn.x[:, 0])).mean()

    mean, variance, divergence = fitted(reverse)
    assert abs(abs(mean) - 2) < 0.05
    assert abs(variance / 0.25 - 1) < 0.05
    assert abs(divergence - math.log(2)) < 0.01


@pytest.mark.parametrize(
    ("kind", "law"), [(StandardNormal, scipy.stats.norm), (StandardLogistic, scipy.stats.logistic)]
)
def test_the_bases_sample_what_they_score(kind: type[Base], law: Any, generator: torch.Generator) -> None:
    """Kolmogorov-Smirnov against SciPy's distribution; p below 1e-6 for one seed in a million."""
    base = kind((2,))
    draws = numpy(base.sample(5000, generator=generator)).reshape(-1)
    assert scipy.stats.kstest(draws, law.cdf).pvalue > 1e-6
    x = torch.randn(7, 2)
    assert close(base.log_prob(x).cpu(), torch.as_tensor(law.logpdf(numpy(x))).sum(-1), 1e-12)
    assert base.float().sample(3).dtype == torch.float32


def test_a_uniform_of_zero_is_no_outlier_of_the_logistic_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """Single precision draws zero once in 2²⁴: it stands for [0, 2⁻²⁴), whose logit is near -17."""
    monkeypatch.setattr(torch, "rand", lambda shape, dtype, **_: torch.zeros(shape, dtype=dtype))
    drawn = StandardLogistic((1,)).float().sample(1)
    assert close(drawn, torch.full((1, 1), -25 * math.log(2)), 1e-4)


def test_a_base_follows_the_model_to_float32() -> None:
    flow = FlowDensity(Affine(2, 2.0, 0.0)).float()
    assert flow.sample(3).dtype == torch.float32


def test_parts_that_do_not_fit_are_refused() -> None:
    for base in (StandardNormal((2,)), StandardLogistic((2,))):
        with pytest.raises(ValueError, match=r"z must have shape \(\*B, 2\), got \(5, 1\)"):
            base.log_prob(torch.zeros(5, 1))
    with pytest.raises(ValueError, match=r"Squeeze gives \(4, 1, 1\), Squeeze after it takes \(4, 2, 2\)"):
        Composed([Squeeze((1, 2, 2)), Squeeze((4, 2, 2))])
    with pytest.raises(ValueError, match="at least one transform"):
        Composed([])
    with pytest.raises(ValueError, match=r"gives z of shape \(4,\), the base is \(1, 2, 2\)"):
        FlowDensity(Flatten((1, 2, 2)), StandardNormal((1, 2, 2)))
    with pytest.raises(ValueError, match="must share one condition"):
        Composed([Affine(2, 1.0, 0.0, conditional=True), WrongCondition()])
    with pytest.raises(ValueError, match="keeps the number of dimensions"):
        Wider()
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        FlowDensity(Affine(2, 2.0, 0.0)).sample(0)


class WrongCondition(Affine):
    def __init__(self) -> None:
        super().__init__(2, 1.0, 0.0)
        self.condition_shape = (3,)


class Wider(Affine):
    def __init__(self) -> None:
        Transform.__init__(self, (2,), latent_shape=(3,))
