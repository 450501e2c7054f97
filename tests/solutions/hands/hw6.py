"""Homework 6 beside the reference models: each answer of the solution notebook, and who says the same.

What draws random numbers draws them here in the order of the reference, so one seed makes both alike. The references
take fields as f(x, t), the notebook as f(t, x).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace as Notebook

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from reference_models.diffusion.probability_flow import ProbabilityFlow
from reference_models.diffusion.sde import VE, VP
from reference_models.exact.sampler_laws import law_of_sampler
from reference_models.flow_matching.conditional import FlowMatching
from reference_models.flow_matching.exact import ExactVelocity
from reference_models.flow_matching.ot_coupling import optimal_pairing
from reference_models.flow_matching.paths import Linear, VariancePreserving, change_path
from reference_models.flow_matching.rectified_flow import RectifiedFlow
from reference_models.flows.ffjord import FFJORD, hutchinson_divergence
from reference_models.flows.neural_ode import CNF, exact_divergence, odeint_adjoint
from reference_models.parts.distributions import GaussianMixture
from reference_models.parts.ode import Method, odeint

UNPAIRED = {
    "fm_floor": "a closed form of the theory, which no model holds",
    "flow_straightness": "a closed form of the theory, which no model holds",
    "Adjoint": "the inside of `odeint_adjoint`, which is paired",
    "probability_flow": "returns a function, which is compared beside `pf_log_prob`",
    "Velocity": "a network of the student's own",
    "make_velocity": "a choice of sizes for `Velocity`",
    "fit_fm": "a loop of `fm_loss` and an optimiser of PyTorch",
    "DigitsVelocity": "a network of the student's own",
    "make_digits_velocity": "a choice of sizes for `DigitsVelocity`",
}
SHAPES = ((3,), (1, 2, 2))
BETAS = (0.3, 5.0)


class Net(nn.Module):
    """A field of points and times that no formula makes simple, called point first."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        D = torch.Size(shape).numel()
        self.A = nn.Parameter(torch.randn(2, D, D) / D**0.5)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        time = torch.cos(torch.as_tensor(t, dtype=x.dtype)).reshape(-1, 1)
        flat = torch.tanh(x.flatten(1) @ self.A[0] + time) @ self.A[1]
        return flat.view_as(x)


