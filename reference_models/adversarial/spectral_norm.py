"""Spectral normalisation: every layer of the critic divided by its largest singular value, so that it is 1-Lipschitz.

    W_SN = W / σ(W),   σ(W) = max_{|h| ≤ 1} |W h|_2                                                 (eqs. 6, 8)
    v <- W'u / |W'u|,  u <- W v / |W v|,  σ ~ u'W v                 one step of power iteration      (algorithm 1)

u is kept between calls; weights move slowly, so one step a forward pass suffices. A convolution's weight is read as a
matrix of out_channels x (in_channels kH kW) (a transposed one's too, its axes exchanged first). With u and v held fixed
the gradient is

    dL/dW = (G - (sum G * W_SN) u v') / σ,   G = dL/dW_SN                                            (cf. eq. 12)

which takes away the part of the step along the first singular direction.

NOTE: σ of that matrix is not the norm of the convolution as a map of images, which lies between σ and sqrt(kH kW) σ.

SNGAN is the paper's residual network under the hinge loss (eqs. 16, 17).

Spectral Normalization for Generative Adversarial Networks (Miyato et al., 2018), https://arxiv.org/abs/1802.05957
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from reference_models.adversarial.gan import GAN
from reference_models.parts.require import at_least
from reference_models.parts.residual_gan import ResNetCritic, ResNetGenerator

Layer = TypeVar("Layer", bound=nn.Module)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class SpectralNorm(nn.Module):
    """The map W to W / σ(W), estimated by power iteration; `u` moves in training only.

    weight: as the layer holds it; its shape and type are all that is used.
    steps: power iterations at each call, at least 1.
    transposed: the weight's first two axes are (in, out), as in transposed convolutions.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, steps: int = 1, transposed: bool = False) -> None:
        super().__init__()
        at_least("steps", steps, 1)
        if weight.ndim < 2:
            raise ValueError(f"a weight must have at least 2 dimensions, got shape {tuple(weight.shape)}")
        self.steps, self.transposed = steps, transposed
        matrix = self.as_matrix(weight.detach())
        self.register_buffer("u", F.normalize(torch.randn_like(matrix[:, 0]), dim=0))
        self.register_buffer("v", F.normalize(matrix.mT @ self.u, dim=0))

    def as_matrix(self, weight: Tensor) -> Tensor:
        """The weight as a matrix of shape (out, in * kernel)."""
        return (weight.transpose(0, 1) if self.transposed else weight).flatten(1)

    @torch.no_grad()
    def iterate(self, matrix: Tensor) -> None:
        """Moves u and v by `steps` power iterations; new tensors, as graphs of earlier calls hold the old ones."""
        for _ in range(self.steps):
            self.v = F.normalize(matrix.mT @ self.u, dim=0)
            self.u = F.normalize(matrix @ self.v, dim=0)

    def sigma(self, weight: Tensor) -> Tensor:
        """The current estimate u'Wv of the largest singular value, at most that value; a scalar."""
        return self.u @ self.as_matrix(weight) @ self.v

    def forward(self, weight: Tensor) -> Tensor:
        if self.training:
            self.iterate(self.as_matrix(weight.detach()))
        return weight / self.sigma(weight)


def spectral_norm(layer: Layer, steps: int = 1) -> Layer:
    """Replaces the layer's weight by W / σ(W), computed anew at each call, and returns the layer.

    Raises:
        ValueError: the layer has no weight of two or more dimensions.
    """
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"a layer with a weight is needed, got {type(layer).__name__}")
    normalise = SpectralNorm(weight, steps, transposed=isinstance(layer, TRANSPOSED))
    parametrize.register_parametrization(layer, "weight", normalise)
    return layer


@dataclass(frozen=True)
class Hinge:
    """The game of eqs. 16 and 17: the critic only learns from scores on the wrong side of a margin of 1."""

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """E max(0, 1 - f(data)) + E max(0, 1 + f(samples))."""
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()

    def generator_loss(self, fake: Tensor) -> Tensor:
        """-E f(G(z))."""
        return -fake.mean()


class SNGAN(GAN):
    """A GAN under the hinge loss; every layer of the critics it builds is spectrally normalised."""

    default_objective = Hinge

    @classmethod
    def images(cls, image_shape: Sequence[int] = (1, 8, 8), latent_dim: int = 16, channels: int = 16) -> Self:
        """Small residual networks: two doublings in the generator, two halvings in the critic."""
        generator = ResNetGenerator(latent_dim, [channels] * 3, image_shape, start=image_shape[1] // 4)
        critic = ResNetCritic(image_shape, [channels] * 3, downsample=[True, True, False], wrap=spectral_norm)
        return cls(generator, critic, latent_dim=latent_dim, event_shape=image_shape)

    @classmethod
    def paper(cls) -> Self:
        """The residual networks for CIFAR-10 (table 4): 256 channels in the generator, 128 in the critic."""
        generator = ResNetGenerator(128, [256] * 4, (3, 32, 32))
        downsample = [True, True, False, False]
        critic = ResNetCritic((3, 32, 32), [128] * 4, downsample=downsample, wrap=spectral_norm)
        return cls(generator, critic, latent_dim=128, event_shape=(3, 32, 32))
