"""Radial flow: expanding and contracting space around a point.

With r = ‖z - z₀‖ and h(α, r) = 1 / (α + r),

    f(z) = z + β h(α, r) (z - z₀),    det ∂f/∂z = (1 + βh)^{D-1} (1 + βh + βh'r)                     (eq. 14)

where α > 0, and β ≥ -α makes f invertible: β̂ = -α + log(1 + e^β) (appendix A.2). f moves z along its ray, so the
inverse is a quadratic equation in r: with R = ‖f(z) - z₀‖,

    R = r (1 + β / (α + r))   ⇔   r² + (α + β - R) r - αR = 0.

"Variational Inference with Normalizing Flows" (Rezende, Mohamed, 2015), https://arxiv.org/abs/1505.05770.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from reference_models.flows.change_of_variables import Composed, FlowDensity, Inverse, Mapped, Transform
from reference_models.parts import require


class Radial(Transform):
    """One radial layer; `forward` is f.

    Args:
        dim: D.
    """

    def __init__(self, dim: int) -> None:
        require.at_least("dim", dim, 1)
        super().__init__((dim,))
        self.z_0 = nn.Parameter(torch.randn(dim))
        self.log_alpha = nn.Parameter(torch.zeros(()))
        self.raw_beta = nn.Parameter(torch.randn(()))

    def alpha_beta(self) -> tuple[Tensor, Tensor]:
        """α > 0 and β̂ > -α, each of shape ()."""
        alpha = torch.exp(self.log_alpha)
        return alpha, softplus(self.raw_beta) - alpha

    def _radius(self, x: Tensor) -> Tensor:
        """‖x - z₀‖, (N, 1), with derivative zero at z₀ itself."""
        return torch.sqrt(((x - self.z_0) ** 2).sum(-1, keepdim=True) + torch.finfo(x.dtype).tiny)

    def _logdet(self, r: Tensor) -> Tensor:
        alpha, beta = self.alpha_beta()
        h = 1 / (alpha + r)
        around = torch.log1p(beta * h)  # the D - 1 directions across the ray
        along = torch.log1p(beta * h - beta * h**2 * r)  # h' = -h²
        return ((len(self.z_0) - 1) * around + along).squeeze(-1)

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        alpha, beta = self.alpha_beta()
        r = self._radius(x)
        return x + beta / (alpha + r) * (x - self.z_0), self._logdet(r)

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        alpha, beta = self.alpha_beta()
        R = self._radius(z)
        half = (R - alpha - beta) / 2
        root = torch.sqrt(half**2 + alpha * R)
        # of the two forms of the positive root, the one that adds numbers of one sign
        r = torch.where(half > 0, half + root, alpha * R / (root - half).clamp_min(torch.finfo(z.dtype).tiny))
        x = self.z_0 + (z - self.z_0) * (alpha + r) / (alpha + beta + r)
        return x, -self._logdet(r)


class RadialFlow(FlowDensity):
    """A stack of radial layers over a standard normal.

    Args:
        dim: D.
        layers: K.
        closed_form: as for PlanarFlow: "density" puts f from x to z, "sampling", the paper's, from z to x. Both
            directions are closed here; the family of densities differs.
    """

    def __init__(self, dim: int, layers: int = 8, *, closed_form: Literal["density", "sampling"] = "density") -> None:
        require.at_least("layers", layers, 1)
        require.one_of("closed_form", closed_form, ("density", "sampling"))
        stack = Composed([Radial(dim) for _ in range(layers)])
        super().__init__(stack if closed_form == "density" else Inverse(stack))