class TimeFirst(nn.Module):
    """The same field as the notebook calls it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        slope: Tensor = self.net(x, t)
        return slope


def grid(t0: float, t1: float, n: int) -> Tensor:
    return torch.linspace(t0, t1, n + 1)


def check_gaussian_velocity(notebook: Notebook) -> None:
    mean, std, x, t = torch.randn(3), torch.rand(3) + 0.3, torch.randn(5, 3), torch.rand(5)
    law = GaussianMixture(torch.ones(1), mean[None], torch.diag(std.square())[None])
    assert_close(notebook.gaussian_velocity(x, t, mean, std), ExactVelocity(law)(x, t))


def check_vp_to_flow(notebook: Notebook) -> None:
    x, t = torch.randn(3, 2), torch.tensor([0.2, 0.5, 0.8])
    tau, scale = notebook.vp_to_flow(t, *BETAS)
    theirs = change_path(x, 1 - t, VariancePreserving(*BETAS), Linear())
    assert_close(tau, theirs.t)
    assert_close(scale[:, None] * x, theirs.x)


def check_noise_to_velocity(notebook: Notebook) -> None:
    path = Linear()
    for shape in SHAPES:
        y, v, tau = torch.randn(4, *shape), torch.randn(4, *shape), torch.rand(4) * 0.8 + 0.1
        assert_close(notebook.noise_to_velocity(path.expected_noise(y, v, tau), y, tau), v)


def check_solver(name: Method) -> Callable[[Notebook], None]:
    def check(notebook: Notebook) -> None:
        for shape in SHAPES:
            net, x = Net(shape), torch.randn(4, *shape)
            for t0, t1, n in ((0.0, 1.0, 3), (0.9, -0.2, 4)):
                theirs = odeint(net, x, grid(t0, t1, n), name)[-1]
                assert_close(getattr(notebook, name)(TimeFirst(net), x, t0, t1, n), theirs)

    return check


def check_odeint_adjoint(notebook: Notebook) -> None:
    for shape in SHAPES:
        net, x = Net(shape), torch.randn(4, *shape, requires_grad=True)
        weight, found = torch.randn(4, *shape), []
        for solve in (
            lambda n=net, x=x: notebook.odeint_adjoint(TimeFirst(n), x, 0.2, 1.0, 3),
            lambda n=net, x=x: odeint_adjoint(n, x, grid(0.2, 1.0, 3)),
        ):
            value = solve()
            found.append((value.detach(), *torch.autograd.grad(value, [x, net.A], weight)))
        for ours, theirs in zip(*found, strict=True):
            assert_close(ours, theirs)


def check_exact_trace(notebook: Notebook) -> None:
    net, x, t = Net((3,)), torch.randn(5, 3), torch.tensor(0.4)
    for ours, theirs in zip(notebook.exact_trace(TimeFirst(net), t, x), exact_divergence(net, x, t), strict=True):
        assert_close(ours, theirs)


def check_hutchinson(notebook: Notebook) -> None:
    for shape in SHAPES:
        net, x, noise, t = Net(shape), torch.randn(5, *shape), torch.randn(5, *shape), torch.tensor(0.4)
        theirs = hutchinson_divergence(net, x, t, noise)
        for one, other in zip(notebook.hutchinson(TimeFirst(net), t, x, noise), theirs, strict=True):
            assert_close(one, other)


def check_cnf_log_prob(notebook: Notebook) -> None:
    net, x, noise = Net((2,)), torch.randn(5, 2), torch.randn(5, 2)
    assert_close(notebook.cnf_log_prob(TimeFirst(net), x, 6), CNF(net, (2,), steps=6).log_prob(x))
    theirs = FFJORD(net, (2,), steps=6).log_prob(x, probes=noise)
    assert_close(notebook.cnf_log_prob(TimeFirst(net), x, 6, noise), theirs)


def check_vp_coefficients(notebook: Notebook) -> None:
    sde, t = VP(*BETAS), torch.rand(5)
    for ours, theirs in zip(notebook.vp_coefficients(t, *BETAS), (sde.beta(t), sde.a(t), sde.sigma(t)), strict=True):
        assert_close(ours, theirs)


def check_ve_coefficients(notebook: Notebook) -> None:
    sde, t = VE(0.1, 5.0), torch.rand(5)
    theirs = (sde.diffusion(t), sde.a(t), sde.sigma(t))
    for ours, other in zip(notebook.ve_coefficients(t, 0.1, 5.0), theirs, strict=True):
        assert_close(ours, other)


def check_forward_step(name: str, sde: VP | VE, limits: tuple[float, float]) -> Callable[[Notebook], None]:
    def check(notebook: Notebook) -> None:
        for shape in SHAPES:
            x, noise, t = torch.randn(4, *shape), torch.randn(4, *shape), torch.rand(4)
            g = sde.diffusion(t).reshape(-1, *[1] * len(shape))
            theirs = x + sde.drift(x, t) * 0.02 + g * math.sqrt(0.02) * noise
            assert_close(getattr(notebook, name)(x, t, 0.02, noise, *limits), theirs)

    return check


def check_reverse_step(notebook: Notebook) -> None:
    sde, t, dt = VP(*BETAS), torch.tensor(0.7), 0.05
    for shape in SHAPES:
        net, x, noise = Net(shape), torch.randn(4, *shape), torch.randn(4, *shape)
        s = net(x, t).detach()
        for lam, drift in ((1.0, sde.reverse_drift(x, t, s)), (0.0, sde.flow_drift(x, t, s))):
            theirs = x - drift * dt + lam * sde.diffusion(t) * math.sqrt(dt) * noise
            assert_close(notebook.reverse_step(x, 0.7, dt, noise, net, *BETAS, lam).detach(), theirs)


def check_reverse_sample(notebook: Notebook) -> None:
    """The law of the recursion, by affine steps whose score the reference's VP gives."""
    sde, n = VP(1.0, 6.0), 8
    steps = []
    for i in range(n):
        t = torch.tensor(1 - i / n)
        a, v, g2 = float(sde.a(t)), float(sde.a(t) ** 2 * 0.25 + sde.sigma(t) ** 2), float(sde.diffusion(t)) ** 2
        steps.append((1 - (float(sde.drift_rate(t)) + g2 / v) / n, g2 * a * 1.5 / v / n, math.sqrt(g2 / n)))
    law = law_of_sampler(steps)

    def score(x: Tensor, t: Tensor) -> Tensor:
        a, spread = sde.a(t)[:, None], sde.sigma(t)[:, None]
        return (a * 1.5 - x) / (a**2 * 0.25 + spread**2)

    x = notebook.reverse_sample(torch.randn(40_000, 1), score, 1.0, 6.0, n)
    assert abs(float(x.mean()) - law.mean) < 6 * law.std / 200
    assert abs(float(x.std()) - law.std) < 6 * law.std / 280


def check_pf_log_prob(notebook: Notebook) -> None:
    net, x = Net((2,)), torch.randn(5, 2)

    def base(z: Tensor) -> Tensor:
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)

    theirs = ProbabilityFlow(net, VP(*BETAS), (2,), steps=7, t_min=0.0)
    velocity = theirs.velocity(x, torch.tensor(0.4))
    assert_close(notebook.probability_flow(net, *BETAS)(0.4, x), velocity)
    assert_close(notebook.pf_log_prob(net, x, *BETAS, 7, base).detach(), theirs.log_prob(x))


