"""SAGAN: attention lets every position of an image look at every other, where convolutions reach a few pixels.

With x the features at the P = H W positions, columns x_i of C numbers, and 1×1 convolutions f, g, h, v,

    beta_{j,i} = softmax_i(s_ij),   s_ij = f(x_i)'g(x_j)          how much position j attends to i        (eq. 1)
    o_j = v(sum_i beta_{j,i} h(x_i))                                                                      (eq. 2)
    y_j = gamma o_j + x_j,   gamma learned, first 0                                                       (eq. 3)

f, g, h map to C/8 channels, v back to C. No position is coded, so permuting positions permutes y. Both networks carry
the layer where the image is 32×32, both are spectrally normalised, the game is the hinge of SNGAN, the discriminator
learns faster than the generator (4e-4 against 1e-4, Adam with betas 0 and 0.9), labels enter by conditional batch
normalisation and projection (section 4).

Self-Attention Generative Adversarial Networks (Zhang et al., 2019), https://arxiv.org/abs/1805.08318
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_models.adversarial.gan import GAN
from reference_models.adversarial.spectral_norm import Hinge, spectral_norm
from reference_models.parts.require import at_least, labels
from reference_models.parts.residual_gan import ResNetCritic, ResNetGenerator, Wrap, class_batch_norm

REDUCTION = 8  # section 3, "k = 8"


class SelfAttention(nn.Module):
    """Eqs. 1 to 3 on images: (N, C, H, W), shaped the same.

    channels: C, at least `reduction`.
    reduction, value_reduction: C over the channels of f and g, and over those of h.
    pool: the outputs of f and h are max-pooled to H/2 x W/2, as in the authors' code and in BigGAN.
    wrap: applied to the four 1×1 convolutions.

    Raises:
        ValueError: fewer channels than the reduction leaves.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = REDUCTION,
        value_reduction: int = REDUCTION,
        pool: bool = False,
        wrap: Wrap = spectral_norm,
    ) -> None:
        super().__init__()
        at_least("channels", channels, max(reduction, value_reduction))
        keys, values = channels // reduction, channels // value_reduction
        self.f = wrap(nn.Conv2d(channels, keys, 1, bias=False))
        self.g = wrap(nn.Conv2d(channels, keys, 1, bias=False))
        self.h = wrap(nn.Conv2d(channels, values, 1, bias=False))
        self.v = wrap(nn.Conv2d(values, channels, 1, bias=False))
        self.gamma = nn.Parameter(torch.zeros(()))
        self.pool = pool

    def weights(self, x: Tensor) -> Tensor:
        """beta_{j,i}, rows j summing to one: (N, P, P), or (N, P, P/4) when pooled."""
        f, g = self._gather(self.f(x)), self.g(x).flatten(2)  # (N, C/8, P')  (N, C/8, P)
        return torch.softmax(g.mT @ f, dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        h = self._gather(self.h(x))  # (N, C/8, P')
        mixed = h @ self.weights(x).mT  # (N, C/8, P)
        o: Tensor = self.v(mixed.unflatten(2, x.shape[2:]))
        return self.gamma * o + x

    def _gather(self, features: Tensor) -> Tensor:
        return (F.max_pool2d(features, 2) if self.pool else features).flatten(2)


class SAGAN(GAN):
    """Residual networks with attention in both players, labels in both; every call needs `condition`, labels (N,).

    widths: channels of the generator at its start and after each block.
    critic_widths: channels of the critic after each block; all but the last one halve the side.
    attention_at: side of the image where attention stands.

    Raises:
        ValueError: a side the networks cannot make, fewer than 2 classes, a loss or a sample without labels.
    """

    default_objective = Hinge

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 8, 8),
        num_classes: int = 10,
        latent_dim: int = 16,
        widths: Sequence[int] = (16, 16, 16),
        critic_widths: Sequence[int] = (16, 16, 16),
        attention_at: int = 4,
    ) -> None:
        at_least("num_classes", num_classes, 2)
        attention = {attention_at: SelfAttention}
        halvings = [True] * (len(critic_widths) - 1) + [False]
        super().__init__(
            ResNetGenerator(
                latent_dim,
                widths,
                image_shape,
                start=image_shape[1] >> (len(widths) - 1),
                norm=class_batch_norm(num_classes),
                wrap=spectral_norm,
                attention=attention,
            ),
            ResNetCritic(
                image_shape,
                critic_widths,
                downsample=halvings,
                num_classes=num_classes,
                wrap=spectral_norm,
                attention=attention,
            ),
            latent_dim=latent_dim,
            event_shape=image_shape,
        )
        self.num_classes = num_classes

    @classmethod
    def paper(cls) -> Self:
        """The ImageNet model: 128×128, 1000 classes, 64 channels at full size, attention at 32×32 (table 1)."""
        widths = (1024, 1024, 512, 256, 128, 64)
        return cls((3, 128, 128), 1000, 128, widths, (64, 128, 256, 512, 1024, 1024), attention_at=32)

    def forward(self, z: Tensor, *, condition: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """G(z, y), shape (N, C, H, W) in [-1, 1]."""
        check_labels(condition, len(z), self.num_classes)
        return super().forward(z, condition=condition)


def check_labels(condition: Tensor | None, n: int, num_classes: int) -> None:
    """Raises ValueError unless the condition is n labels in 0..num_classes - 1."""
    if condition is None or condition.shape != (n,):
        raise ValueError(f"{n} samples need {n} labels, got {None if condition is None else tuple(condition.shape)}")
    labels(condition, num_classes)
