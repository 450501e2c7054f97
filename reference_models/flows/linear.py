"""Linear flows and the invertible 1×1 convolution: a learned matrix instead of a fixed permutation.

Every vector of features, or every pixel's channels, is multiplied by one square matrix W (Glow, section 3.2):

    z_{ij} = W x_{ij},        log|det ∂z/∂x| = H · W · log|det W|       (H = W = 1 for vectors)     (eq. 9)

Computing det W costs O(C³). In the form W = P L (U + diag(s)), P a fixed permutation, L unit lower and U strictly
upper triangular, it is log|det W| = Σ log|s|, O(C)                                                  (eq. 10-11)

A linear flow over a normal base is a Gaussian with full covariance: x ~ N(-W⁻¹b, (WᵀW)⁻¹) for z = Wx + b.

"Glow: Generative Flow with Invertible 1×1 Convolutions" (Kingma, Dhariwal, 2018), https://arxiv.org/abs/1807.03039.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from reference_models.flows.change_of_variables import Composed, FlowDensity, Mapped, Transform
from reference_models.parts import require


class InvertibleLinear(Transform):
    """z = W x over features or channels, W starting as a random rotation.

    Args:
        event_shape: (D,) for vectors, (C, H, W) for the 1×1 convolution of images.
        form: "dense" learns W itself; "lu" learns L, U and log|s| and keeps P and the signs of s, so that W can never
            become singular.
    """

    def __init__(self, event_shape: Sequence[int], form: Literal["dense", "lu"] = "dense") -> None:
        super().__init__(event_shape)
        require.one_of("form", form, ("dense", "lu"))
        self.form = form
        C = self.event_shape[0]
        self.pixels = math.prod(self.event_shape[1:])
        rotation, upper = torch.linalg.qr(torch.randn(C, C))
        rotation = rotation * upper.diag().sign()  # uniform among rotations and reflections
        if form == "dense":
            self.W = nn.Parameter(rotation)
            return
        P, L, U = torch.linalg.lu(rotation)
        s = U.diag()
        self.P: Tensor
        self.sign_s: Tensor
        self.register_buffer("P", P)
        self.register_buffer("sign_s", s.sign())
        self.log_s = nn.Parameter(s.abs().log())
        self.L = nn.Parameter(L.tril(-1))
        self.U = nn.Parameter(U.triu(1))

    def lower_upper(self) -> tuple[Tensor, Tensor]:
        """L with unit diagonal and U + diag(s), each (C, C)."""
        L = self.L.tril(-1) + torch.eye(len(self.L), device=self.L.device, dtype=self.L.dtype)
        return L, self.U.triu(1) + torch.diag(self.sign_s * self.log_s.exp())

    def weight(self) -> Tensor:
        """W, (C, C)."""
        if self.form == "dense":
            return self.W
        L, U = self.lower_upper()
        return self.P @ L @ U

    def _logdet(self, rows: int) -> Tensor:
        log_abs_det = torch.linalg.slogdet(self.W)[1] if self.form == "dense" else self.log_s.sum()
        return (self.pixels * log_abs_det).expand(rows)

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        z = torch.einsum("ij,nj...->ni...", self.weight(), x)
        return z, self._logdet(len(x))

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        columns = z.transpose(0, 1).flatten(1)  # (C, N·H·W)
        if self.form == "dense":
            solved = torch.linalg.solve(self.W, columns)
        else:
            L, U = self.lower_upper()
            half = torch.linalg.solve_triangular(L, self.P.T @ columns, upper=False, unitriangular=True)
            solved = torch.linalg.solve_triangular(U, half, upper=True)
        x = solved.unflatten(1, (len(z), *z.shape[2:])).transpose(0, 1)  # (N, C, H, W)
        return x, -self._logdet(len(z))


class Shift(Transform):
    """z = x + b, one b a feature; log-determinant 0."""

    def __init__(self, dim: int) -> None:
        super().__init__((dim,))
        self.b = nn.Parameter(torch.zeros(dim))

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        return x + self.b, x.new_zeros(len(x))

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        return z - self.b, z.new_zeros(len(z))


class LinearFlow(FlowDensity):
    """z = W x + b over a standard normal: every Gaussian, fitted by its likelihood.

    Args:
        dim: D.
        form: "dense" or "lu", as for InvertibleLinear.
    """

    def __init__(self, dim: int, form: Literal["dense", "lu"] = "lu") -> None:
        super().__init__(Composed([InvertibleLinear((dim,), form), Shift(dim)]))
