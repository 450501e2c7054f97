"""NICE: additive couplings, which keep volume, and one diagonal scaling at the end.

The even and the odd places of x take turns: one half stays and tells a network how to shift the other,

    z_I = x_I,    z_J = x_J + m(x_I),    det = 1                                                  (section 3.2)

and after the last coupling z ← exp(s) ⊙ z, log|det ∂z/∂x| = Σ_i s_i (section 3.3), so that the base, a product of
standard logistics (section 3.4), need not have the data's scale.

"NICE: Non-linear Independent Components Estimation" (Dinh, Krueger, Bengio, 2015), https://arxiv.org/abs/1410.8516.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reference_models.flows.bases import StandardLogistic, StandardNormal
from reference_models.flows.change_of_variables import Composed, FlowDensity, Mapped, Transform
from reference_models.parts import require
from reference_models.parts.networks import MLP


class AdditiveCoupling(Transform):
    """z_J = x_J + m(x_I), z_I = x_I.

    Args:
        dim: D ≥ 2.
        moved: 0 when J is the even places, 1 when it is the odd ones.
        hidden: widths of m, with ReLU.
        net: any m, from the numbers that stay (N, D - |J|) to shifts of the others (N, |J|), in place of that one.
    """

    def __init__(self, dim: int, moved: int, hidden: Sequence[int] = (64, 64), *, net: nn.Module | None = None) -> None:
        require.at_least("the dimension of a coupling flow", dim, 2)
        require.one_of("moved", moved, (0, 1))
        super().__init__((dim,))
        self.moved = moved
        J = len(range(moved, dim, 2))
        self.m = MLP(dim - J, hidden, J, activation=nn.ReLU) if net is None else net

    def _shift(self, x: Tensor) -> Tensor:
        """m(x_I) at the places J, zero at I: (N, D)."""
        shift = torch.zeros_like(x)
        shift[:, self.moved :: 2] = self.m(x[:, 1 - self.moved :: 2])
        return shift

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        return x + self._shift(x), x.new_zeros(len(x))

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        return z - self._shift(z), z.new_zeros(len(z))


class DiagonalScaling(Transform):
    """z = exp(s) ⊙ x."""

    def __init__(self, dim: int) -> None:
        super().__init__((dim,))
        self.s = nn.Parameter(torch.zeros(dim))

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        return torch.exp(self.s) * x, self.s.sum().expand(len(x))

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        return torch.exp(-self.s) * z, -self.s.sum().expand(len(z))


class NICE(FlowDensity):
    """Additive couplings with alternating halves, a diagonal scaling, a logistic base.

    Args:
        dim: D ≥ 2.
        couplings: at least 3 are needed for every place to influence every other (section 3.2).
        hidden: widths of each m.
        logistic: the paper's base for images; a standard normal otherwise.
    """

    def __init__(
        self, dim: int, couplings: int = 4, hidden: Sequence[int] = (64, 64), *, logistic: bool = True
    ) -> None:
        require.at_least("couplings", couplings, 1)
        steps: list[Transform] = [AdditiveCoupling(dim, 1 - k % 2, hidden) for k in range(couplings)]
        base = StandardLogistic((dim,)) if logistic else StandardNormal((dim,))
        super().__init__(Composed([*steps, DiagonalScaling(dim)]), base)

    @classmethod
    def paper(cls) -> "NICE":
        """Section 5.1, MNIST: four couplings, each m with five hidden layers of 1000 rectified units, logistic base."""
        return cls(784, couplings=4, hidden=(1000,) * 5)
