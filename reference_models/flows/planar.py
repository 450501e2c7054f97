"""Planar flow: stretching space along one direction, a layer at a time.

    f(z) = z + u h(wᵀz + b),   ψ(z) = h'(wᵀz + b) w,   det ∂f/∂z = 1 + uᵀψ(z),   h = tanh            (eq. 10-12)

is invertible when wᵀu ≥ -1; û = u + (m(wᵀu) - wᵀu) w / ‖w‖² with m(a) = -1 + log(1 + e^a) makes it so (appendix A.1).
f has no inverse in closed form, but wᵀf(z) depends on wᵀz alone, so that inverting it is one equation in one unknown:

    wᵀz + wᵀû tanh(wᵀz + b) = wᵀf(z).

"Variational Inference with Normalizing Flows" (Rezende, Mohamed, 2015), https://arxiv.org/abs/1505.05770.

NOTE: the paper maps noise to latent with f. Here a layer's `forward` is f, and `PlanarFlow` says which of its two
directions f serves: the one from the data (maximum likelihood) or the one to the sample (variational inference).
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from reference_models.flows.change_of_variables import Composed, FlowDensity, Inverse, Mapped, Transform
from reference_models.parts import require
from reference_models.parts.roots import increasing_root


class Planar(Transform):
    """One planar layer; `forward` is f.

    Args:
        dim: D.
        condition_dim: length of a condition that shifts u, w and b (amortised inference, figure 2); 0 for none.
    """

    def __init__(self, dim: int, *, condition_dim: int = 0) -> None:
        require.at_least("dim", dim, 1)
        super().__init__((dim,), condition_shape=(condition_dim,) if condition_dim else ())
        self.dim = dim
        self.raw = nn.Parameter(torch.randn(2 * dim + 1) * 0.5)  # u, w, b
        self.amortise = nn.Linear(condition_dim, 2 * dim + 1, bias=False) if condition_dim else None

    def u_hat_w_b(self, condition: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """û and w, (N, D) or (1, D), and b, (N, 1) or (1, 1)."""
        raw = self.raw[None]
        if self.amortise is not None and condition is not None:
            raw = raw + self.amortise(condition)
        u, w, b = torch.split(raw, [self.dim, self.dim, 1], dim=-1)
        wu = (w * u).sum(-1, keepdim=True)
        u_hat = u + (softplus(wu) - 1 - wu) * w / (w**2).sum(-1, keepdim=True)
        return u_hat, w, b

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        u_hat, w, b = self.u_hat_w_b(condition)
        h = torch.tanh((x * w).sum(-1, keepdim=True) + b)  # (N, 1)
        psi = (1 - h**2) * w
        return x + u_hat * h, torch.log1p((u_hat * psi).sum(-1))

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        u_hat, w, b = self.u_hat_w_b(condition)
        wu = (w * u_hat).sum(-1, keepdim=True)
        target = (z * w).sum(-1, keepdim=True)

        def g(a: Tensor) -> tuple[Tensor, Tensor]:
            h = torch.tanh(a + b)
            return a + wu * h - target, 1 + wu * (1 - h**2)

        a = increasing_root(g, target - wu.abs(), target + wu.abs())  # wᵀx
        h = torch.tanh(a + b)
        return z - u_hat * h, -torch.log1p((wu * (1 - h**2)).squeeze(-1))


class PlanarFlow(FlowDensity):
    """A stack of planar layers over a standard normal.

    Args:
        dim: D.
        layers: K.
        closed_form: the direction that f serves. "density": z = f_K(… f_1(x)), log_prob without iteration;
            "sampling", the paper's: x = f_K(… f_1(z)), `draw` and `sample` without iteration.
        condition_dim: length of the condition, 0 for none.
    """

    def __init__(
        self,
        dim: int,
        layers: int = 8,
        *,
        closed_form: Literal["density", "sampling"] = "density",
        condition_dim: int = 0,
    ) -> None:
        require.at_least("layers", layers, 1)
        require.one_of("closed_form", closed_form, ("density", "sampling"))
        stack = Composed([Planar(dim, condition_dim=condition_dim) for _ in range(layers)])
        super().__init__(stack if closed_form == "density" else Inverse(stack))