def check_fm_path(notebook: Notebook) -> None:
    for shape in SHAPES:
        x_0, x_1, t = torch.randn(5, *shape), torch.randn(5, *shape), torch.rand(5)
        theirs = Linear().interpolate(x_0, x_1, t)
        for ours, other in zip(notebook.fm_path(x_0, x_1, t), (theirs.x_t, theirs.dx_t), strict=True):
            assert_close(ours, other)


def check_fm_loss(notebook: Notebook) -> None:
    for shape in SHAPES:
        net, x_0, x_1 = Net(shape), torch.randn(6, *shape), torch.randn(6, *shape)
        flow = FlowMatching(net, shape)
        for given in (None, x_0):
            found = []
            for run in (notebook.fm_loss, lambda n, x, z, f=flow: f.loss(x, x_0=z)):
                torch.manual_seed(3)
                found.append(run(net, x_1, given))
            assert_close(*found)


def check_fm_sample(notebook: Notebook) -> None:
    for shape in SHAPES:
        net, x = Net(shape), torch.randn(6, *shape)
        for n in (1, 4):
            assert_close(notebook.fm_sample(net, x, n), FlowMatching(net, shape).trajectory(x, steps=n)[-1])


def check_velocity_to_score(notebook: Notebook) -> None:
    for shape in SHAPES:
        x, v, t = torch.randn(4, *shape), torch.randn(4, *shape), torch.rand(4) * 0.8 + 0.1
        assert_close(notebook.velocity_to_score(v, x, t), Linear().score(x, v, t))


def check_score_to_velocity(notebook: Notebook) -> None:
    for shape in SHAPES:
        x, s, t = torch.randn(4, *shape), torch.randn(4, *shape), torch.rand(4) * 0.8 + 0.1
        assert_close(notebook.score_to_velocity(s, x, t), Linear().velocity(x, s, t))


def check_ot_pairing(notebook: Notebook) -> None:
    for shape in SHAPES:
        x_0, x_1 = torch.randn(12, *shape), torch.randn(12, *shape)
        assert_close(notebook.ot_pairing(x_0, x_1), optimal_pairing(x_0, x_1).argsort())


def check_ot_fm_batch(notebook: Notebook) -> None:
    x_0, x_1, y = torch.randn(12, 2), torch.randn(12, 2), torch.arange(12)
    noise, data, labels = notebook.ot_fm_batch(x_0, x_1, y)
    order = optimal_pairing(x_0, x_1).argsort()
    assert_close((noise, data, labels), (x_0, x_1[order], order))


def check_reflow_pairs(notebook: Notebook) -> None:
    net = Net((3,))
    flow = RectifiedFlow(net, (3,))
    torch.manual_seed(5)
    theirs = flow.pairs(6, steps=4)
    x_0, x_1 = notebook.reflow_pairs(net, theirs.x_0, 4)
    assert_close(x_0, theirs.x_0)
    assert_close(x_1, theirs.x_1)


def check_straightness(notebook: Notebook) -> None:
    for shape in SHAPES:
        net, x = Net(shape), torch.randn(6, *shape)
        assert_close(notebook.straightness(net, x, 5), RectifiedFlow(net, shape).straightness(x, steps=5).mean())


PAIRS = {
    "gaussian_velocity": check_gaussian_velocity,
    "vp_to_flow": check_vp_to_flow,
    "noise_to_velocity": check_noise_to_velocity,
    "euler": check_solver("euler"),
    "rk4": check_solver("rk4"),
    "odeint_adjoint": check_odeint_adjoint,
    "exact_trace": check_exact_trace,
    "hutchinson": check_hutchinson,
    "cnf_log_prob": check_cnf_log_prob,
    "vp_coefficients": check_vp_coefficients,
    "ve_coefficients": check_ve_coefficients,
    "vp_step": check_forward_step("vp_step", VP(*BETAS), BETAS),
    "ve_step": check_forward_step("ve_step", VE(0.1, 5.0), (0.1, 5.0)),
    "reverse_step": check_reverse_step,
    "reverse_sample": check_reverse_sample,
    "pf_log_prob": check_pf_log_prob,
    "fm_path": check_fm_path,
    "fm_loss": check_fm_loss,
    "fm_sample": check_fm_sample,
    "velocity_to_score": check_velocity_to_score,
    "score_to_velocity": check_score_to_velocity,
    "ot_pairing": check_ot_pairing,
    "ot_fm_batch": check_ot_fm_batch,
    "reflow_pairs": check_reflow_pairs,
    "straightness": check_straightness,
}
