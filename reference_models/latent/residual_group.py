"""One group of a top-down hierarchy: its prior, its posterior written relative to that prior, and what follows from z.

    p(z_l | z_<l) = N(μ_p, σ_p²),    q(z_l | z_<l, x) = N(μ_p + Δμ, (σ_p Δσ)²)               NVAE section 3.2
    KL(q ‖ p) = ½ (Δμ²/σ_p² + Δσ² − log Δσ² − 1)                                             NVAE eq. 2

A posterior with nothing to add (Δμ = 0, Δσ = 1) follows the prior as it moves, at no cost: the residual normal of NVAE:
A Deep Hierarchical Variational Autoencoder (Vahdat, Kautz, 2020), https://arxiv.org/abs/2007.03898

NOTE: Δμ is in z's own units, as in eq. 2; where it is given in units of σ_p the first term is Δμ² alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def residual_normal_kl(delta_mean: Tensor, delta_log_std: Tensor, prior_log_std: Tensor) -> Tensor:
    """KL(N(μ_p + Δμ, (σ_p Δσ)²) ‖ N(μ_p, σ_p²)) elementwise, nats (eq. 2); it does not depend on μ_p."""
    return 0.5 * ((delta_mean * (-prior_log_std).exp()) ** 2 + (2 * delta_log_std).exp() - 1) - delta_log_std


class Group(nn.Module):
    """The networks of one z_l, `channels` maps, on a state of `width` maps that carries the groups above.

    cell: what the state goes through once z_l is in it. kernel_size: of the difference's convolution, odd. first: z_1,
    whose prior is standard normal.
    """

    def __init__(self, width: int, channels: int, cell: nn.Module, kernel_size: int, first: bool) -> None:
        super().__init__()
        pad = kernel_size // 2
        self.channels = channels
        self.prior = None if first else nn.Sequential(nn.SiLU(), nn.Conv2d(width, 2 * channels, 1))
        self.look = nn.Conv2d(width, width, 1)
        self.delta = nn.Sequential(nn.SiLU(), nn.Conv2d(width, 2 * channels, kernel_size, padding=pad))
        self.merge = nn.Conv2d(width + channels, width, 1)
        self.cell = cell

    def prior_parameters(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """μ_p and log σ_p of p(z_l | z_<l): state (N, width, r, r) to (N, c, r, r) each."""
        if self.prior is None:
            zeros = s.new_zeros(len(s), self.channels, *s.shape[2:])
            return zeros, zeros
        mean, log_std = self.prior(s).chunk(2, dim=1)
        return mean, log_std

    def difference(self, s: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Δμ and log Δσ, (N, c, r, r) each, from the state and the features of x, both (N, width, r, r)."""
        delta_mean, delta_log_std = self.delta(features + self.look(s)).chunk(2, dim=1)
        return delta_mean, delta_log_std

    def forward(self, s: Tensor, z: Tensor) -> Tensor:
        """The state that carries z_l as well: (N, width, r, r), shape kept."""
        return self.cell(self.merge(torch.cat([s, z], dim=1)))
