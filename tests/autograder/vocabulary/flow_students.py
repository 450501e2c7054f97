"""Flows to try the assertions on: right ones written differently, and each with one planted error."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

Pair = tuple[Tensor, Tensor]


def coupling(x: Tensor, mask: Tensor, net: Any, error: str = "") -> Pair:
    """An affine coupling: multiply first, then shift; mask 1 passes and is seen."""
    m = mask.to(x.dtype)
    seen = x if error == "sees all" else m * x
    s, t = net(seen)
    if error == "shift first":
        z = m * x + (1 - m) * (x + t) * s.exp()
    elif error == "roles":
        z = (1 - m) * x + m * (x * s.exp() + t)
    else:
        z = m * x + (1 - m) * (x * s.exp() + t)
    terms = (s if error == "unmasked" else (1 - m) * s).flatten(1)
    return z, volume(terms, error, x)


def volume(terms: Tensor, error: str, x: Tensor) -> Tensor:
    """The sum of the terms of a log-determinant, or one of the wrong sums."""
    right = terms.sum(1)
    pixels = x[0, 0].numel() if x.dim() > 2 else 1
    wrong = {
        "sign": lambda: -right,
        "mean": lambda: terms.mean(1),
        "half": lambda: right / 2,
        "over batch": lambda: terms.sum(),
        "over batch, expanded": lambda: terms.sum().expand(len(x)),
        "batch mean": lambda: right.mean(),
        "terms": lambda: terms,
        "column": lambda: right[:, None],
        "square": lambda: right[:, None] + 0 * right,
        "pixels": lambda: right / pixels,
        "determinant": lambda: right.exp(),
        "bits": lambda: right / torch.tensor(2.0, dtype=right.dtype).log(),
        "nan": lambda: right * torch.nan,
        "constant": lambda: right + 0.1,
    }
    return wrong[error]() if error in wrong else right


def uncoupling(z: Tensor, mask: Tensor, net: Any, error: str = "") -> Pair:
    m = mask.to(z.dtype)
    s, t = net(z if error == "sees all" else m * z)
    undone = z * (-s).exp() - t if error == "wrong order" else (z - t) * (-s).exp()
    x = m * z + (1 - m) * undone
    return x, -volume(((1 - m) * s).flatten(1), error, z)


def coupling_by_indices(x: Tensor, mask: Tensor, net: Any) -> Pair:
    """The same by halves and a scatter."""
    flat, keep = x.flatten(1), mask.flatten() == 1
    hidden = torch.where(keep, flat, torch.zeros_like(flat)).reshape(x.shape)
    s, t = (part.flatten(1)[:, ~keep] for part in net(hidden))
    z = flat.clone()
    z[:, ~keep] = flat[:, ~keep] * s.exp() + t
    return z.reshape(x.shape), s.sum(1)


def coupling_by_autograd(x: Tensor, mask: Tensor, net: Any) -> Pair:
    """The log-determinant through a Jacobian of its own, also under `no_grad`."""

    def z_of(x: Tensor) -> Tensor:
        return coupling(x, mask, net)[0]

    with torch.enable_grad():
        blocks = torch.stack([torch.autograd.functional.jacobian(z_of, row[None], create_graph=True) for row in x])
    n = x[0].numel()
    return z_of(x), torch.linalg.slogdet(blocks.reshape(len(x), n, n))[1]


def maf(x: Tensor, net: Any, error: str = "") -> list[Tensor]:
    mean, log_std = net(x)
    return [(x - mean) * (log_std if error == "multiplies" else -log_std).exp(), -volume(log_std, error, x)]


def maf_inverse(z: Tensor, net: Any, error: str = "") -> list[Tensor]:
    x = torch.zeros_like(z)
    for _ in range(1 if error == "one pass" else z.shape[1]):
        mean, log_std = net(x)
        x = z * log_std.exp() + mean
    mean, log_std = net(z if error == "from z" else x)
    return [x, log_std.sum(1)]


class Conv1x1(nn.Module):
    """z[:, :, r, c] = W x[:, :, r, c]."""

    def __init__(self, W: Tensor, error: str = "") -> None:
        super().__init__()
        self.W, self.error = nn.Parameter(W), error

    def forward(self, x: Tensor) -> Pair:
        z = torch.einsum("ij,bjhw->bihw", self.W.to(x.dtype), x)
        size = x.shape[2] * x.shape[3] if self.error != "no pixels" else 1
        logdet = torch.logdet(self.W) if self.error == "logdet" else torch.linalg.slogdet(self.W)[1]
        return z, (size * logdet).to(x.dtype).expand(len(x))

    def inverse(self, z: Tensor) -> Pair:
        back = self.W.T if self.error == "transposed" else torch.linalg.inv(self.W)
        x = torch.einsum("ij,bjhw->bihw", back.to(z.dtype), z)
        logdet = -z.shape[2] * z.shape[3] * torch.linalg.slogdet(self.W)[1]
        return x, logdet.to(z.dtype).expand(len(z))


class Stack(nn.Module):
    """Layers from data to noise; `error` "order" inverts in the order of `forward`."""

    def __init__(self, layers: Any, error: str = "") -> None:
        super().__init__()
        self.layers, self.error = nn.ModuleList(layers), error

    def forward(self, x: Tensor) -> Pair:
        total = x.new_zeros(len(x))
        for layer in self.layers:
            x, logdet = layer(x)
            total = logdet if self.error == "overwritten" else total + logdet
        return x, total

    def inverse(self, z: Tensor) -> Pair:
        total = z.new_zeros(len(z))
        for layer in self.layers if self.error == "order" else reversed(self.layers):
            z, logdet = layer.inverse(z)
            total = total + logdet
        return z, total

    def log_prob(self, x: Tensor) -> Tensor:
        z, logdet = self(x)
        terms = -0.5 * z.flatten(1) ** 2 - (0 if self.error == "constant" else 0.9189385332046727)
        total = terms.mean(1) if self.error == "mean" else terms.sum(1)
        return -(total + logdet) if self.error == "sign" else total + logdet


class Coupling(nn.Module):
    """An affine coupling with a perceptron, as a layer."""

    def __init__(self, mask: Tensor, seed: int) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        n = mask.numel()
        self.register_buffer("mask", mask)
        self.first = nn.Parameter(torch.randn(n, 16, generator=g, dtype=torch.float64) / n**0.5)
        self.last = nn.Parameter(torch.randn(16, 2 * n, generator=g, dtype=torch.float64) / 4)

    def net(self, h: Tensor) -> Pair:
        s, t = ((h.flatten(1) @ self.first.to(h)).tanh() @ self.last.to(h)).chunk(2, 1)
        return s.tanh().reshape(h.shape), t.reshape(h.shape)

    def forward(self, x: Tensor) -> Pair:
        return coupling(x, self.mask, self.net)

    def inverse(self, z: Tensor) -> Pair:
        return uncoupling(z, self.mask, self.net)
