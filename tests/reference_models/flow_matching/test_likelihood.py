"""The likelihood of a flow: a mixture's exact velocity must give its density; a network's must integrate to one."""

from __future__ import annotations

import itertools

import pytest
import torch
from torchdiffeq import odeint as torchdiffeq_odeint

from reference_models.flow_matching.likelihood import FlowMatchingDensity
from reference_models.flow_matching.paths import Trigonometric
from reference_models.parts.networks import TimeMLP
from reference_models.protocols import Density, Flow
from tests.reference_models.flow_matching.fields import exact, gaussian_velocity, mixture
from tests.reference_models.helpers import close, jacobian, log_abs_det, perturb


def network(dims: int = 2, num_classes: int | None = None) -> FlowMatchingDensity:
    net = perturb(TimeMLP(dims, [12], dims, embedding=8, time_scale=3.0, num_classes=num_classes))
    return FlowMatchingDensity(net, (dims,), steps=30)


@pytest.mark.parametrize("path", [None, Trigonometric()], ids=["linear", "trigonometric"])
def test_the_exact_velocity_has_the_density_of_the_data(path, generator):
    target = mixture()
    x = target.sample(50, generator=generator)
    model = FlowMatchingDensity(exact(path), (2,), path, steps=100)
    assert close(model.log_prob(x), target.log_prob(x), 1e-6)


def test_the_density_of_a_gaussian_by_hand():
    """N(1.5, 0.5²): forward is (x − 1.5)/0.5 and its log-determinant log 2."""
    model = FlowMatchingDensity(gaussian_velocity(1.5, 0.5), (1,), steps=60)
    z, logdet = model(torch.tensor([[0.0], [2.0]]))
    assert close(z, torch.tensor([[-3.0], [1.0]]), 1e-6)
    assert close(logdet, torch.log(torch.tensor(2.0)).expand(2), 1e-6)


@pytest.mark.parametrize("steps", [1, 4])
def test_the_equation_is_solved_in_as_many_steps_as_were_asked_for(steps):
    """Euler's with the velocity -x: from t = 1 to 0 each step multiplies by 1 + 1/n."""

    class Inward(torch.nn.Module):
        def forward(self, x, t, y=None):
            return -x

    x = torch.randn(3, 2)
    z, logdet = FlowMatchingDensity(Inward(), (2,), steps=steps, method="euler").forward(x)
    assert close(z, (1 + 1 / steps) ** steps * x, 1e-12)
    assert close(logdet, torch.full((3,), 2.0), 1e-12)


def test_the_log_determinant_is_that_of_the_solved_map():
    model, x = network(3), torch.randn(4, 3)
    assert close(model(x)[1], log_abs_det(lambda point: model(point)[0], x), 1e-6)
    z = torch.randn(4, 3)
    assert close(model.inverse(z)[1], log_abs_det(lambda point: model.inverse(point)[0], z), 1e-6)
    assert float(model(x)[1].detach().abs().min()) > 1e-3


def test_forward_and_inverse_undo_each_other():
    model, x = network(), torch.randn(6, 2)
    z, logdet = model(x)
    back, logdet_back = model.inverse(z)
    assert close(back, x, 1e-6)
    assert close(logdet + logdet_back, 0.0, 1e-6)


def test_the_augmented_equation_agrees_with_torchdiffeq():
    model, x = network(), torch.randn(5, 2)

    def augmented(t, state):
        point = state[0]
        J = torch.stack([jacobian(lambda p: model.velocity(p, t), one) for one in point])
        return model.velocity(point, t), J.diagonal(dim1=1, dim2=2).sum(1)

    start = (x, torch.zeros(5))
    z, integral = torchdiffeq_odeint(augmented, start, torch.tensor([1.0, 0.0]), rtol=1e-9, atol=1e-9)
    normal = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    expected = normal.log_prob(z[-1]).sum(1) + integral[-1]
    assert close(model.log_prob(x), expected, 1e-6)


def test_the_density_of_a_network_integrates_to_one():
    model = network()
    span = float(model.sample(2000, steps=20).abs().max()) * 1.3
    axis = torch.linspace(-span, span, 60)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        mass = model.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    assert close(mass, 1.0, 5e-3)


def test_the_mean_over_all_sign_probes_is_the_exact_density():
    """Over all 2³ sign vectors εᵀAε averages to tr A exactly; a single probe differs."""
    model, x = network(3), torch.randn(4, 3)
    exact_value = model.log_prob(x)
    each = [
        model.log_prob(x, probes=torch.tensor(signs).expand(4, 3)) for signs in itertools.product((-1.0, 1.0), repeat=3)
    ]
    assert close(torch.stack(each).mean(0), exact_value, 1e-9)
    assert not close(each[0], exact_value, 1e-3)


def test_labels_choose_the_density():
    model, x = network(2, num_classes=2), torch.randn(4, 2)
    y = torch.tensor([0, 1, 1, 1])
    together = model.log_prob(x, condition=y)
    for i in range(4):
        assert close(together[i], model.log_prob(x[i], condition=y[i]), 1e-10)
    assert not close(together, model.log_prob(x, condition=1 - y), 1e-3)


def test_likelihoods_can_be_trained_on():
    model = network()
    (-model.log_prob(torch.randn(3, 2)).mean()).backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in model.velocity.net.parameters())


@pytest.mark.parametrize("batch", [(), (64,)], ids=str)
def test_batch_shapes_and_single_precision(batch):
    model = network()
    x = torch.randn(*batch, 2)
    value = model.log_prob(x)
    assert value.shape == batch
    assert close(model.float().log_prob(x.float()).double(), value, 1e-3)
    assert isinstance(model, Density)
    assert isinstance(model, Flow)


def test_bad_input_is_refused():
    model = network()
    with pytest.raises(ValueError, match=r"probes must have shape \(3, 2\), got \(2,\)"):
        model.log_prob(torch.zeros(3, 2), probes=torch.ones(2))
    with pytest.raises(ValueError, match="x must have shape"):
        model.log_prob(torch.zeros(3, 3))
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        FlowMatchingDensity(TimeMLP(2, [4], 2), (2,), steps=0)
