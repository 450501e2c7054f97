"""Rectified flow where it can be solved: from N(0, 1) to N(m, s²), and coordinates of such.

The first flow moves x_0 along t m + r(t) x_0 with r² = t²s² + (1 − t)², so that z_1 = m + s z_0: the optimal map.
"""

from __future__ import annotations

import pytest
import torch
from scipy.integrate import quad

from reference_models.flow_matching.rectified_flow import Pairs, RectifiedFlow
from reference_models.parts.networks import TimeMLP
from reference_models.parts.shapes import expand_right
from tests.reference_models.flow_matching.fields import Known, gaussian_velocity
from tests.reference_models.helpers import close, perturb, standard_errors

M, S = 2.0, 0.5


def first(dims: int = 1) -> RectifiedFlow:
    return RectifiedFlow(gaussian_velocity(M, S), (dims,))


def second() -> RectifiedFlow:
    """What reflow learns from the pairs (z, M + S z): their lines never meet, each point keeps its velocity."""

    def velocity(x, t):
        t = expand_right(t, x)
        return M + (S - 1) * (x - t * M) / (1 - t + t * S)

    return RectifiedFlow(Known(velocity), (1,))


def straightness_by_hand() -> float:
    """∫ (s − 1 − r'(t))² dt times E x_0² = 1."""

    def bend(t: float) -> float:
        r = (t**2 * S**2 + (1 - t) ** 2) ** 0.5
        return (S - 1 - (t * S**2 - (1 - t)) / r) ** 2

    return quad(bend, 0, 1)[0]


def test_pairs_are_the_ends_of_the_flow(generator, device):
    pairs = first().pairs(50, steps=100, method="rk4", generator=generator)
    assert close(pairs.x_0, torch.randn(50, 1, generator=torch.Generator(device).manual_seed(0)), 0.0)
    assert close(pairs.x_1, M + S * pairs.x_0, 1e-7)


def test_the_coupling_of_the_flow_costs_less_than_the_independent_one(generator):
    """m² + (s − 1)² = 4.25 against m² + s² + 1 = 5.25; the mean of 20 000, five standard errors."""
    pairs = first().pairs(20000, steps=20, method="rk4", generator=generator)
    assert standard_errors((pairs.x_1 - pairs.x_0) ** 2, 4.25) < 5
    assert close(pairs.cost(), ((pairs.x_1 - pairs.x_0) ** 2).mean(), 1e-12)
    independent = Pairs(torch.randn(20000, 1, generator=generator), pairs.x_1)
    assert float(independent.cost()) == pytest.approx(5.25, abs=0.15)


def test_the_cost_is_summed_over_the_event():
    pairs = Pairs(torch.zeros(3, 1, 2, 2), torch.full((3, 1, 2, 2), 2.0))
    assert close(pairs.cost(), 16.0)


def test_straightness_of_the_first_flow_is_the_integral_by_hand():
    """Linear in x_0², and Euler converges to first order: at 1000 steps within half a percent."""
    x_0 = torch.tensor([[0.0], [1.0], [-2.0]])
    S_of = first().straightness(x_0, steps=1000)
    assert S_of.shape == (3,)
    assert close(S_of[0], 0.0, 1e-20)
    expected = straightness_by_hand()
    assert expected == pytest.approx(0.21, abs=0.01)
    assert float(S_of[1]) == pytest.approx(expected, rel=5e-3)
    assert close(S_of[2], 4 * S_of[1], 1e-9)


def test_straightness_is_summed_over_the_event_and_averaged_over_steps():
    one, three = first().straightness(torch.ones(1), steps=20), first(3).straightness(torch.ones(64, 3), steps=20)
    assert one.shape == ()
    assert close(three, (3 * one).expand(64), 1e-12)
    assert float(first().straightness(torch.ones(1), steps=40)) == pytest.approx(float(one), rel=0.1)


def test_a_second_round_is_straight_and_exact_in_one_step(generator):
    x_0 = torch.randn(30, 1)
    assert close(second().straightness(x_0, steps=10), 0.0, 1e-20)
    assert close(second().trajectory(x_0, steps=1)[-1], M + S * x_0, 1e-12)
    assert close(first().trajectory(x_0, steps=1)[-1], M, 1e-12)  # one step of the first flow gives only the mean


def test_reflow_regresses_on_the_lines_between_the_given_pairs(generator):
    pairs = Pairs(x_0 := torch.randn(40, 1), M + S * x_0)
    assert close(second().reflow_loss(pairs, generator=generator), 0.0, 1e-20)
    t = torch.rand(40)
    flow = RectifiedFlow(net := Known(lambda x, t: torch.full_like(x, 3.0)), (1,))
    assert close(flow.reflow_loss(pairs, t=t), ((3 - (pairs.x_1 - pairs.x_0)) ** 2).mean(), 1e-12)
    assert close(net.calls[0][0], (1 - t)[:, None] * pairs.x_0 + t[:, None] * pairs.x_1, 1e-12)


def test_a_batch_keeps_partners_together(generator):
    pairs = Pairs(x_0 := torch.arange(100.0)[:, None], x_0 + 1000).batch(30, generator)
    assert pairs.x_0.shape == (30, 1)
    assert close(pairs.x_1 - pairs.x_0, 1000.0, 0.0)
    assert len(pairs.x_0.unique()) > 15


def test_single_precision_and_images():
    flow = RectifiedFlow(perturb(TimeMLP(2, [8], 2)).float(), (2,))
    pairs = flow.pairs(4, steps=2)
    assert pairs.x_1.dtype == torch.float32
    assert flow.straightness(pairs.x_0, steps=3).dtype == torch.float32


def test_one_step_has_no_straightness():
    with pytest.raises(ValueError, match="steps must be at least 2, got 1"):
        first().straightness(torch.zeros(2, 1), steps=1)
