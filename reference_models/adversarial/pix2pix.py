"""pix2pix: image-to-image translation from pairs, with a loss that the data teach.

    L_cGAN(G, D) = E_{x,y} log D(x, y) + E_{x,z} log(1 - D(x, G(x, z)))                              (eq. 1)
    L_L1(G)      = E |y - G(x, z)|_1                                                                 (eq. 3)
    G* = arg min_G max_D L_cGAN + λ L_L1,   λ = 100                                                  (eq. 4)

L1 keeps low frequencies right, so D needs to judge only local structure: PatchGAN gives one logit for each patch, and
the loss averages over patches. G is a U-Net: what input and output share passes through skips. Its only noise is
dropout, at test time too. D sees pairs (x, y); its objective is halved, which slows it relative to G (section 3.3).

Layers: Ck is a 4×4 convolution of stride 2 with k filters, normalisation and rectifier, CDk adds dropout of 0.5
(section 6.1). NOTE: normalisation is per image (instance normalisation with gain and offset), which is what the
paper's batch normalisation with test statistics is at its batch size 1; results do not depend on what else is in the
batch.

Image-to-Image Translation with Conditional Adversarial Networks (Isola et al., 2017), https://arxiv.org/abs/1611.07004
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import torch
from torch import Generator, Tensor, nn

from reference_models.adversarial.dcgan import INIT_STD
from reference_models.adversarial.gan import NonSaturating
from reference_models.parts.require import at_least, has_event_shape, one_of
from reference_models.parts.training import freeze

L1_WEIGHT = 100.0  # section 4
DROPOUT = 0.5  # section 6.1.1
SLOPE = 0.2  # section 6.1


class DrawnDropout(nn.Module):
    """Dropout whose mask is drawn from the generator one gives it, in training and in evaluation alike."""

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"the probability of dropping must lie in [0, 1), got {p}")
        self.p = p

    def forward(self, h: Tensor, generator: Generator | None = None) -> Tensor:
        if self.p == 0:
            return h
        kept = torch.rand(h.shape, generator=generator, device=h.device, dtype=h.dtype) >= self.p
        return h * kept / (1 - self.p)


class UNetGenerator(nn.Module):
    """An encoder of stride-2 convolutions, its mirror image, and a skip between each pair of equal sides.

    widths: channels of the encoder's layers; the paper's are 64, 128, 256 and five times 512.
    dropped: how many of the decoder's first layers have dropout; 3 in the paper.
    """

    def __init__(self, in_channels: int, out_channels: int, widths: Sequence[int], dropped: int = 3) -> None:
        super().__init__()
        at_least("the number of layers", len(widths), 2)
        self.down, self.up, self.drop = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for index, (narrow, wide) in enumerate(pairwise([in_channels, *widths])):
            # none at the input, and none at the bottom, where one position is left
            norm = 0 < index < len(widths) - 1
            activation = [nn.LeakyReLU(SLOPE)] if index else []
            conv = nn.Conv2d(narrow, wide, 4, 2, 1, bias=not norm)
            self.down.append(nn.Sequential(*activation, conv, *_norm(wide, norm)))
        for index, (wide, narrow) in enumerate(pairwise([*reversed(widths), out_channels])):
            last = index == len(widths) - 1
            doubled = wide if index == 0 else 2 * wide
            up = nn.ConvTranspose2d(doubled, narrow, 4, 2, 1, bias=last)
            self.up.append(nn.Sequential(nn.ReLU(), up, *_norm(narrow, not last)))
            self.drop.append(DrawnDropout(DROPOUT if index < dropped and not last else 0.0))
        self.multiple = 1 << len(widths)

    def forward(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """(*B, in_channels, H, W) to (*B, out_channels, H, W) in [-1, 1]; H and W multiples of 2^layers."""
        if any(side % self.multiple for side in x.shape[-2:]):
            raise ValueError(f"sides must be multiples of {self.multiple}, got {tuple(x.shape[-2:])}")
        skips: list[Tensor] = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        h = skips.pop()
        for up, drop in zip(self.up, self.drop, strict=True):
            h = drop(up(h), generator)
            if skips:
                h = torch.cat([h, skips.pop()], dim=-3)
        return h.tanh()


class PatchDiscriminator(nn.Module):
    """One logit for each patch: (*B, in_channels, H, W) to (*B, h, w).

    widths: channels; the paper's 70×70 patches come from 64, 128, 256, 512. All layers but the last have stride 2.
    kernel: 4, or 1 for the 1×1 "PixelGAN", whose layers all have stride 1.
    """

    def __init__(self, in_channels: int, widths: Sequence[int] = (64, 128, 256, 512), kernel: int = 4) -> None:
        super().__init__()
        at_least("the number of layers", len(widths), 1)
        one_of("kernel", kernel, (1, 4))
        padding = 1 if kernel == 4 else 0
        layers: list[nn.Module] = []
        for index, (narrow, wide) in enumerate(pairwise([in_channels, *widths])):
            stride = 2 if kernel == 4 and index < len(widths) - 1 else 1
            layers += [nn.Conv2d(narrow, wide, kernel, stride, padding, bias=index == 0)]
            layers += [*_norm(wide, index > 0), nn.LeakyReLU(SLOPE)]
        self.net = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, kernel, 1, padding))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return logits.squeeze(-3)


@dataclass(frozen=True)
class TranslationLoss:
    """The generator's loss and its parts, scalars: total = adversarial + λ * l1."""

    total: Tensor
    adversarial: Tensor
    l1: Tensor


