"""Layers that see only what comes before: masked linear layers and causal convolutions over time.

A masked perceptron numbers its units: input i has the place m(i) of its variable in the order, hidden units have
degrees in between, and a connection exists from degree a to degree b where a <= b, strictly at the output
("MADE: Masked Autoencoder for Distribution Estimation" (Germain, Gregor, Murray, Larochelle, 2015), section 4,
https://arxiv.org/abs/1502.03509). The masked convolution over images is `raster.RasterConv2d`. Dilated causal
convolutions: "WaveNet: A Generative Model for Raw Audio" (van den Oord et al., 2016), section 2.1,
https://arxiv.org/abs/1609.03499.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.parts.networks import Activation
from reference_models.parts.require import at_least, has_shape


class MaskedLinear(nn.Linear):
    """A linear layer whose weight is multiplied by a fixed mask of the weight's shape, (out, in)."""

    mask: Tensor

    def __init__(self, in_features: int, out_features: int, mask: Tensor, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        has_shape("mask", mask, (out_features, in_features))
        self.register_buffer("mask", mask.to(self.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.mask * self.weight, self.bias)


def places(dim: int, order: Sequence[int] | None) -> list[int]:
    """The order of the variables, 0, 1, …, dim − 1 where none is given; ValueError unless it is a permutation."""
    found = list(range(dim)) if order is None else list(order)
    if sorted(found) != list(range(dim)):
        raise ValueError(f"order must be a permutation of 0..{dim - 1}, got {found}")
    return found


def pair_of(net: nn.Module, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
    """The two numbers, each (N, D), that an autoregressive network gives each of x's (N, D) variables.

    Raises ValueError unless the network answers with shape (N, D, 2).
    """
    out = net(x) if condition is None else net(x, condition)
    if tuple(out.shape) != (*x.shape, 2):
        raise ValueError(f"the network must give shape {(*x.shape, 2)}, two numbers a variable, got {tuple(out.shape)}")
    return out[..., 0], out[..., 1]


def made_degrees(dim: int, hidden: Sequence[int], order: Sequence[int] | None = None, lowest: int = 1) -> list[Tensor]:
    """Degrees of the input, then of each hidden layer; an output has the degree of its input.

    order: order[k] is the variable that comes at place k, degree k + 1; None is 0, 1, …, dim − 1.
    lowest: the smallest degree of a hidden unit; 0 where units may depend on a condition alone.
    Hidden degrees are spread evenly over lowest..dim−1, so that equal arguments give equal masks.
    """
    at_least("dim", dim, 1)
    inputs = torch.empty(dim, dtype=torch.long)
    inputs[torch.tensor(places(dim, order))] = torch.arange(1, dim + 1)
    highest = max(lowest, dim - 1)
    return [inputs, *(highest - torch.arange(n) * (highest - lowest + 1) // n for n in hidden)]


class MaskedMLP(nn.Module):
    """An autoregressive perceptron: the outputs of a variable depend on the variables before it in `order`.

    (*B, dim) to (*B, dim, outputs_per_dim). With condition_dim > 0 every output also sees `condition`, (*B, C).
    """

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int],
        outputs_per_dim: int,
        order: Sequence[int] | None = None,
        condition_dim: int = 0,
        activation: Activation = nn.SiLU,
    ) -> None:
        super().__init__()
        at_least("outputs_per_dim", outputs_per_dim, 1)
        self.dim, self.outputs_per_dim, self.condition_dim = dim, outputs_per_dim, condition_dim
        degrees = made_degrees(dim, hidden, order, lowest=0 if condition_dim else 1)
        self.order = places(dim, order)
        outputs = degrees[0].repeat_interleave(outputs_per_dim)
        inputs = torch.cat([degrees[0], torch.zeros(condition_dim, dtype=torch.long)])  # a condition precedes all
        layers: list[nn.Module] = []
        for a, b in pairwise([inputs, *degrees[1:]]):
            layers += [MaskedLinear(len(a), len(b), b[:, None] >= a[None, :]), activation()]
        last = degrees[-1] if hidden else inputs
        self.net = nn.Sequential(*layers, MaskedLinear(len(last), len(outputs), outputs[:, None] > last[None, :]))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Raises ValueError when x, or the condition, has the wrong number of features."""
        if x.ndim == 0 or x.shape[-1] != self.dim:
            raise ValueError(f"x must have shape (*B, {self.dim}), got {tuple(x.shape)}")
        if (0 if condition is None else condition.shape[-1]) != self.condition_dim:
            got = None if condition is None else tuple(condition.shape)
            raise ValueError(f"condition must have {self.condition_dim} features, got shape {got}")
        if condition is not None:
            x = torch.cat([x, condition.expand(*x.shape[:-1], self.condition_dim)], dim=-1)
        return self.net(x).unflatten(-1, (self.dim, self.outputs_per_dim))  # (*B, dim, outputs_per_dim)


class CausalConv1d(nn.Conv1d):
    """A dilated convolution that ends at the present: y_t depends on x_t, x_{t−d}, …, x_{t−(k−1)d}.

    `forward` maps whole sequences, (*B, C, L) to (*B, out, L); `step` one time step at a time, with a queue of what
    the layer still remembers: the same numbers at a cost that does not grow with the length.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, dilation: int = 1, bias: bool = True
    ) -> None:
        at_least("kernel_size", kernel_size, 1)
        at_least("dilation", dilation, 1)
        super().__init__(in_channels, out_channels, kernel_size, dilation=dilation, bias=bias)
        self.memory = (kernel_size - 1) * dilation  # time steps before the present that are seen

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (self.memory, 0)))

    def queue(self, n: int) -> Tensor:
        """The memory before the first step: zeros, shape (n, in_channels, memory)."""
        return self.weight.new_zeros(n, self.in_channels, self.memory)

    def step(self, x_t: Tensor, queue: Tensor) -> tuple[Tensor, Tensor]:
        """One time step: x_t of shape (n, in_channels) to y_t of shape (n, out), and the queue moved on by one."""
        window = torch.cat([queue, x_t.unsqueeze(-1)], dim=-1)  # (n, in, memory + 1)
        y_t = torch.einsum("oik,nik->no", self.weight, window[..., :: self.dilation[0]])
        return (y_t if self.bias is None else y_t + self.bias), window[..., 1:]
