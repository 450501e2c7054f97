"""Probes of normalizing flows: conditioners whose answer is known, and layers with exact inverse and log-determinant.

Layers go from data x to noise z in `forward` and back in `inverse`; both return `(result, logdet)`, `logdet` (B,) in
nats being that of the direction just taken. They act on flattened samples and give back their shape.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .weights import exact_weight

LOG_2PI = 1.8378770664093454


class AffinePair(nn.Module):
    """log_s = size · tanh(A h + d), t = B h + c over flattened h: a coupling's conditioner, answering for every entry.

    Takes h (B, *) and returns `(log_s, t)`, both of h's shape; A and B are (n, n), c, d and size (n,) or a number.

    Known: with dense A and B every answer depends on every entry of h, so a caller that shows it an entry it should not
    see gets another answer. With d not zero log_s is not zero at h = 0 either, nor on entries that a mask lets pass,
    so a log-determinant that sums over all of them is off; with a size of 1000 there, their exponentials overflow.
    """

    def __init__(self, A: Any, B: Any, c: Any = 0.0, d: Any = 0.0, size: Any = 1.0) -> None:
        super().__init__()
        self.A, self.B, self.c, self.d, self.size = (exact_weight(value) for value in (A, B, c, d, size))

    def forward(self, h: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        A, B, c, d, size = (weight.to(h.dtype) for weight in (self.A, self.B, self.c, self.d, self.size))
        flat = h.flatten(1)  # (B, n)
        log_s, t = size * (flat @ A.T + d).tanh(), (flat @ B.T + c).expand(flat.shape)
        return log_s.reshape(h.shape), t.reshape(h.shape)


class TriangularPair(nn.Module):
    """mean = L v + c, log_std = tanh(K v + d), of which entry i sees the entries before i only.

    Takes v (B, n) and returns `(mean, log_std)`, both (B, n); L and K are (n, n), strictly lower triangular.

    Known: it is autoregressive. With no zero below the diagonals each entry depends on all before it, so that MAF and
    IAF, and an inverse cut short, give other numbers. The tanh keeps iterations of it from overflowing.
    """

    def __init__(self, L: Any, K: Any, c: Any = 0.0, d: Any = 0.0) -> None:
        super().__init__()
        self.L, self.K, self.c, self.d = (exact_weight(value) for value in (L, K, c, d))
        for name, weight in (("L", self.L), ("K", self.K)):
            if weight.dim() != 2 or bool((weight.triu() != 0).any()):
                raise ValueError(f"{name} must be strictly lower triangular")

    def forward(self, v: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        L, K, c, d = (weight.to(v.dtype) for weight in (self.L, self.K, self.c, self.d))
        return v @ L.T + c, (v @ K.T + d).tanh()


class AffineFlow(nn.Module):
    """z = A x + b over flattened x, A invertible (n, n): a whole flow with base N(0, I), and one that can be trained.

    Known: logdet is ln |det A| for every sample; x ~ N(−A⁻¹ b, (AᵀA)⁻¹): `affine_flow_law(A, b)`. Maximum likelihood on
    data with mean m and covariance C is reached by AᵀA = C⁻¹, b = −A m, whatever rotation A holds besides.
    """

    def __init__(self, A: Any, b: Any = 0.0) -> None:
        super().__init__()
        self.A, self.b = exact_weight(A), exact_weight(b)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        A, b = self.A.to(x.dtype), self.b.to(x.dtype)
        return (x.flatten(1) @ A.T + b).reshape(x.shape), _log_det(A).expand(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        A, b = self.A.to(z.dtype), self.b.to(z.dtype)
        return torch.linalg.solve(A, (z.flatten(1) - b).T).T.reshape(z.shape), -_log_det(A).expand(len(z))

    def log_prob(self, x: Tensor) -> Tensor:
        """ln p(x) in nats, (B,)."""
        z, logdet = self(x)
        flat = z.flatten(1)
        log_prob: Tensor = logdet - 0.5 * (flat.square() + LOG_2PI).sum(1)
        return log_prob


class Scale(nn.Module):
    """z = a · x + b entry by entry; a and b are numbers or have as many entries as a sample.

    Known: logdet is Σ ln |a| over the entries of a sample. With different entries of a it does not commute with
    `Rotate`, so the order of a stack shows.
    """

    def __init__(self, a: Any, b: Any = 0.0) -> None:
        super().__init__()
        self.a, self.b = exact_weight(a), exact_weight(b)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.flatten(1)
        a, b = self.a.to(x.dtype).expand(flat.shape), self.b.to(x.dtype)
        return (a * flat + b).reshape(x.shape), a.abs().log().sum(1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        flat = z.flatten(1)
        a, b = self.a.to(z.dtype).expand(flat.shape), self.b.to(z.dtype)
        return ((flat - b) / a).reshape(z.shape), -a.abs().log().sum(1)


class Rotate(nn.Module):
    """Turns entries (0, 1), (2, 3), … of a flattened sample by an angle; an odd last entry stays.

    Known: logdet is 0, lengths are kept, the inverse turns by −angle.
    """

    def __init__(self, angle: Any) -> None:
        super().__init__()
        self.angle = exact_weight(angle)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._turned(x, self.angle)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self._turned(z, -self.angle)

    def _turned(self, x: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.flatten(1)
        pairs = flat.shape[1] // 2 * 2
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        first, second = flat[:, 0:pairs:2], flat[:, 1:pairs:2]
        turned = torch.stack([cos * first - sin * second, sin * first + cos * second], 2).flatten(1)
        return torch.cat([turned, flat[:, pairs:]], 1).reshape(x.shape), flat.new_zeros(len(x))


class Bend(nn.Module):
    """z = sinh(k x) / k entry by entry, k ≠ 0: a layer that is not affine.

    Known: logdet is Σ ln cosh(k x) over the entries of a sample, another at every x; the inverse is asinh(k z) / k.
    """

    def __init__(self, k: Any) -> None:
        super().__init__()
        self.k = exact_weight(k)
        if not bool((self.k != 0).all()):
            raise ValueError("k must not be 0")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        k = self.k.to(x.dtype)
        return (k * x).sinh() / k, (k * x).cosh().log().flatten(1).sum(1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        k = self.k.to(z.dtype)
        x = (k * z).asinh() / k
        return x, -(k * x).cosh().log().flatten(1).sum(1)


def _log_det(A: Tensor) -> Tensor:
    log_size: Tensor = torch.linalg.slogdet(A)[1]
    return log_size
