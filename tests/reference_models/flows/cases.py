"""One small instance of every flow, away from its initialisation, with points to test it at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reference_models.flows.change_of_variables import Composed, FlowDensity, Inverse
from reference_models.flows.ffjord import FFJORD, ConcatSquashField
from reference_models.flows.glow import ActNorm, ConditionalGaussian, Glow, GlowCoupling
from reference_models.flows.iaf import IAF, GatedAutoregressive, dual
from reference_models.flows.linear import InvertibleLinear, LinearFlow
from reference_models.flows.logit_transform import Logit
from reference_models.flows.maf import MAF, AffineAutoregressive
from reference_models.flows.multi_scale import Flatten, Squeeze
from reference_models.flows.neural_ode import CNF
from reference_models.flows.nice import NICE, AdditiveCoupling
from reference_models.flows.planar import PlanarFlow
from reference_models.flows.radial import RadialFlow
from reference_models.flows.realnvp import (
    AffineCoupling,
    InvertibleBatchNorm,
    RealNVP,
    alternating_mask,
    channel_mask,
    checkerboard_mask,
)
from reference_models.flows.spline import NSF, SplineCoupling
from reference_models.flows.sylvester import SylvesterFlow
from reference_models.flows.variational_dequantisation import conditional_noise
from reference_models.parts.networks import TimeMLP
from tests.reference_models.helpers import perturb


@dataclass(frozen=True)
class Case:
    """A flow, what it is fed, and how exact it must be in float64.

    unit: x lies in (0, 1). mixes: every coordinate of z differs from that of x. atol: of float64 identities.
    alone: how far an example alone may lie from itself in a batch, which an adaptive solver's steps depend on.
    """

    build: Callable[[], nn.Module]
    condition: tuple[int, ...] = ()
    unit: bool = False
    mixes: bool = True
    atol: float = 1e-9
    scale: float = 0.2
    alone: float = 1e-11

    @property
    def density(self) -> bool:
        return isinstance(self.build(), FlowDensity)

    def flow(self) -> nn.Module:
        flow = perturb(self.build(), self.scale)
        for module in flow.modules():
            if isinstance(module, InvertibleBatchNorm):
                module.mean += 0.3 * torch.randn_like(module.mean)
                module.var *= 1 + torch.rand_like(module.var)
        return flow.eval()

    def points(self, flow: nn.Module, n: int = 3) -> tuple[Tensor, Tensor | None]:
        shape = (n, *flow.event_shape)
        x = 0.05 + 0.9 * torch.rand(shape) if self.unit else torch.randn(shape)
        return x, torch.randn(n, *self.condition) if self.condition else None


class Triangular(nn.Module):
    """The smallest autoregressive network that is not ours: two triangular matrices in a given order of variables."""

    def __init__(self, order: list[int]) -> None:
        super().__init__()
        place = torch.empty(len(order), dtype=torch.long)
        place[torch.tensor(order)] = torch.arange(len(order))
        self.mask = place[:, None] > place[None, :]  # variable i sees j
        self.weight = nn.Parameter(torch.zeros(2, *self.mask.shape))
        self.bias = nn.Parameter(torch.zeros(len(order), 2))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(N, D) to (N, D, 2)."""
        return torch.einsum("kij,nj->nik", self.weight * self.mask, x) + self.bias


