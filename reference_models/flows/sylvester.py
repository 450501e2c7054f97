"""Sylvester flow: a planar layer with M directions at once, its determinant M×M by Sylvester's identity.

    f(z) = z + Q R h(R̃ Qᵀz + b),    Q (D×M) orthonormal columns, R, R̃ (M×M) upper triangular, h = tanh

    det ∂f/∂z = det(I_M + diag(h') R̃ R) = Π_m (1 + h'_m r_mm r̃_mm)                                     (theorem 1)

is positive where r_mm r̃_mm > -1 (theorem 2); tanh on both diagonals makes it so. In the columns of Q the map is
triangular: with y = Qᵀz its last row holds y_M alone, so the inverse solves for y_M, y_{M-1}, …, y_1, one equation in
one unknown each.

"Sylvester Normalizing Flows for Variational Inference" (van den Berg, Hasenclever, Tomczak, Welling, 2018),
https://arxiv.org/abs/1803.05649.

NOTE: where the paper orthogonalises Q by an iteration (O-SNF), Q is here the factor of a QR decomposition, exact and
differentiable. Products of reflections (H-SNF) and permutations that take turns (T-SNF) are the paper's.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from reference_models.flows.change_of_variables import Composed, FlowDensity, Inverse, Mapped, Transform
from reference_models.parts import require
from reference_models.parts.roots import increasing_root

Orthogonal = Literal["qr", "householder", "permutation"]


def householder_product(v: Tensor) -> Tensor:
    """Π_i (I - 2 v_i v_iᵀ / ‖v_i‖²) for the rows of v, (H, D): an orthogonal (D, D)."""
    Q = torch.eye(v.shape[1], device=v.device, dtype=v.dtype)
    for v_i in v:
        Q = Q - 2 * torch.outer(Q @ v_i, v_i) / (v_i @ v_i)
    return Q


class Sylvester(Transform):
    """One Sylvester layer; `forward` is f.

    Args:
        dim: D.
        rank: M, how many directions, 1..D.
        orthogonal: "qr" for any M (O-SNF); "householder" for M reflections, Q their product's first M columns (H-SNF);
            "permutation" for M = D, Q the identity or, with `reverse`, the reversal of all places (T-SNF).
        reverse: for "permutation" only.
    """

    def __init__(self, dim: int, rank: int, *, orthogonal: Orthogonal = "qr", reverse: bool = False) -> None:
        require.at_least("rank", rank, 1)
        if rank > dim:
            raise ValueError(f"rank must be at most the dimension {dim}, got {rank}")
        require.one_of("orthogonal", orthogonal, ("qr", "householder", "permutation"))
        if orthogonal == "permutation" and rank != dim:
            raise ValueError(f"a permutation has as many columns as the dimension, {dim}, got rank {rank}")
        super().__init__((dim,))
        self.rank, self.orthogonal = rank, orthogonal
        self.raw_Q = nn.Parameter(torch.randn(dim, rank)) if orthogonal != "permutation" else None
        self.fixed_Q: Tensor
        self.register_buffer("fixed_Q", torch.eye(dim).flip(0) if reverse else torch.eye(dim), persistent=False)
        self.raw_R = nn.Parameter(torch.randn(rank, rank) * 0.3)
        self.raw_R_tilde = nn.Parameter(torch.randn(rank, rank) * 0.3)
        self.b = nn.Parameter(torch.zeros(rank))

    def Q(self) -> Tensor:  # noqa: N802 - the paper's letter
        """(D, M), QᵀQ = I."""
        if self.raw_Q is None:
            return self.fixed_Q
        if self.orthogonal == "householder":
            return householder_product(self.raw_Q.T)[:, : self.rank]
        return torch.linalg.qr(self.raw_Q)[0]

    def R_and_R_tilde(self) -> tuple[Tensor, Tensor]:  # noqa: N802
        """Two upper triangular (M, M), their diagonals in (-1, 1)."""
        R, R_tilde = (raw.triu(1) + torch.diag(torch.tanh(raw.diag())) for raw in (self.raw_R, self.raw_R_tilde))
        return R, R_tilde

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        Q = self.Q()
        R, R_tilde = self.R_and_R_tilde()
        h = torch.tanh(x @ Q @ R_tilde.T + self.b)  # (N, M)
        return x + h @ R.T @ Q.T, torch.log1p((1 - h**2) * R.diag() * R_tilde.diag()).sum(-1)

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        Q = self.Q()
        R, R_tilde = self.R_and_R_tilde()
        target = z @ Q  # (N, M): y + R h(R̃ y + b)
        y: list[Tensor] = []  # y_{m+1}, …, y_M
        h: list[Tensor] = []
        for m in reversed(range(self.rank)):
            r, r_tilde = R[m, m], R_tilde[m, m]
            known = self.b[m] + sum((R_tilde[m, m + 1 + j] * y_j for j, y_j in enumerate(y)), z.new_zeros(len(z)))
            aim = target[:, m] - sum((R[m, m + 1 + j] * h_j for j, h_j in enumerate(h)), z.new_zeros(len(z)))
            y_m = _solve_row(r, r_tilde, known, aim)
            y.insert(0, y_m)
            h.insert(0, torch.tanh(r_tilde * y_m + known))
        h_all = torch.stack(h, dim=-1)  # (N, M)
        logdet = torch.log1p((1 - h_all**2) * R.diag() * R_tilde.diag()).sum(-1)
        return z - h_all @ R.T @ Q.T, -logdet


def _solve_row(r: Tensor, r_tilde: Tensor, known: Tensor, aim: Tensor) -> Tensor:
    """y with y + r tanh(r̃ y + known) = aim, for every row; increasing in y because r r̃ > -1."""

    def g(y: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(r_tilde * y + known)
        return y + r * h - aim, 1 + r * r_tilde * (1 - h**2)

    return increasing_root(g, aim - r.abs(), aim + r.abs())


class SylvesterFlow(FlowDensity):
    """A stack of Sylvester layers over a standard normal.

    Args:
        dim: D.
        layers: K.
        rank: M; the dimension unless given.
        orthogonal: how Q is parametrised.
        closed_form: as for PlanarFlow: "density" puts f from x to z, "sampling", the paper's, from z to x.
    """

    def __init__(
        self,
        dim: int,
        layers: int = 8,
        rank: int | None = None,
        *,
        orthogonal: Orthogonal = "qr",
        closed_form: Literal["density", "sampling"] = "density",
    ) -> None:
        require.at_least("layers", layers, 1)
        require.one_of("closed_form", closed_form, ("density", "sampling"))
        M = dim if rank is None else rank
        stack = Composed([Sylvester(dim, M, orthogonal=orthogonal, reverse=k % 2 == 1) for k in range(layers)])
        super().__init__(stack if closed_form == "density" else Inverse(stack))
