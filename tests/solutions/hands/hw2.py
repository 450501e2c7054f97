"""Homework 2 beside the reference models: each answer of the solution notebook, and who says the same."""

from __future__ import annotations

import math
from types import SimpleNamespace as Notebook

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from reference_models.flows.bases import StandardNormal
from reference_models.flows.change_of_variables import Composed, FlowDensity
from reference_models.flows.dequantisation import UniformDequantisation
from reference_models.flows.glow import ActNorm
from reference_models.flows.iaf import dual, maf_parameters
from reference_models.flows.linear import InvertibleLinear
from reference_models.flows.logit_transform import Logit
from reference_models.flows.maf import AffineAutoregressive
from reference_models.flows.multi_scale import Squeeze
from reference_models.flows.planar import Planar
from reference_models.flows.realnvp import AffineCoupling, channel_mask, checkerboard_mask

UNPAIRED = {
    "volume_preserving_gap": "a closed form of the theory, which no model holds",
    "gaussianise": "a closed form of the theory, which no model holds",
    "Coupling": "a network of the student's around `coupling_forward`",
    "make_mixture_flow": "a choice of sizes for `Flow`",
    "make_digits_flow": "a choice of sizes for `Flow`",
    "fit_flow": "a loop of `Flow.log_prob` and an optimiser of PyTorch",
    "Logit": "`logit_forward` as a layer",
    "Standardise": "an affine map with fixed numbers",
}


