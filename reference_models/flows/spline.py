"""Neural spline flow: couplings whose elementwise map is a monotone rational-quadratic spline.

Inside [-B, B] the map runs through K + 1 knots (x_k, y_k) with slopes δ_k > 0, outside it is the identity. With
w = x_{k+1} - x_k, h = y_{k+1} - y_k, s = h / w and ξ = (x - x_k) / w in the bin of x,

    g(x)  = y_k + h (s ξ² + δ_k ξ(1-ξ)) / (s + (δ_{k+1} + δ_k - 2s) ξ(1-ξ))                               (eq. 4)
    g'(x) = s² (δ_{k+1} ξ² + 2s ξ(1-ξ) + δ_k (1-ξ)²) / (s + (δ_{k+1} + δ_k - 2s) ξ(1-ξ))²                 (eq. 5)

and g⁻¹ is the root of a quadratic (appendix A). Half of x stays and gives knots and slopes to the other half; a learned
linear map mixes the halves between couplings.

"Neural Spline Flows" (Durkan, Bekasov, Murray, Papamakarios, 2019), https://arxiv.org/abs/1906.04032.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, softmax, softplus

from reference_models.flows.change_of_variables import Composed, FlowDensity, Mapped, Transform
from reference_models.flows.linear import InvertibleLinear
from reference_models.parts import require
from reference_models.parts.networks import MLP

MIN_BIN = 1e-3  # smallest share of a bin in [-B, B], the authors' code
MIN_SLOPE = 1e-3  # smallest δ_k, likewise


@dataclass(frozen=True)
class Knots:
    """K + 1 knots a number: `x`, `y` and the slopes `delta`, each (*S, K + 1) for numbers of shape (*S)."""

    x: Tensor
    y: Tensor
    delta: Tensor


def knots_of(raw: Tensor, bound: float) -> Knots:
    """A network's numbers, (*S, 3K - 1), as knots on [-B, B]: widths and heights by softmax, inner slopes by softplus.

    The first knot is (-B, -B) and the last (B, B), exactly, both with slope 1, to join the identity outside smoothly;
    raw = 0 is the identity inside as well.
    """
    K = (raw.shape[-1] + 1) // 3
    widths, heights, slopes = torch.split(raw, [K, K, K - 1], dim=-1)
    shares = [MIN_BIN + (1 - MIN_BIN * K) * softmax(part, dim=-1) for part in (widths, heights)]  # sum to 1
    inner = [2 * bound * share[..., :-1].cumsum(-1) - bound for share in shares]
    x, y = (pad(pad(knots, (1, 0), value=-bound), (0, 1), value=bound) for knots in inner)
    one = math.log(math.expm1(1 - MIN_SLOPE))  # softplus(one) + MIN_SLOPE = 1
    return Knots(x, y, pad(softplus(slopes + one) + MIN_SLOPE, (1, 1), value=1.0))


def _in_bin(knots: Knots, at: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x_k, y_k, w, h, δ_k and δ_{k+1} of the bin that each of `values` falls in along the knots `at`."""
    k = torch.searchsorted(at.detach().contiguous(), values.detach()[..., None], right=True) - 1
    k = k.clamp(0, at.shape[-1] - 2)

    def pick(column: Tensor, shift: int) -> Tensor:
        return column.gather(-1, k + shift).squeeze(-1)

    x_k, y_k = pick(knots.x, 0), pick(knots.y, 0)
    return x_k, y_k, pick(knots.x, 1) - x_k, pick(knots.y, 1) - y_k, pick(knots.delta, 0), pick(knots.delta, 1)


def _log_slope(xi: Tensor, s: Tensor, delta_k: Tensor, delta_next: Tensor) -> Tensor:
    """log g', eq. 5."""
    between = xi * (1 - xi)
    numerator = s**2 * (delta_next * xi**2 + 2 * s * between + delta_k * (1 - xi) ** 2)
    return torch.log(numerator) - 2 * torch.log(s + (delta_next + delta_k - 2 * s) * between)


def spline(x: Tensor, knots: Knots, bound: float) -> tuple[Tensor, Tensor]:
    """g(x) and log g'(x), each of x's shape."""
    inside = x.abs() < bound
    x_in = torch.where(inside, x, 0.0)
    x_k, y_k, w, h, delta_k, delta_next = _in_bin(knots, knots.x, x_in)
    s, xi = h / w, (x_in - x_k) / w
    between = xi * (1 - xi)
    y = y_k + h * (s * xi**2 + delta_k * between) / (s + (delta_next + delta_k - 2 * s) * between)
    return torch.where(inside, y, x), torch.where(inside, _log_slope(xi, s, delta_k, delta_next), 0.0)


