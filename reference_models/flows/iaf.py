"""Inverse autoregressive flow, and the duality with MAF.

The same masked network, fed with the noise instead of the data, makes sampling the fast direction. The noise is first
scaled and shifted, z_0 = μ_0 + σ_0 ⊙ ε; then, with m and s the network's outputs at z_{<i}, every step of the flow is

    x_i = σ_i z_i + (1 - σ_i) m_i,   σ_i = sigmoid(s_i),       log|det ∂x/∂z| = Σ_i log σ_i              (algorithm 1)

All x_i come from one pass; recovering z from x takes one pass a dimension. A variational posterior needs only the
density of its own samples: `draw` gives both for one pass.

Duality: an IAF map x_i = m_i + exp(s_i) z_i is the MAF map x → u with the letters exchanged, μ_i = -m_i exp(-s_i) and
α_i = -s_i; a gated step has (1 - σ_i) m_i for m_i and log σ_i for s_i. So `Inverse` turns either into the other with
one network, and fitting a MAF to data by maximum likelihood is variational inference with its dual (MAF, section 3.2
and appendix A): KL(data ‖ MAF) = KL(the data carried to u ‖ base).

"Improving Variational Inference with Inverse Autoregressive Flow" (Kingma et al., 2016), https://arxiv.org/abs/1606.04934;
"Masked Autoregressive Flow for Density Estimation" (Papamakarios, Pavlakou, Murray, 2017), https://arxiv.org/abs/1705.07057.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from reference_models.flows.change_of_variables import Composed, FlowDensity, Inverse, Mapped, Transform
from reference_models.flows.maf import AffineAutoregressive, layer_order
from reference_models.parts import require
from reference_models.parts.masked import MaskedMLP, pair_of, places

FORGET_BIAS = 1.5  # section 4 of the paper: "such as close to +1 or +2"


class GatedAutoregressive(Transform):
    """One IAF step in its numerically stable form, algorithm 1.

    Args:
        dim: D.
        hidden: widths of the masked network's hidden layers.
        order: `order[k]` is the dimension that comes at place k; 0, 1, …, D-1 unless given.
        condition_dim: length of the context h that an encoder gives; 0 for none.
        net: any network, autoregressive in `order`, from z (N, D), and the context if there is one, to m and s
            (N, D, 2); a masked one of these widths unless given.
        forget_bias: added to s, so that σ starts near 0.8.
    """

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int] = (64, 64),
        *,
        order: Sequence[int] | None = None,
        condition_dim: int = 0,
        net: nn.Module | None = None,
        forget_bias: float = FORGET_BIAS,
    ) -> None:
        require.at_least("dim", dim, 1)
        super().__init__((dim,), condition_shape=(condition_dim,) if condition_dim else ())
        self.order = places(dim, order)
        self.net = MaskedMLP(dim, hidden, 2, order=order, condition_dim=condition_dim) if net is None else net
        self.forget_bias = forget_bias

    def parameters_of(self, z: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """m and s, each (N, D): row i depends on the dimensions of z before i only."""
        m, s = pair_of(self.net, z, condition)
        return m, s + self.forget_bias

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        m, s = self.parameters_of(z, condition)
        sigma = torch.sigmoid(s)
        return sigma * z + (1 - sigma) * m, logsigmoid(s).sum(-1)

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        z = torch.zeros_like(x)
        logdet = x.new_zeros(len(x))
        for i in self.order:
            m, s = self.parameters_of(z, condition)
            sigma = torch.sigmoid(s[:, i])
            z_i = (x[:, i] - (1 - sigma) * m[:, i]) / sigma
            z = torch.cat([z[:, :i], z_i[:, None], z[:, i + 1 :]], dim=1)  # not in place: gradients may pass
            logdet = logdet - logsigmoid(s[:, i])
        return z, logdet


class InitialAffine(Transform):
    """z_0 = μ_0 + σ_0 ⊙ ε, the start of algorithm 1: μ_0 and log σ_0 learned, or linear in the context.

    The steps after it only contract (σ < 1); it gives them the data's scale. `inverse` maps ε to z_0.

    Args:
        dim: D.
        condition_dim: length of the context, 0 for none.
        log_std: where log σ_0 starts.
    """

    def __init__(self, dim: int, *, condition_dim: int = 0, log_std: float = 0.0) -> None:
        super().__init__((dim,), condition_shape=(condition_dim,) if condition_dim else ())
        self.raw = nn.Parameter(torch.cat([torch.zeros(dim), torch.full((dim,), log_std)]))
        self.amortise = nn.Linear(condition_dim, 2 * dim, bias=False) if condition_dim else None

    def mean_log_std(self, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """μ_0 and log σ_0, each (N, D) or (1, D)."""
        raw = self.raw[None]
        if self.amortise is not None and condition is not None:
            raw = raw + self.amortise(condition)
        mean, log_std = raw.chunk(2, dim=-1)
        return mean, log_std

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        mean, log_std = self.mean_log_std(condition)
        return mean + log_std.exp() * z, log_std.sum(-1).expand(len(z))

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        mean, log_std = self.mean_log_std(condition)
        return (x - mean) * (-log_std).exp(), -log_std.sum(-1).expand(len(x))


class IAF(FlowDensity):
    """Algorithm 1 over a standard normal: one pass a step to sample, D passes to score foreign points.

    σ_0 starts where it undoes the contraction of all gates, so that the flow starts near the scale of its base.

    Args:
        dim: D.
        layers: K, how many steps; the order is reversed from one to the next.
        hidden: widths of each step's network.
        condition_dim: length of the context, 0 for none.
    """

    def __init__(self, dim: int, layers: int = 4, hidden: Sequence[int] = (64, 64), *, condition_dim: int = 0) -> None:
        require.at_least("layers", layers, 1)
        steps: list[Transform] = [
            GatedAutoregressive(dim, hidden, order=layer_order(dim, k), condition_dim=condition_dim)
            for k in range(layers)
        ]
        contraction = layers * math.log1p(math.exp(-FORGET_BIAS))  # -log of the product of the gates at the start
        super().__init__(Composed([*steps, InitialAffine(dim, condition_dim=condition_dim, log_std=contraction)]))

    @classmethod
    def paper(cls) -> "IAF":
        """The largest posterior of section 6.1: eight steps, each a two-layer MADE 1920 wide (table 1), 32 latents.

        NOTE: the two layers are read as two of weights, about one hidden layer of 1920 units.
        """
        return cls(32, layers=8, hidden=(1920,))


def dual(layer: AffineAutoregressive) -> Inverse:
    """The IAF of a MAF layer: the same network, the fast and the slow direction exchanged."""
    return Inverse(layer)


def maf_parameters(m: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """(μ, α) of the MAF layer whose `forward` is x = z exp(s) + m: μ = -m exp(-s), α = -s.

    For a gated step give it (1 - σ) m and log σ.
    """
    return -m * torch.exp(-s), -s