class Pair(nn.Module):
    """A conditioner of both hands: (log_s, t) for the notebook, side by side in dimension 1 for the reference."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        n = math.prod(shape)
        self.scale, self.shift = nn.Linear(n, n), nn.Linear(n, n)

    def pair(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return self.scale(h.flatten(1)).tanh().view_as(h), self.shift(h.flatten(1)).view_as(h)

    def forward(self, h: Tensor) -> Tensor:
        return torch.cat(self.pair(h), dim=1)


class Ordered(nn.Module):
    """Strictly triangular means and log-deviations; `flip` reads them as those of the other direction."""

    def __init__(self, D: int, *, flip: bool = False) -> None:
        super().__init__()
        self.L, self.K, self.flip = torch.randn(D, D).tril(-1), torch.randn(D, D).tril(-1), flip

    def pair(self, v: Tensor) -> tuple[Tensor, Tensor]:
        return v @ self.L.T, (v @ self.K.T).tanh()

    def forward(self, v: Tensor) -> Tensor:
        mean, log_std = self.pair(v)
        return torch.stack(maf_parameters(mean, log_std) if self.flip else (mean, log_std), dim=-1)


def check_dequantised_bits(notebook: Notebook) -> None:
    """Both are averages over noise of their own: 4000 pictures, six standard errors."""
    density = FlowDensity(Composed([Logit((2,)), AffineCoupling(torch.tensor([1.0, 0.0]))]), StandardNormal((2,)))
    levels = torch.randint(0, 4, (4000, 2))
    for draws in (1, 8):
        ours = notebook.dequantised_bits(density.log_prob, levels.double(), 4, draws)
        nats = UniformDequantisation(density, 4).importance_bound(levels.double(), samples=draws)
        apart = (ours + nats / (2 * math.log(2))).detach()
        assert abs(float(apart.mean())) < 6 * float(apart.std()) / 4000**0.5


def planar(D: int) -> tuple[Planar, Tensor, Tensor, Tensor]:
    theirs = Planar(D)
    theirs.raw.data = 2 * torch.randn(2 * D + 1)
    return theirs, *theirs.raw.detach().split([D, D, 1])


def check_planar_u_hat(notebook: Notebook) -> None:
    for D in (1, 4):
        theirs, u, w, _ = planar(D)
        assert_close(notebook.planar_u_hat(u, w), theirs.u_hat_w_b(None)[0][0])


def check_planar_forward(notebook: Notebook) -> None:
    for D in (1, 4):
        theirs, u, w, b = planar(D)
        x = torch.randn(6, D)
        assert_close(notebook.planar_forward(x, u, w, b[0]), theirs(x))


def check_coupling_mask(notebook: Notebook) -> None:
    for parity in (0, 1):
        for shape in ((1, 3, 4), (2, 2, 3)):
            theirs = checkerboard_mask(shape, parity)
            assert_close(notebook.coupling_mask("checkerboard", shape, parity), theirs, check_dtype=False)
        theirs = channel_mask((4, 2, 3), parity)
        assert_close(notebook.coupling_mask("channel", (4, 2, 3), parity), theirs, check_dtype=False)


def check_squeeze(notebook: Notebook) -> None:
    x = torch.randn(2, 3, 4, 6)
    assert_close(notebook.squeeze(x), Squeeze((3, 4, 6))(x)[0])


def check_unsqueeze(notebook: Notebook) -> None:
    z = torch.randn(2, 12, 2, 3)
    assert_close(notebook.unsqueeze(z), Squeeze((3, 4, 6)).inverse(z)[0])


def couplings() -> list[tuple[Tensor, Pair, AffineCoupling]]:
    found = []
    for shape in ((5,), (2, 2, 3)):
        mask = (torch.rand(shape) < 0.5).to(torch.get_default_dtype())
        mask.view(-1)[0], mask.view(-1)[-1] = 1, 0
        net = Pair(shape)
        found.append((mask, net, AffineCoupling(mask, net=net)))
    return found


def check_coupling_forward(notebook: Notebook) -> None:
    for mask, net, theirs in couplings():
        x = torch.randn(6, *mask.shape)
        assert_close(notebook.coupling_forward(x, mask, net.pair), theirs(x))


def check_coupling_inverse(notebook: Notebook) -> None:
    for mask, net, theirs in couplings():
        z = torch.randn(6, *mask.shape)
        assert_close(notebook.coupling_inverse(z, mask, net.pair), theirs.inverse(z))


def check_flow(notebook: Notebook) -> None:
    layers = [theirs for _ in range(2) for _, _, theirs in couplings() if theirs.event_shape == (5,)]
    ours, theirs = notebook.Flow(layers), FlowDensity(Composed(layers), StandardNormal((5,)))
    x = torch.randn(6, 5)
    assert_close(ours.log_prob(x), theirs.log_prob(x))
    assert_close(ours(x), Composed(layers)(x))
    assert_close(ours.inverse(x), Composed(layers).inverse(x))


def check_actnorm(notebook: Notebook) -> None:
    for shape in ((3,), (3, 2, 4)):
        ours, theirs = notebook.ActNorm(3).to(torch.get_default_dtype()), ActNorm(shape)
        x, z = 3 + 2 * torch.randn(20, *shape), torch.randn(4, *shape)
        assert_close(ours(x), theirs(x), rtol=1e-6, atol=1e-6)
        assert_close(ours.inverse(z), theirs.inverse(z), rtol=1e-6, atol=1e-6)


def check_conv1x1(notebook: Notebook) -> None:
    for C in (2, 3):
        ours, theirs = notebook.InvertibleConv1x1(C).to(torch.get_default_dtype()), InvertibleLinear((C, 2, 3))
        W = torch.randn(C, C)
        theirs.W.data, ours.weight.data = W.clone(), W.clone()
        x = torch.randn(4, C, 2, 3)
        assert_close(ours(x), theirs(x))
        assert_close(ours.inverse(x), theirs.inverse(x))


def check_maf_forward(notebook: Notebook) -> None:
    net, x = Ordered(4), torch.randn(6, 4)
    assert_close(notebook.maf_forward(x, net.pair), AffineAutoregressive(4, net=net)(x))


def check_maf_inverse(notebook: Notebook) -> None:
    net, z = Ordered(4), torch.randn(6, 4)
    assert_close(notebook.maf_inverse(z, net.pair), AffineAutoregressive(4, net=net).inverse(z))


def check_iaf_inverse(notebook: Notebook) -> None:
    net, z = Ordered(4, flip=True), torch.randn(6, 4)
    assert_close(notebook.iaf_inverse(z, net.pair), dual(AffineAutoregressive(4, net=net)).inverse(z))


def check_iaf_forward(notebook: Notebook) -> None:
    net, x = Ordered(4, flip=True), torch.randn(6, 4)
    assert_close(notebook.iaf_forward(x, net.pair), dual(AffineAutoregressive(4, net=net))(x))


def check_dequantise(notebook: Notebook) -> None:
    """The noise of both is uniform: mean and mean square of 30,000 numbers, six standard errors."""
    levels = torch.randint(0, 5, (10_000, 3))
    density = FlowDensity(Logit((3,)), StandardNormal((3,)))
    theirs = UniformDequantisation(density, 5).noise(levels.double()).u
    ours = 5 * notebook.dequantise(levels, 5) - levels
    for noise in (ours, theirs):
        assert abs(float(noise.mean()) - 1 / 2) < 6 / (12 * 30_000) ** 0.5
        assert abs(float(noise.square().mean()) - 1 / 3) < 6 * (4 / 45 / 30_000) ** 0.5


def check_logit_forward(notebook: Notebook) -> None:
    for alpha in (0.05, 0.2):
        y = torch.rand(5, 2, 3)
        assert_close(notebook.logit_forward(y, alpha), Logit((2, 3), alpha)(y))
    assert_close(notebook.logit_forward(y), Logit((2, 3))(y))


def check_logit_inverse(notebook: Notebook) -> None:
    for alpha in (0.05, 0.2):
        z = 3 * torch.randn(5, 2, 3)
        assert_close(notebook.logit_inverse(z, alpha), Logit((2, 3), alpha).inverse(z))


PAIRS = {
    "dequantised_bits": check_dequantised_bits,
    "planar_u_hat": check_planar_u_hat,
    "planar_forward": check_planar_forward,
    "coupling_mask": check_coupling_mask,
    "squeeze": check_squeeze,
    "unsqueeze": check_unsqueeze,
    "coupling_forward": check_coupling_forward,
    "coupling_inverse": check_coupling_inverse,
    "Flow": check_flow,
    "ActNorm": check_actnorm,
    "InvertibleConv1x1": check_conv1x1,
    "maf_forward": check_maf_forward,
    "maf_inverse": check_maf_inverse,
    "iaf_inverse": check_iaf_inverse,
    "iaf_forward": check_iaf_forward,
    "dequantise": check_dequantise,
    "logit_forward": check_logit_forward,
    "logit_inverse": check_logit_inverse,
}