def spline_inverse(y: Tensor, knots: Knots, bound: float) -> tuple[Tensor, Tensor]:
    """g⁻¹(y) and log (g⁻¹)'(y), each of y's shape: the quadratic's root in the form without cancellation."""
    inside = y.abs() < bound
    y_in = torch.where(inside, y, 0.0)
    x_k, y_k, w, h, delta_k, delta_next = _in_bin(knots, knots.y, y_in)
    s, rise = h / w, y_in - y_k
    bend = delta_next + delta_k - 2 * s
    a = h * (s - delta_k) + rise * bend
    b = h * delta_k - rise * bend
    c = -s * rise
    xi = 2 * c / (-b - torch.sqrt((b**2 - 4 * a * c).clamp_min(0.0)))
    return torch.where(inside, x_k + xi * w, y), torch.where(inside, -_log_slope(xi, s, delta_k, delta_next), 0.0)


class SplineCoupling(Transform):
    """Half of x passes, and steers the splines of the other half.

    Args:
        dim: D ≥ 2.
        moved: 0 when the even places move, 1 when the odd ones do.
        hidden: widths of the network.
        bins: K, 2 to 999: more bins of at least MIN_BIN do not fit.
        bound: B > 0.
        net: any network from the numbers that stay (N, D - |J|) to `knots_of`'s of the others (N, |J| (3K - 1)), in
            place of an MLP.
    """

    def __init__(
        self,
        dim: int,
        moved: int,
        hidden: Sequence[int] = (64, 64),
        *,
        bins: int = 8,
        bound: float = 3.0,
        net: nn.Module | None = None,
    ) -> None:
        require.at_least("the dimension of a coupling flow", dim, 2)
        require.one_of("moved", moved, (0, 1))
        require.at_least("bins", bins, 2)
        if bins * MIN_BIN >= 1:
            raise ValueError(f"bins must be fewer than {1 / MIN_BIN:g}, each taking at least {MIN_BIN}, got {bins}")
        require.positive("bound", bound)
        super().__init__((dim,))
        self.moved, self.bound = moved, bound
        J = len(range(moved, dim, 2))
        self.net = MLP(dim - J, hidden, J * (3 * bins - 1)) if net is None else net

    def knots(self, staying: Tensor) -> Knots:
        """From x_I, (N, D - J): knots of shape (N, J, K + 1)."""
        raw: Tensor = self.net(staying)
        return knots_of(raw.reshape(len(raw), self.event_shape[0] - staying.shape[1], -1), self.bound)

    def _join(self, moved: Tensor, staying: Tensor) -> Tensor:
        out = moved.new_zeros(len(moved), *self.event_shape)
        out[:, self.moved :: 2] = moved
        out[:, 1 - self.moved :: 2] = staying
        return out

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        staying = x[:, 1 - self.moved :: 2]
        moved, log_slope = spline(x[:, self.moved :: 2], self.knots(staying), self.bound)
        return self._join(moved, staying), log_slope.sum(-1)

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        staying = z[:, 1 - self.moved :: 2]
        moved, log_slope = spline_inverse(z[:, self.moved :: 2], self.knots(staying), self.bound)
        return self._join(moved, staying), log_slope.sum(-1)


class NSF(FlowDensity):
    """RQ-NSF (C): LU-parametrised linear maps and spline couplings in turn, over a standard normal.

    Args:
        dim: D ≥ 2.
        couplings: their number.
        hidden: widths of each coupling's network.
        bins: K; 8 in most of the paper's experiments.
        bound: B; 3 in the paper's density estimation.
    """

    def __init__(
        self, dim: int, couplings: int = 4, hidden: Sequence[int] = (64, 64), *, bins: int = 8, bound: float = 3.0
    ) -> None:
        require.at_least("couplings", couplings, 1)
        steps: list[Transform] = []
        for k in range(couplings):
            steps += [
                InvertibleLinear((dim,), "lu"),
                SplineCoupling(dim, k % 2, hidden, bins=bins, bound=bound),
            ]
        super().__init__(Composed([*steps, InvertibleLinear((dim,), "lu")]))
