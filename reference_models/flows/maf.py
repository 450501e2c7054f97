"""Masked autoregressive flow: an autoregressive Gaussian model read as a change of variables.

Every conditional of p(x) = Π_i p(x_i | x_{<i}) is a Gaussian whose mean and log-scale come from one masked network:

    x_i = u_i exp(α_i) + μ_i,   μ_i = f_μi(x_{<i}), α_i = f_αi(x_{<i}), u_i ~ N(0, 1)      (eq. 3)
    u_i = (x_i - μ_i) exp(-α_i)                                                              (eq. 4)
    log|det ∂u/∂x| = -Σ_i α_i                                                                (eq. 5)

x → u takes one pass of the network, u → x one pass a dimension: density is fast, sampling slow (IAF is the other way
round). Layers alternate the order of the dimensions. x comes before u here: `forward` is eq. 4.

"Masked Autoregressive Flow for Density Estimation" (Papamakarios, Pavlakou, Murray, 2017), https://arxiv.org/abs/1705.07057.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reference_models.flows.change_of_variables import Composed, FlowDensity, Mapped, Transform
from reference_models.flows.realnvp import InvertibleBatchNorm
from reference_models.parts import require
from reference_models.parts.masked import MaskedMLP, pair_of, places


def layer_order(dim: int, layer: int) -> list[int]:
    """0, 1, …, D-1 in even layers, reversed in odd ones."""
    natural = list(range(dim))
    return natural if layer % 2 == 0 else natural[::-1]


class AffineAutoregressive(Transform):
    """One MAF layer, eq. 3-5.

    Args:
        dim: D, the number of dimensions.
        hidden: widths of the masked network's hidden layers.
        order: `order[k]` is the dimension that comes at place k; 0, 1, …, D-1 unless given.
        condition_dim: length of a condition every conditional may depend on; 0 for none.
        net: any network, autoregressive in `order`, from x (N, D), and the condition if there is one, to μ and α
            (N, D, 2); a masked one of these widths unless given.
        bound: B, for B tanh(α/B) in place of α, so that exp(α) is finite at every step of a training run; α is free
            unless given, as in the paper.
    """

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int] = (64, 64),
        *,
        order: Sequence[int] | None = None,
        condition_dim: int = 0,
        net: nn.Module | None = None,
        bound: float | None = None,
    ) -> None:
        require.at_least("dim", dim, 1)
        if bound is not None:
            require.positive("bound", bound)
        super().__init__((dim,), condition_shape=(condition_dim,) if condition_dim else ())
        self.order = places(dim, order)
        self.net = MaskedMLP(dim, hidden, 2, order=order, condition_dim=condition_dim) if net is None else net
        self.bound = bound

    def parameters_of(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """μ and α, each (N, D): row i depends on the dimensions before i only."""
        mu, alpha = pair_of(self.net, x, condition)
        return mu, alpha if self.bound is None else self.bound * torch.tanh(alpha / self.bound)

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        mu, alpha = self.parameters_of(x, condition)
        return (x - mu) * torch.exp(-alpha), -alpha.sum(-1)

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        x = torch.zeros_like(z)
        logdet = z.new_zeros(len(z))
        for i in self.order:
            mu, alpha = self.parameters_of(x, condition)
            x_i = z[:, i] * torch.exp(alpha[:, i]) + mu[:, i]
            x = torch.cat([x[:, :i], x_i[:, None], x[:, i + 1 :]], dim=1)  # not in place: gradients may pass
            logdet = logdet + alpha[:, i]
        return x, logdet


class MAF(FlowDensity):
    """A stack of MAF layers over a standard normal.

    Args:
        dim: D.
        layers: K, how many autoregressive layers; the order is reversed from one to the next.
        hidden: widths of each layer's network.
        condition_dim: length of the condition, 0 for none.
        bound: of every α; none unless given.
        batch_norm: an invertible batch normalisation after each layer, as in the paper's experiments (there with a
            learned scale and shift, here without).
    """

    def __init__(
        self,
        dim: int,
        layers: int = 5,
        hidden: Sequence[int] = (64, 64),
        *,
        condition_dim: int = 0,
        bound: float | None = None,
        batch_norm: bool = False,
    ) -> None:
        require.at_least("layers", layers, 1)
        stack: list[Transform] = []
        for k in range(layers):
            order = layer_order(dim, k)
            stack.append(AffineAutoregressive(dim, hidden, order=order, condition_dim=condition_dim, bound=bound))
            if batch_norm:
                stack.append(InvertibleBatchNorm((dim,)))
        super().__init__(Composed(stack))

    @classmethod
    def paper(cls) -> "MAF":
        """MAF (10) for MNIST: ten layers, each with two hidden layers of 1024 units, and batch normalisation.

        The widths are those of the authors' runs on MNIST, https://github.com/gpapamak/maf.
        """
        return cls(784, layers=10, hidden=(1024, 1024), batch_norm=True)