class Pix2Pix(nn.Module):
    """Translation from x to y, both in [-1, 1].

    source_shape, target_shape: (C, H, W), with equal sides.
    widths, critic_widths: channels of the two networks.
    l1_weight: λ, at least 0.

    Raises:
        ValueError: sides that differ, a negative weight.
    """

    def __init__(
        self,
        source_shape: Sequence[int] = (1, 8, 8),
        target_shape: Sequence[int] = (1, 8, 8),
        widths: Sequence[int] = (16, 32, 32),
        critic_widths: Sequence[int] = (16, 32),
        l1_weight: float = L1_WEIGHT,
        dropped: int = 1,
    ) -> None:
        super().__init__()
        if tuple(source_shape[1:]) != tuple(target_shape[1:]):
            raise ValueError(f"source and target must have equal sides, got {source_shape} and {target_shape}")
        at_least("l1_weight", l1_weight, 0)
        self.source_shape, self.target_shape = tuple(source_shape), tuple(target_shape)
        self.l1_weight, self.objective = l1_weight, NonSaturating()
        self.generator = UNetGenerator(source_shape[0], target_shape[0], widths, dropped)
        self.discriminator = PatchDiscriminator(source_shape[0] + target_shape[0], critic_widths)
        self.apply(_initialise)

    @classmethod
    def paper(cls) -> Self:
        """The 256×256 networks of section 6.1, with 70×70 patches."""
        widths = (64, 128, 256, 512, 512, 512, 512, 512)
        return cls((3, 256, 256), (3, 256, 256), widths, (64, 128, 256, 512), dropped=3)

    def forward(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """G(x, z): (*B, *source_shape) to (*B, *target_shape); `generator` draws the dropout."""
        has_event_shape("x", x, self.source_shape)
        return self.generator(x, generator=generator)

    def score(self, x: Tensor, y: Tensor) -> Tensor:
        """One logit for each patch of the pair, (*B, h, w)."""
        has_event_shape("x", x, self.source_shape)
        has_event_shape("y", y, self.target_shape)
        return self.discriminator(torch.cat([x, y], dim=-3))

    def discriminator_loss(self, x: Tensor, y: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Half the cross-entropy of true pairs against (x, G(x)), over images and patches; no gradient to G."""
        with torch.no_grad():
            fake = self(x, generator=generator)
        return 0.5 * self.objective.discriminator_loss(self.score(x, y), self.score(x, fake))

    def generator_loss(self, x: Tensor, y: Tensor, *, generator: Generator | None = None) -> TranslationLoss:
        """Eq. 4 for the generator, not saturating; the L1 is a mean over images, channels and pixels."""
        fake = self(x, generator=generator)
        with freeze(self.discriminator):
            adversarial = self.objective.generator_loss(self.score(x, fake))
        l1 = (y - fake).abs().mean()
        return TranslationLoss(adversarial + self.l1_weight * l1, adversarial, l1)


def _norm(channels: int, present: bool) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels, affine=True)] if present else []


def _initialise(part: nn.Module) -> None:
    """Weights ~ N(0, 0.02²) (section 6.2)."""
    if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(part.weight, 0.0, INIT_STD)