CASES: dict[str, Case] = {
    "planar": Case(lambda: PlanarFlow(3, 4)),
    "planar, sampling in closed form": Case(lambda: PlanarFlow(3, 4, closed_form="sampling")),
    "planar, conditional": Case(lambda: PlanarFlow(3, 2, condition_dim=2), condition=(2,)),
    "radial": Case(lambda: RadialFlow(3, 4)),
    "radial, from the noise": Case(lambda: RadialFlow(2, 3, closed_form="sampling")),
    "Sylvester, O-SNF": Case(lambda: SylvesterFlow(4, 2, rank=2)),
    "Sylvester, H-SNF": Case(lambda: SylvesterFlow(3, 2, rank=3, orthogonal="householder")),
    "Sylvester, T-SNF": Case(lambda: SylvesterFlow(3, 2, orthogonal="permutation")),
    "Sylvester, sampling in closed form": Case(lambda: SylvesterFlow(3, 2, closed_form="sampling")),
    "linear, dense": Case(lambda: LinearFlow(4, "dense")),
    "linear, LU": Case(lambda: LinearFlow(4, "lu")),
    "1×1 convolution, dense": Case(lambda: InvertibleLinear((3, 2, 2), "dense")),
    "1×1 convolution, LU": Case(lambda: InvertibleLinear((3, 2, 2), "lu")),
    "NICE": Case(lambda: NICE(5, 4, (8,))),
    "affine coupling, checkerboard": Case(
        lambda: AffineCoupling(checkerboard_mask((2, 4, 2), 0), width=4), mixes=False
    ),
    "affine coupling, channels": Case(lambda: AffineCoupling(channel_mask((4, 2, 2), 1), width=4), mixes=False),
    "affine coupling, conditional": Case(
        lambda: AffineCoupling(alternating_mask(3, 0), hidden=(8,), condition_shape=(2,)), condition=(2,), mixes=False
    ),
    "affine coupling, bounded": Case(
        lambda: AffineCoupling(alternating_mask(3, 1), hidden=(8,), bounded=True), mixes=False
    ),
    "affine coupling, a network given": Case(
        lambda: AffineCoupling(checkerboard_mask((1, 2, 4), 1), net=nn.Conv2d(1, 2, 3, padding=1)), mixes=False
    ),
    "additive coupling, a network given": Case(lambda: AdditiveCoupling(5, 1, net=nn.Linear(3, 2)), mixes=False),
    "RealNVP, vectors": Case(lambda: RealNVP((5,), couplings=4, hidden=(8,))),
    "RealNVP, conditional": Case(lambda: RealNVP((3,), couplings=3, hidden=(8,), condition_dim=2), condition=(2,)),
    "RealNVP, images": Case(lambda: RealNVP((1, 4, 4), scales=2, width=4), mixes=False),
    "RealNVP, one scale": Case(lambda: RealNVP((2, 2, 2), scales=1, width=4), mixes=False),
    "RealNVP, batch normalisation": Case(lambda: RealNVP((1, 4, 4), scales=2, width=2, batch_norm=True), mixes=False),
    "invertible batch normalisation": Case(lambda: InvertibleBatchNorm((3, 2, 2))),
    "ActNorm": Case(lambda: ActNorm((3, 2, 2))),
    "Glow's coupling": Case(lambda: GlowCoupling((4, 2, 2), 4), mixes=False),
    "Glow's coupling, exponential, a network given": Case(
        lambda: GlowCoupling((4, 2, 2), net=nn.Conv2d(2, 4, 3, padding=1), gated=False), mixes=False
    ),
    "Glow's learned prior": Case(lambda: ConditionalGaussian((2, 2, 2)), condition=(2, 2, 2)),
    "Glow": Case(lambda: Glow((1, 4, 4), levels=2, steps=2, hidden=4), mixes=False, scale=0.1),
    "Glow, one level": Case(lambda: Glow((1, 4, 2), levels=1, steps=2, hidden=4, form="dense"), mixes=False),
    "MAF": Case(lambda: MAF(4, 3, (12,))),
    "MAF, bounded": Case(lambda: MAF(4, 2, (12,), bound=0.5)),
    "MAF layer, a network given": Case(
        lambda: AffineAutoregressive(4, order=[2, 0, 3, 1], net=Triangular([2, 0, 3, 1])), scale=0.4
    ),
    "IAF step, a network given": Case(
        lambda: GatedAutoregressive(3, order=[1, 2, 0], net=Triangular([1, 2, 0]), forget_bias=0.5), scale=0.4
    ),
    "MAF, conditional": Case(lambda: MAF(3, 2, (12,), condition_dim=2), condition=(2,)),
    "MAF, batch normalisation": Case(lambda: MAF(3, 2, (12,), batch_norm=True)),
    "IAF": Case(lambda: IAF(4, 3, (12,))),
    "IAF, conditional": Case(lambda: IAF(3, 2, (12,), condition_dim=2), condition=(2,)),
    "the dual of a MAF layer": Case(lambda: dual(AffineAutoregressive(4, (12,), order=[2, 0, 3, 1]))),
    "spline coupling": Case(lambda: SplineCoupling(3, 0, (8,), bins=4), mixes=False, scale=0.5),
    "spline coupling, a network given": Case(
        lambda: SplineCoupling(3, 1, bins=3, net=nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 8))),
        mixes=False,
        scale=0.5,
    ),
    "neural spline flow": Case(lambda: NSF(3, 2, (8,), bins=4), scale=0.5),
    "logit transform": Case(lambda: Logit((2, 2)), unit=True),
    "squeeze": Case(lambda: Squeeze((2, 4, 2)), mixes=False),
    "squeeze and flatten, inverted": Case(
        lambda: Inverse(Composed([Squeeze((1, 2, 4)), Flatten((4, 1, 2))])), mixes=False
    ),
    "conditional noise of variational dequantisation": Case(
        lambda: conditional_noise((3,), 2, hidden=(8,)), condition=(3,), unit=True
    ),
    "conditional noise, images": Case(lambda: conditional_noise((1, 2, 4), 2, width=4), condition=(1, 2, 4), unit=True),
    "continuous flow": Case(lambda: CNF(TimeMLP(2, (8,), 2, time_scale=2.0), (2,), steps=20), atol=1e-6),
    "continuous flow, adaptive": Case(
        lambda: CNF(TimeMLP(2, (8,), 2, time_scale=2.0), (2,), steps=1, method="dopri5", tolerance=1e-9),
        atol=1e-6,
        alone=1e-7,
    ),
    "FFJORD": Case(lambda: FFJORD(ConcatSquashField(2, (8, 8)), (2,), steps=20), atol=1e-6),
}
