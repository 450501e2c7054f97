"""Conventions of time: each family's against the others, by flows solved both ways and samplers that must agree."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from reference_models.diffusion.ddpm import DDPM
from reference_models.diffusion.schedule import Schedule
from reference_models.flow_matching.exact import ExactVelocity
from reference_models.flows.neural_ode import CNF
from reference_models.parts.distributions import GaussianMixture
from reference_models.parts.networks import TimeMLP
from reference_models.parts.ode import odeint
from reference_models.parts.time import ReversedTime, ReversedVelocity, UnitTime
from tests.reference_models.helpers import close, perturb


def network(**options) -> TimeMLP:
    return perturb(TimeMLP(2, (8,), 2, time_scale=1.0, **options), 0.4)


def test_a_reversed_velocity_leads_back_where_the_field_came_from():
    field, x, t = network(), torch.randn(5, 2), torch.linspace(0, 1, 41)
    there = odeint(field, x, t)[-1]
    assert float((there - x).abs().max()) > 0.1
    assert close(odeint(ReversedVelocity(field), there, t)[-1], x, 1e-5)
    assert close(odeint(ReversedVelocity(field), x, t)[-1], odeint(field, x, t.flip(0))[-1], 1e-6)
    assert close(ReversedVelocity(ReversedVelocity(field))(x, t[:5]), field(x, t[:5]), 1e-12)


def test_a_flow_with_noise_at_one_becomes_one_of_this_library():
    """The exact velocity of flow matching (noise at 0), told backwards and wrapped, gives the density of its target."""
    target = GaussianMixture(torch.ones(1), torch.tensor([[1.0, -0.5]]), torch.tensor([[[0.5, 0.2], [0.2, 0.4]]]))
    ours = ExactVelocity(target)

    class Backwards(nn.Module):
        def forward(self, x, s):
            return -ours(x, 1 - s)

    x = torch.randn(4, 2)
    density = CNF(ReversedVelocity(Backwards()), (2,), steps=40)
    assert close(density.log_prob(x).detach(), target.log_prob(x), 1e-4)


def test_a_function_of_time_is_asked_at_the_other_time_with_its_label():
    field, x, t, y = network(num_classes=3), torch.randn(5, 2), torch.linspace(0, 1, 5), torch.arange(5) % 3
    assert close(ReversedTime(field)(x, t, y), field(x, 1 - t, y), 1e-12)
    assert not close(ReversedTime(field)(x, t, y), -field(x, 1 - t, y), 1e-3)
    assert close(ReversedVelocity(field)(x, t, y), -field(x, 1 - t, y), 1e-12)


def test_indices_become_times_that_end_at_one():
    field, x, y = network(num_classes=3), torch.randn(4, 2), torch.arange(4) % 3
    wrapped = UnitTime(field, 4)
    assert close(wrapped(x, torch.arange(4), y), field(x, torch.tensor([0.25, 0.5, 0.75, 1.0]), y), 1e-12)
    assert close(wrapped(x, torch.tensor(3), y), field(x, torch.tensor(1.0), y), 1e-12)
    assert len(list(wrapped.parameters())) == len(list(field.parameters()))
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        UnitTime(field, 0)


def test_ddpm_takes_a_network_of_unit_times():
    """In single precision too, where an index is no time until it is made one."""
    schedule = Schedule.cosine(10)
    model = DDPM(UnitTime(network(), 10), schedule, (2,))
    x = torch.randn(3, 2)
    assert close(model.predict(x, torch.full((3,), 9)).epsilon, model.network.network(x, torch.ones(3)), 1e-9)
    assert model.float().sample(2).dtype == torch.float32
