"""Probes of continuous time: fields `f(t, x)`, time first, and velocities `model(x, t)`, one time a sample.

Time 0 is noise and time 1 is data. Answers have the dtype of x.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .gaussian import applied, solved
from .times import per_sample
from .weights import weight_of


class LinearField(nn.Module):
    """f(t, x) = A x + b + t c over the flattened sample: A (D, D), b and c (D,) or numbers; time comes first.

    Known: the exact flow by the matrix exponential, one RK4 step with c = 0 is Σ_{k≤4} (hA)ᵏ/k!, its divergence is
    tr A. Where c is not 0 a time taken at the wrong end of a step shows.
    """

    def __init__(self, A: Any, b: Any = 0.0, c: Any = 0.0) -> None:
        super().__init__()
        self.A = weight_of(A)
        self.b = weight_of(b)
        self.c = weight_of(c)

    def forward(self, t: Any, x: Tensor, *_: Any, **__: Any) -> Tensor:
        A, b, c = (q.to(x.dtype) for q in (self.A, self.b, self.c))
        batch = x.dim() - 1 if x.shape[-1:] == A.shape[:1] else 1  # vectors (*batch, D), images (B, *)
        flat = x.flatten(batch)  # (*batch, D)
        time = per_sample(t, flat).to(x.dtype)
        return (flat @ A.T + b + time * c).reshape(x.shape)


class TimeField(nn.Module):
    """f(t, x) = c · t³, of x's shape: c a number or the shape of a sample; time comes first.

    Known: from t = 0 to 1 it moves a sample by c/4, which one RK4 step does exactly and one Euler step not at all.
    """

    def __init__(self, c: Any) -> None:
        super().__init__()
        self.c = weight_of(c)

    def forward(self, t: Any, x: Tensor, *_: Any, **__: Any) -> Tensor:
        return (self.c.to(x.dtype) * per_sample(t, x).to(x.dtype) ** 3).expand(x.shape) + 0 * x


class SwirlField(nn.Module):
    """f(t, x) = A tanh(A x + t b) over the flattened sample: A (D, D), b (D,); time comes first.

    Known: its Jacobian A diag(1 − tanh²) A is another one at every point and time, of trace Σ_ij A_ij A_ji (1 −
    tanh²_j); A is used twice, so its gradient has two parts, and the parameter `idle` (D,) not at all: it has none.
    """

    def __init__(self, A: Any, b: Any = 0.0) -> None:
        super().__init__()
        self.A = weight_of(A)
        self.b = weight_of(b)
        self.idle = nn.Parameter(torch.ones(len(self.A), dtype=self.A.dtype))

    def forward(self, t: Any, x: Tensor, *_: Any, **__: Any) -> Tensor:
        A, b = self.A.to(x.dtype), self.b.to(x.dtype)
        flat = x.flatten(1)  # (B, D)
        inner = (flat @ A.T + per_sample(t, flat).to(x.dtype) * b).tanh()
        return (inner @ A.T).reshape(x.shape)


class LinearInTime(nn.Module):
    """f(x, t) = value + slope · t + weight · x, each a number or the shape of a sample.

    Known: a network of one time for another answers wrong by slope times the difference; with `weight` not 0 it also
    depends on the point.
    """

    def __init__(self, value: Any, slope: Any, weight: Any = 0.0) -> None:
        super().__init__()
        self.value = weight_of(value)
        self.slope = weight_of(slope)
        self.weight = weight_of(weight)

    def forward(self, x: Tensor, t: Any, *_: Any, **__: Any) -> Tensor:
        value, slope, weight = (q.to(x.dtype) for q in (self.value, self.slope, self.weight))
        return value + slope * per_sample(t, x).to(x.dtype) + weight * x


class GaussianVelocity(nn.Module):
    """f(x, t) = E[x_1 − x_0 | x_t = x] for noise N(0, I), data N(mean, C) and x_t = (1 − t) x_0 + t x_1.

    Args:
        mean: a number or the shape of a sample.
        cov: variances (a number or the shape of a sample), or a matrix (D, D) over the flattened sample.

    Known: affine in x at every time, so Euler's method from N(0, I) has an exact Gaussian law: `euler_law`. At t = 0 it
    is mean − x, whatever C; at t = 1 it needs C without zero eigenvalues.
    """

    def __init__(self, mean: Any, cov: Any) -> None:
        super().__init__()
        self.mean = weight_of(mean)
        self.cov = weight_of(cov)

    def forward(self, x: Tensor, t: Any, *_: Any, **__: Any) -> Tensor:
        t, mean = per_sample(t, x).to(x.dtype), self.mean.to(x.dtype)
        event = mean.dim() or max(x.dim() - 1, 0)
        # E[x_1 | x_t] = mean + t C y and E[x_0 | x_t] = (1 − t) y, where (t² C + (1 − t)² I) y = x_t − t mean
        y = solved(self.cov, t.square(), (1 - t).square(), x - t * mean, event)
        velocity: Tensor = mean + t * applied(self.cov, y, event) - (1 - t) * y
        return velocity
