r"""Wasserstein distances: the least cost of moving one law onto another.

    W_p(P, Q)^p = min over couplings π of P and Q of E_π |x − y|^p                                              (primal)
    W_1(P, Q)   = max over 1-Lipschitz f of E_P f − E_Q f                        (Kantorovich–Rubinstein, the critic's)

Exact values in four cases:
- on the line the monotone coupling is optimal: W_p^p = ∫₀¹ |F⁻¹(u) − G⁻¹(u)|^p du;
- between two samples of equal size some one-to-one matching is optimal: a linear assignment;
- between weighted points the primal is a linear programme, and its dual gives the two potentials;
- between Gaussians W_2² has a closed form, the Fréchet distance of the evaluation folder.

A dual potential g on the points of Q's sample extends to a critic of the whole space: f(x) = min_j |x − y_j| − g_j.

Optimal Transport: Old and New (Villani, 2009), thm. 5.10 and case 5.16, https://doi.org/10.1007/978-3-540-71050-9
Computational Optimal Transport (Peyré and Cuturi, 2019), secs. 2.3–2.6 and eq. 2.41, https://arxiv.org/abs/1803.00567
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from reference_models.parts.require import at_least

__all__ = [
    "DiscreteTransport",
    "DistancePotential",
    "assignment",
    "dual_value",
    "gaussian_w2_squared",
    "kantorovich_potential",
    "transport",
    "wasserstein_1d",
    "wasserstein_samples",
]


def wasserstein_1d(
    x: Tensor, y: Tensor, p: float = 1.0, *, weights_x: Tensor | None = None, weights_y: Tensor | None = None
) -> Tensor:
    """W_p between weighted points on the line: x of shape (N,), y of shape (M,), a scalar in the unit of x.

    weights_x, weights_y: shape (N,) and (M,), not negative, each with sum 1; equal weights unless given.
    Differentiable in x and y. Raises ValueError for p < 1, shapes that do not fit or weights that are no law.
    """
    at_least("p", p, 1)
    if x.ndim != 1 or y.ndim != 1 or len(x) == 0 or len(y) == 0:
        raise ValueError(f"x and y must have shapes (N,) and (M,), got {tuple(x.shape)} and {tuple(y.shape)}")
    a, b = _law("weights_x", weights_x, x), _law("weights_y", weights_y, y)
    x, order_x = x.sort()
    y, order_y = y.sort()
    upto_x, upto_y = a[order_x].cumsum(0), b[order_y].cumsum(0)  # the steps of F and of G
    upto_x, upto_y = upto_x / upto_x[-1], upto_y / upto_y[-1]  # both end at 1 exactly
    edges = torch.cat([upto_x, upto_y]).sort().values  # (N + M,): between two edges both quantiles are constant
    mass = edges.diff(prepend=edges.new_zeros(1))
    middle = edges - mass / 2
    quantile_x = x[torch.searchsorted(upto_x, middle).clamp(max=len(x) - 1)]
    quantile_y = y[torch.searchsorted(upto_y, middle).clamp(max=len(y) - 1)]
    cost: Tensor = (mass * (quantile_x - quantile_y).abs() ** p).sum()
    return cost ** (1 / p)


def _law(name: str, weights: Tensor | None, points: Tensor) -> Tensor:
    """The weights of `points`, checked; equal ones for None."""
    if weights is None:
        return points.new_full((len(points),), 1 / len(points))
    if weights.shape != (len(points),):
        raise ValueError(f"{name} must have shape ({len(points)},), got {tuple(weights.shape)}")
    total = float(weights.sum())
    if not bool((weights >= 0).all()) or not abs(total - 1) <= 1e-5:
        raise ValueError(f"{name} must not be negative and sum to 1, got least {float(weights.min()):g}, sum {total:g}")
    return weights


def _cost(x: Tensor, y: Tensor, p: float) -> Tensor:
    """|x_i − y_j|^p, shape (N, M)."""
    at_least("p", p, 1)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or len(x) == 0 or len(y) == 0:
        raise ValueError(f"x and y must have shapes (N, D) and (M, D), got {tuple(x.shape)} and {tuple(y.shape)}")
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist") ** p


def assignment(cost: Tensor) -> Tensor:
    """The permutation σ, long, shape (N,), with the least Σ_i cost[i, σ(i)]; cost of shape (N, N)."""
    if cost.ndim != 2 or cost.shape[0] != cost.shape[1]:
        raise ValueError(f"an assignment needs a square cost, got shape {tuple(cost.shape)}")
    from scipy.optimize import linear_sum_assignment  # here: half of the library needs this file, and SciPy only here

    _, columns = linear_sum_assignment(cost.detach().cpu().numpy())
    return torch.as_tensor(columns, dtype=torch.long, device=cost.device)


def wasserstein_samples(x: Tensor, y: Tensor, p: float = 1.0) -> Tensor:
    """W_p between two samples of equal size, shape (N, D) each, exactly, by linear assignment; a scalar.

    Differentiable in x and y: the best assignment does not move with them (envelope theorem). Raises ValueError for
    unequal sizes.
    """
    if len(x) != len(y):
        raise ValueError(f"both samples need the same size, got {len(x)} and {len(y)}; see `transport`")
    cost = _cost(x, y, p)
    matched: Tensor = cost.gather(1, assignment(cost)[:, None]).mean()
    return matched ** (1 / p)


@dataclass(frozen=True)
class DiscreteTransport:
    """An optimal coupling of two weighted sets of points, with the proof that it is optimal.

    plan: mass moved from x_i to y_j, shape (N, M), rows summing to the weights of x, columns to those of y.
    potential_x, potential_y: f (N,) and g (M,) with f_i + g_j ≤ cost_ij, and equality wherever plan_ij > 0.
    cost: Σ plan · cost = Σ a f + Σ b g, a scalar.
    """

    plan: Tensor
    potential_x: Tensor
    potential_y: Tensor
    cost: Tensor


def transport(cost: Tensor, weights_x: Tensor | None = None, weights_y: Tensor | None = None) -> DiscreteTransport:
    """Solves the transport between N and M weighted points with the given cost, shape (N, M), as a linear programme.

    weights_x, weights_y as in `wasserstein_1d`. Meant for up to some hundreds of points. Raises ValueError for
    weights that are no law.
    """
    if cost.ndim != 2 or cost.numel() == 0 or not bool(cost.isfinite().all()):
        raise ValueError(f"cost must be finite, of shape (N, M), got shape {tuple(cost.shape)}")
    n, m = cost.shape
    a, b = _law("weights_x", weights_x, cost[:, 0]).double(), _law("weights_y", weights_y, cost[0]).double()
    c = cost.detach().double().cpu().numpy()
    from scipy.optimize import linprog
    from scipy.sparse import identity, kron, vstack

    rows = kron(identity(n), np.ones((1, m)))  # sums of the plan's rows, the plan flattened row by row
    columns = kron(np.ones((1, n)), identity(m))
    marginals = np.concatenate([(a / a.sum()).cpu().numpy(), (b / b.sum()).cpu().numpy()])
    solved = linprog(c.ravel(), A_eq=vstack([rows, columns]), b_eq=marginals, method="highs")
    if not solved.success:
        raise RuntimeError(f"the linear programme was not solved: {solved.message}")
    potentials = torch.as_tensor(solved.eqlin.marginals, dtype=cost.dtype, device=cost.device)
    plan = torch.as_tensor(solved.x.reshape(n, m), dtype=cost.dtype, device=cost.device)
    return DiscreteTransport(plan, potentials[:n], potentials[n:], (plan * cost).sum())


class DistancePotential(nn.Module):
    """f(x) = min_j |x − a_j| − g_j: 1-Lipschitz on the whole space whatever the anchors a (M, D) and heights g (M,).

    The best critic of W_1 has this form, with the second sample as anchors; with few anchors and gradient ascent on
    `dual_value` it approaches it, and its value is a lower bound all the way.
    """

    def __init__(self, anchors: Tensor, heights: Tensor | None = None) -> None:
        super().__init__()
        if anchors.ndim != 2 or len(anchors) == 0:
            raise ValueError(f"anchors must have shape (M, D), got {tuple(anchors.shape)}")
        self.anchors = nn.Parameter(anchors.detach().clone())
        self.heights = nn.Parameter(anchors.new_zeros(len(anchors)) if heights is None else heights.detach().clone())

    def forward(self, points: Tensor) -> Tensor:
        """Points (*B, D) to (*B,)."""
        distance = (points[..., None, :] - self.anchors).norm(dim=-1)  # (*B, M)
        return (distance - self.heights).min(dim=-1).values


def kantorovich_potential(x: Tensor, y: Tensor) -> DistancePotential:
    """The best critic of W_1 between samples x (N, D) and y (M, D): 1-Lipschitz, and `dual_value` = W_1 with it."""
    return DistancePotential(y, transport(_cost(x, y, 1.0)).potential_y)


def dual_value(critic: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """E_P f − E_Q f over samples x (N, D) of P and y (M, D) of Q: at most W_1(P, Q) when the critic is 1-Lipschitz."""
    return critic(x).mean() - critic(y).mean()


def gaussian_w2_squared(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> Tensor:
    """W_2² between N(mean_a, cov_a) and N(mean_b, cov_b): means (D,), covariances (D, D), a scalar, at least 0.

    |m_a − m_b|² + tr(A + B − 2 (A^{1/2} B A^{1/2})^{1/2}), with roots of symmetric matrices: singular covariances
    are welcome. Raises ValueError for shapes that do not fit or a covariance that is not symmetric.
    """
    d = mean_a.shape[-1]
    if mean_a.shape != (d,) or mean_b.shape != (d,) or cov_a.shape != (d, d) or cov_b.shape != (d, d):
        shapes = ", ".join(str(tuple(t.shape)) for t in (mean_a, cov_a, mean_b, cov_b))
        raise ValueError(f"means and covariances must have shapes (D,) and (D, D), got {shapes}")
    for cov in (cov_a, cov_b):
        if not torch.allclose(cov, cov.T, rtol=1e-4, atol=1e-6 * float(cov.abs().max())):
            raise ValueError(f"a covariance must be symmetric, got one off by {float((cov - cov.T).abs().max()):g}")
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T  # A^{1/2}
    overlap = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    distance: Tensor = ((mean_a - mean_b) ** 2).sum() + cov_a.trace() + cov_b.trace() - 2 * overlap
    return distance.clamp(min=0)
