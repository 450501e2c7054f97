"""CycleGAN: translation between two sets of images of which no two belong together.

G maps X to Y, F maps Y to X; two discriminators judge the results. Many maps make the laws fit, so there and back must
also return the image:

    L_GAN(G, D_Y) with least squares                                                                  (section 4)
    L_cyc(G, F)      = E_x |F(G(x)) - x|_1 + E_y |G(F(y)) - y|_1                                      (eq. 2)
    L_identity(G, F) = E_y |G(y) - y|_1 + E_x |F(x) - x|_1                                            (section 5.2)
    L = L_GAN(G, D_Y) + L_GAN(F, D_X) + λ L_cyc + 0.5 λ L_identity,   λ = 10                          (eq. 3)

The discriminators see a history of 50 samples instead of only the newest (section 4), and their objective is halved.
Everything is symmetric under exchange of (X, G, D_X) and (Y, F, D_Y).

NOTE: the paper adds L_identity only where colours should stay, as from paintings to photographs; its weight is 0 here
unless asked for. L1 distances are means over pixels, as in the authors' code, where eq. 2 sums; adversarial terms are
means of squares without the 1/2 of LSGAN, the discriminators' halved.

Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks (Zhu et al., 2017),
https://arxiv.org/abs/1703.10593
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Generator, Tensor, nn

from reference_models.adversarial.dcgan import INIT_STD
from reference_models.adversarial.pix2pix import PatchDiscriminator
from reference_models.parts.require import at_least
from reference_models.parts.residual import Residual
from reference_models.parts.training import freeze

CYCLE_WEIGHT = 10.0  # section 4, λ
HISTORY = 50  # section 4


def residual_block(channels: int) -> Residual:
    """x + conv(relu(conv(x))), normalised per image (appendix 7.2, "Rk")."""
    first, second = _conv(channels, channels, 3), _conv(channels, channels, 3)
    return Residual(*first, nn.InstanceNorm2d(channels), nn.ReLU(), *second, nn.InstanceNorm2d(channels))


class TranslationNetwork(nn.Module):
    """Appendix 7.2: c7s1-k, d2k, d4k, residual blocks, u2k, uk, c7s1-C; reflected borders, instance normalisation.

    channels: k, 64 in the paper. blocks: 9 for 256×256, 6 for 128×128. halvings: 2 in the paper.
    kernel: of the first and last layer, 7 in the paper.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: int = 64,
        blocks: int = 9,
        halvings: int = 2,
        kernel: int = 7,
    ) -> None:
        super().__init__()
        at_least("blocks", blocks, 1)
        at_least("halvings", halvings, 0)
        stages: list[nn.Module] = [_unit(*_conv(in_channels, channels, kernel), channels=channels)]
        width = channels
        for _ in range(halvings):
            stages.append(_unit(nn.Conv2d(width, 2 * width, 3, 2, 1), channels=2 * width))
            width *= 2
        stages += [residual_block(width) for _ in range(blocks)]
        for _ in range(halvings):
            up = nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1)
            stages.append(_unit(up, channels=width // 2))
            width //= 2
        stages.append(nn.Sequential(*_conv(channels, out_channels, kernel), nn.Tanh()))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W) in [-1, 1]."""
        for stage in self.stages:
            x = stage(x)
        return x

    def features(self, x: Tensor, at: Sequence[int]) -> list[Tensor]:
        """What leaves the given stages, 0 being the pixels themselves, in ascending order: tensors (N, c, h, w)."""
        found = [x] if 0 in at else []
        for index in range(1, max(at) + 1):
            x = self.stages[index - 1](x)
            if index in at:
                found.append(x)
        return found


class History:
    """The last images a generator made: each new one is shown, or kept while an older one is shown in its place."""

    def __init__(self, size: int = HISTORY) -> None:
        at_least("size", size, 0)
        self.size = size
        self.images: list[Tensor] = []

    def show(self, fresh: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Takes (N, C, H, W), returns as many: new ones while there is room, then an old one with probability 1/2."""
        shown = []
        for image in fresh.detach():
            if len(self.images) < self.size:
                self.images.append(image)
            elif self.size and float(torch.rand((), generator=generator, device=image.device)) < 0.5:
                index = int(torch.randint(self.size, (), generator=generator, device=image.device))
                image, self.images[index] = self.images[index], image
            shown.append(image)
        return torch.stack(shown)


@dataclass(frozen=True)
class CycleLoss:
    """The generators' loss and its parts, scalars: total = adversarial + λ (cycle + share * identity)."""

    total: Tensor
    adversarial: Tensor
    cycle: Tensor
    identity: Tensor


class CycleGAN(nn.Module):
    """Two translators and two discriminators.

    to_y, to_x: G and F, networks between (N, *shape_x) and (N, *shape_y).
    judge_x, judge_y: D_X and D_Y, networks to scores of any shape.
    cycle_weight: λ. identity_share: weight of the identity loss relative to it, 0.5 in section 5.2.

    Raises:
        ValueError: a negative weight.
    """

    def __init__(
        self,
        to_y: nn.Module,
        to_x: nn.Module,
        judge_x: nn.Module,
        judge_y: nn.Module,
        *,
        cycle_weight: float = CYCLE_WEIGHT,
        identity_share: float = 0.0,
        history: int = HISTORY,
    ) -> None:
        super().__init__()
        at_least("cycle_weight", cycle_weight, 0)
        at_least("identity_share", identity_share, 0)
        self.to_y, self.to_x, self.judge_x, self.judge_y = to_y, to_x, judge_x, judge_y
        self.cycle_weight, self.identity_share = cycle_weight, identity_share
        self.history_x, self.history_y = History(history), History(history)

    @classmethod
    def images(cls, channels: int = 1, width: int = 16, blocks: int = 2, identity_share: float = 0.0) -> Self:
        """Small networks for 8×8 images."""
        translators = [TranslationNetwork(channels, channels, width, blocks, halvings=1, kernel=3) for _ in range(2)]
        judges = [PatchDiscriminator(channels, (width, 2 * width)) for _ in range(2)]
        model = cls(*translators, *judges, identity_share=identity_share)
        model.apply(initialise)
        return model

    @classmethod
    def paper(cls) -> Self:
        """The 256×256 networks of appendix 7.2: nine blocks, 70×70 patches."""
        model = cls(*(TranslationNetwork(3, 3) for _ in range(2)), *(PatchDiscriminator(3) for _ in range(2)))
        model.apply(initialise)
        return model

    def forward(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """G(x), shape (N, *shape_y); nothing is drawn."""
        return self.to_y(x)

    def discriminator_loss(self, x: Tensor, y: Tensor, *, generator: Generator | None = None) -> Tensor:
        """1/2 (E (D(real) - 1)² + E D(shown)²) of both; samples come from the history, without gradient."""
        _same_batch(x, y)
        with torch.no_grad():
            fake_y = self.history_y.show(self.to_y(x), generator=generator)
            fake_x = self.history_x.show(self.to_x(y), generator=generator)
        judged = [(self.judge_y(y), self.judge_y(fake_y)), (self.judge_x(x), self.judge_x(fake_x))]
        terms = [0.5 * ((real - 1).square().mean() + fake.square().mean()) for real, fake in judged]
        return terms[0] + terms[1]

    def generator_loss(self, x: Tensor, y: Tensor, *, generator: Generator | None = None) -> CycleLoss:
        """Eq. 3 for G and F; the discriminators' parameters get no gradient. Nothing is drawn."""
        _same_batch(x, y)
        fake_y, fake_x = self.to_y(x), self.to_x(y)
        with freeze(self.judge_x, self.judge_y):
            adversarial = (self.judge_y(fake_y) - 1).square().mean() + (self.judge_x(fake_x) - 1).square().mean()
        cycle = (self.to_x(fake_y) - x).abs().mean() + (self.to_y(fake_x) - y).abs().mean()
        identity = torch.zeros_like(cycle)
        if self.identity_share:
            identity = (self.to_y(y) - y).abs().mean() + (self.to_x(x) - x).abs().mean()
        total = adversarial + self.cycle_weight * (cycle + self.identity_share * identity)
        return CycleLoss(total, adversarial, cycle, identity)


def initialise(part: nn.Module) -> None:
    """Weights ~ N(0, 0.02²), in place (appendix 7.1)."""
    if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(part.weight, 0.0, INIT_STD)
        if part.bias is not None:
            nn.init.zeros_(part.bias)


def _conv(in_channels: int, out_channels: int, kernel: int) -> list[nn.Module]:
    """A convolution that keeps the side, over reflected borders."""
    return [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(in_channels, out_channels, kernel)]


def _unit(*layers: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(*layers, nn.InstanceNorm2d(channels), nn.ReLU())


def _same_batch(x: Tensor, y: Tensor) -> None:
    if not x.ndim == y.ndim == 4 or len(x) != len(y):
        raise ValueError(
            f"x and y must be batches of one size, (N, C, H, W), got {tuple(x.shape)} and {tuple(y.shape)}"
        )
