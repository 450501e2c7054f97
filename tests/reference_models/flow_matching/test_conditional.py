"""Conditional flow matching: the regression it makes, and samplers against recursions written out by hand."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest
from torchdiffeq import odeint as torchdiffeq_odeint

from reference_models.flow_matching.conditional import FlowMatching
from reference_models.flow_matching.paths import Trigonometric
from reference_models.parts.networks import TimeMLP
from reference_models.parts.unet import UNet
from reference_models.protocols import Implicit
from tests.reference_models.flow_matching.fields import Known, exact, gaussian_velocity, mixture
from tests.reference_models.helpers import close, numpy, perturb, standard_errors


@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_the_loss_of_a_constant_velocity_is_its_distance_from_the_lines(constant):
    """Two constants, because zero cannot see a sign."""
    model = FlowMatching(Known(lambda x, t: torch.full_like(x, constant)), (2,))
    x_0, x_1, t = torch.randn(7, 2), torch.randn(7, 2) + 1, torch.rand(7)
    assert close(model.loss(x_1, x_0=x_0, t=t), ((constant - (x_1 - x_0)) ** 2).mean(), 1e-12)


def test_the_network_sees_points_on_the_lines():
    net = Known(lambda x, t: torch.zeros_like(x))
    model = FlowMatching(net, (1, 2, 2))
    x_0, x_1, t = torch.randn(5, 1, 2, 2), torch.randn(5, 1, 2, 2), torch.rand(5)
    model.loss(x_1, x_0=x_0, t=t)
    x_t, seen = net.calls[0]
    assert close(seen, t)
    for i in range(5):
        assert close(x_t[i], (1 - t[i]) * x_0[i] + t[i] * x_1[i])


def test_time_is_uniform_and_noise_normal_one_of_each_an_example(generator):
    """Kolmogorov–Smirnov at 10⁻⁶ each; at t near 0 the network sees the noise itself."""
    net = Known(lambda x, t: torch.zeros_like(x))
    FlowMatching(net, (3,)).loss(torch.zeros(20000, 3), generator=generator)  # data at the origin: x_t = (1 − t) x_0
    x_t, t = net.calls[0]
    assert t.shape == (20000,)
    assert kstest(numpy(t), "uniform").pvalue > 1e-6
    noise = numpy(x_t / (1 - t)[:, None])
    for column in noise.T:
        assert kstest(column, "norm").pvalue > 1e-6
    assert abs((noise[:, 0] * noise[:, 1]).mean()) < 5 / 20000**0.5


def test_the_least_loss_is_reached_by_the_exact_velocity(generator):
    """The excess of any other velocity is its squared distance from the exact one, within five standard errors."""
    target, n = mixture(), 20000
    x_1, x_0 = target.sample(n, generator=generator), torch.randn(n, 2, generator=generator)
    t = torch.rand(n, generator=generator)
    u = exact(Trigonometric())
    sample = Trigonometric().interpolate(x_0, x_1, t)
    other = 0.3 * torch.sin(sample.x_t)
    best = (u(sample.x_t, t) - sample.dx_t) ** 2
    worse = (u(sample.x_t, t) + other - sample.dx_t) ** 2
    assert standard_errors(worse - best - other**2, 0.0) < 5
    model = FlowMatching(u, (2,), Trigonometric())
    assert close(model.loss(x_1, x_0=x_0, t=t), best.mean())


def test_the_same_generator_gives_the_same_loss_and_samples():
    model = FlowMatching(perturb(TimeMLP(2, [8], 2)), (2,))
    x = torch.randn(6, 2)

    def twice(f):
        return [f(torch.Generator(x.device).manual_seed(3)) for _ in range(2)]

    a, b = twice(lambda g: model.loss(x, generator=g))
    assert torch.equal(a, b)
    a, b = twice(lambda g: model.sample(4, steps=3, generator=g))
    assert torch.equal(a, b)


def test_labels_reach_the_network_with_their_data():
    net = Known(lambda x, t, y: torch.zeros_like(x))
    model = FlowMatching(net, (2,))
    y = torch.tensor([2, 0, 1])
    model.loss(torch.randn(3, 2), y)
    assert torch.equal(net.calls[0][2], y)
    model.sample(3, condition=y, steps=2)
    assert torch.equal(net.calls[-1][2], y)
    model.encode(torch.randn(3, 2), condition=y.flip(0), steps=1)
    assert torch.equal(net.calls[-1][2], y.flip(0))


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_constant_velocity_displaces_by_itself_whatever_the_steps(steps):
    model = FlowMatching(Known(lambda x, t: torch.full_like(x, 1.5)), (2,))
    x_0 = torch.randn(4, 2)
    states = model.trajectory(x_0, steps=steps)
    assert states.shape == (steps + 1, 4, 2)
    assert close(states[0], x_0, 0.0)
    assert close(states[-1], x_0 + 1.5, 1e-12)


def test_the_euler_sampler_is_the_recursion_on_its_own_grid(generator, device):
    """t_k = k/n, from noise drawn with the same generator; v depends on t unevenly, so a shifted grid shows."""
    model = FlowMatching(Known(lambda x, t: torch.cos(4 * t) * x + t**2), (3,))
    x = torch.randn(5, 3, generator=torch.Generator(device).manual_seed(0))
    for k in range(6):
        t = torch.tensor(k / 6)
        x = x + (torch.cos(4 * t) * x + t**2) / 6
    assert close(model.sample(5, steps=6, generator=generator), x, 1e-12)


@pytest.mark.parametrize(("steps", "std"), [(1, 0.0), (2, 0.2), (10, 0.4308), (100, 0.4926)])
def test_the_law_of_euler_samples_is_that_of_the_exact_recursion(steps, std):
    """For N(1.5, 0.5²) each step is affine, so is the sampler: its slope is the standard deviation of samples."""
    model = FlowMatching(gaussian_velocity(1.5, 0.5), (1,))
    low, high = model.trajectory(torch.tensor([[0.0], [1.0]]), steps=steps)[-1]
    assert close(high - low, torch.tensor([std]), 5e-5)
    assert close(low, torch.tensor([1.5]), 1e-9)


@pytest.mark.parametrize("method", ["euler", "midpoint", "rk4"])
def test_trajectories_agree_with_torchdiffeq(method):
    net = perturb(TimeMLP(2, [16], 2))
    model, x_0 = FlowMatching(net, (2,)), torch.randn(6, 2)
    grid = torch.linspace(0, 1, 9)
    if method == "rk4":  # its "rk4" is the 3/8 rule: compare with a solver that has converged
        with torch.no_grad():
            expected = torchdiffeq_odeint(lambda t, x: net(x, t), x_0, grid, method="dopri5", rtol=1e-10, atol=1e-10)
        assert close(model.trajectory(x_0, steps=80, method=method)[::10], expected, 1e-5)
        return
    with torch.no_grad():
        expected = torchdiffeq_odeint(lambda t, x: net(x, t), x_0, grid, method=method)
    assert close(model.trajectory(x_0, steps=8, method=method), expected, 1e-10)


def test_encoding_leads_back_to_the_noise():
    model = FlowMatching(perturb(TimeMLP(2, [16], 2)), (2,))
    x_0 = torch.randn(6, 2)
    x_1 = model.trajectory(x_0, steps=100, method="rk4")[-1]
    assert not close(x_1, x_0, 0.05)
    assert close(model.encode(x_1, steps=100, method="rk4"), x_0, 1e-6)


def test_samples_of_the_exact_velocity_have_the_moments_of_the_data(generator):
    """4000 draws, mean and second moments within five standard errors (RK4 in 20 steps errs by less)."""
    model, target = FlowMatching(exact(), (2,)), mixture()
    x = model.sample(4000, steps=20, method="rk4", generator=generator)
    assert standard_errors(x, target.mean) < 5
    second = target.covariance + target.mean[:, None] * target.mean
    assert standard_errors(x[:, :, None] * x[:, None, :], second) < 5


@pytest.mark.parametrize("batch", [(), (64,)], ids=str)
def test_every_batch_shape(batch):
    model = FlowMatching(perturb(TimeMLP(2, [8], 2)), (2,))
    x = torch.randn(*batch, 2)
    assert model.loss(x).shape == ()
    assert model.trajectory(x, steps=2).shape == (3, *batch, 2)
    x_0, t = torch.randn(64, 2), torch.rand(64)
    one_by_one = torch.stack([model.loss(x_1, x_0=z, t=s) for x_1, z, s in zip(x.expand(64, 2), x_0, t, strict=True)])
    assert close(model.loss(x.expand(64, 2), x_0=x_0, t=t), one_by_one.mean())


def test_images_in_single_precision_train_and_sample():
    model = FlowMatching(perturb(UNet(1, 1, base=8, multipliers=(1,), attention_at=()), 0.05).float(), (1, 4, 4))
    model.loss(torch.randn(3, 1, 4, 4, dtype=torch.float32)).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
    images = model.sample(2, steps=2)
    assert images.dtype == torch.float32
    assert images.shape == (2, 1, 4, 4)


def test_at_real_size_the_network_is_that_of_ddpm():
    """35.7 million parameters: DDPM (Ho, Jain, Abbeel, 2020), appendix B."""
    with torch.device("meta"):
        model = FlowMatching.cifar10()
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(35.7e6, rel=2e-3)
    assert model.event_shape == (3, 32, 32)


def test_sampling_restores_the_mode_and_builds_no_graph():
    model = FlowMatching(TimeMLP(2, [8], 2), (2,)).train()
    assert not model.sample(2, steps=2).requires_grad
    assert model.training
    assert model.velocity.training
    assert isinstance(model, Implicit)


def test_bad_input_is_refused():
    model = FlowMatching(TimeMLP(2, [8], 2), (2,))
    with pytest.raises(ValueError, match=r"x_1 must have shape \(2\) or \(N, 2\), got \(4, 3\)"):
        model.loss(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        model.sample(2, steps=0)
    with pytest.raises(ValueError, match="x must have shape"):
        model.trajectory(torch.zeros(2, 3))
