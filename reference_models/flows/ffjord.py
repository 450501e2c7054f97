"""FFJORD: a continuous flow whose trace is estimated, so that the field may be any network in any dimension.

Hutchinson's estimator needs one vector-Jacobian product instead of D:

    tr A = E[εᵀ A ε]   for E ε = 0, Cov ε = I,
    log p(x) = log p_0(z) + E_ε ∫_{1}^{0} εᵀ (∂f/∂x) ε dt                                                (section 3.1)

is unbiased for the log-density with ε drawn once and held through the solve, which also keeps the ODE deterministic.
With S the symmetric part of A the variance is 2‖S‖_F² for Gaussian ε, and 2(‖S‖_F² - Σ s_ii²) for signs ±1.

"FFJORD: Free-Form Continuous Dynamics for Scalable Reversible Generative Models" (Grathwohl, Chen, Bettencourt,
Sutskever, Duvenaud, 2019), https://arxiv.org/abs/1810.01367.

Time 0 is noise and time 1 is data, as in the paper.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from reference_models.flows.bases import Base
from reference_models.flows.neural_ode import CNF
from reference_models.parts import require
from reference_models.parts.ode import Field, Method
from reference_models.parts.shapes import flatten_batch, restore_batch

ProbeLaw = Literal["gaussian", "rademacher"]


def probes_like(x: Tensor, law: ProbeLaw = "gaussian", *, generator: Generator | None = None) -> Tensor:
    """ε of x's shape: N(0, 1), or ±1 with equal chance."""
    require.one_of("law", law, ("gaussian", "rademacher"))
    if law == "gaussian":
        return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return torch.randint(0, 2, x.shape, generator=generator, device=x.device).to(x.dtype) * 2 - 1


def hutchinson_divergence(f: Field, x: Tensor, t: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
    """f(x, t), (N, *event), and εᵀ (∂f/∂x) ε, (N,), for probes ε of x's shape."""
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_()
        slope = f(x, t)
        (product,) = torch.autograd.grad(slope, x, probes, create_graph=differentiable, materialize_grads=True)
        estimate = (product * probes).flatten(1).sum(1)
    return (slope, estimate) if differentiable else (slope.detach(), estimate.detach())


class ConcatSquash(nn.Module):
    """A linear layer gated and shifted by time: (W x + b) ⊙ σ(w_g t + b_g) + w_b t, the authors' default layer."""

    def __init__(self, features_in: int, features_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features_in, features_out)
        self.gate = nn.Linear(1, features_out)
        self.shift = nn.Linear(1, features_out, bias=False)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """x: (*B, in); t: shape ()."""
        time = t.to(x.dtype).reshape(1)
        return self.linear(x) * torch.sigmoid(self.gate(time)) + self.shift(time)


class ConcatSquashField(nn.Module):
    """f(x, t) of ConcatSquash layers with softplus between: (*B, D) to (*B, D).

    Args:
        dim: D.
        hidden: widths; (64, 64, 64) in the paper's toy experiments.
    """

    def __init__(self, dim: int, hidden: Sequence[int] = (64, 64, 64)) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ConcatSquash(a, b) for a, b in pairwise([dim, *hidden, dim]))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """x: (*B, D); t: shape ()."""
        for i, layer in enumerate(self.layers):
            x = layer(x if i == 0 else nn.functional.softplus(x), t)
        return x


class FFJORD(CNF):
    """A continuous flow with Hutchinson's trace where probes are given, the exact one where none are.

    Args:
        field: f(x, t), any module acting on each row alone.
        event_shape: shape of one x.
        law: of the probes that `probes` draws.
        steps, method, tolerance, adjoint, base: as for CNF.
    """

    def __init__(
        self,
        field: nn.Module,
        event_shape: Sequence[int],
        *,
        law: ProbeLaw = "gaussian",
        steps: int = 20,
        method: Method = "rk4",
        tolerance: float = 1e-6,
        adjoint: bool = True,
        base: Base | None = None,
    ) -> None:
        super().__init__(
            field, event_shape, steps=steps, method=method, tolerance=tolerance, adjoint=adjoint, base=base
        )
        require.one_of("law", law, ("gaussian", "rademacher"))
        self.law: ProbeLaw = law

    def probes(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """ε for the examples x, of x's shape: one for each, for one whole solve."""
        return probes_like(x, self.law, generator=generator)

    def log_prob(self, x: Tensor, *, condition: Tensor | None = None, probes: Tensor | None = None) -> Tensor:
        """log p(x), or an unbiased estimate of it.

        Args:
            x: data, shape (*B, *event_shape).
            condition: none is taken.
            probes: ε, shape (*B, *event_shape); without them the trace is exact.

        Returns:
            Nats, summed over dimensions, shape (*B,).
        """
        if probes is None:
            return super().log_prob(x, condition=condition)
        require.has_event_shape("x", x, self.event_shape)
        require.has_shape("probes", probes, x.shape)
        flat, batch = flatten_batch(x, len(self.event_shape))
        epsilon = probes.reshape(flat.shape)

        def divergence(f: Field, state: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            return hutchinson_divergence(f, state, t, epsilon)

        z, logdet = self.transform.solve(flat, 1.0, 0.0, divergence)
        return restore_batch(self.base.log_prob(z) + logdet, batch)
