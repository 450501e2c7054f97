"""The velocity that flow matching should learn, in closed form, for data from a mixture of Gaussians.

Given the component k, data and x_t are jointly Gaussian, with S_k = α² Σ_k + σ² I the covariance of x_t:

    E[x_1 | x_t = x, k] = μ_k + α Σ_k a_k,    E[x_0 | x_t = x, k] = σ a_k,    a_k = S_k⁻¹ (x − α μ_k)

and the velocity is α̇ E[x_1|x] + σ̇ E[x_0|x], averaged over p(k | x_t = x) ∝ w_k N(x; α μ_k, S_k). No division by α or σ
is needed, so it holds on all of [0, 1]. The least possible loss of flow matching is the variance this leaves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reference_models.flow_matching.paths import GaussianPath, Linear
from reference_models.parts.distributions import GaussianMixture
from reference_models.parts.shapes import expand_right


class ExactVelocity:
    """u_t(x) for a mixture; called like a network, (x, t) or (x, t, y). A label y ≥ 0 is a component, −1 is "any"."""

    def __init__(self, target: GaussianMixture, path: GaussianPath | None = None) -> None:
        self.target, self.path = target, Linear() if path is None else path

    def __call__(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """x: (*B, D); t: (*B,) or (); y: long, (*B,) or (). Returns (*B, D)."""
        c = self.path.at(t, x)  # (*B, 1) each, or ()
        identity = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
        alpha, sigma = (expand_right(value, x.unsqueeze(-1).unsqueeze(-1)) for value in (c.alpha, c.sigma))
        S = alpha**2 * self.target.covariances + sigma**2 * identity  # (*B or none, K, D, D)
        deviation = (x.unsqueeze(-2) - c.alpha[..., None] * self.target.means).unsqueeze(-1)  # (*B, K, D, 1)
        a = torch.linalg.solve(S.expand(*deviation.shape[:-2], *S.shape[-2:]), deviation)
        log_weight = self.target.weights.log() - 0.5 * (deviation * a).sum((-1, -2)) - 0.5 * torch.logdet(S)
        chosen = self._chosen(torch.softmax(log_weight, dim=-1), y).unsqueeze(-1)  # (*B, K, 1)
        data = (chosen * (self.target.means + alpha.squeeze(-1) * (self.target.covariances @ a).squeeze(-1))).sum(-2)
        noise = (chosen * (sigma.squeeze(-1) * a.squeeze(-1))).sum(-2)
        return self.path.combine(data, noise, t)

    @staticmethod
    def _chosen(responsibilities: Tensor, y: Tensor | None) -> Tensor:
        if y is None:
            return responsibilities
        K = responsibilities.shape[-1]
        known = torch.nn.functional.one_hot(y.clamp(min=0), K).to(responsibilities.dtype)
        return torch.where((y >= 0).unsqueeze(-1), known, responsibilities)
