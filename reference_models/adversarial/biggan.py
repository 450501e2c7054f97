"""BigGAN: SAGAN made large, and two devices that trade variety for fidelity.

The label is embedded once, into 128 numbers shared by all layers; z is cut into chunks, the first for the projection
and one for each block; label and chunk together make the gains and offsets of the block's normalisation by linear
maps ("skip-z", figure 15). Large batches, twice the critic steps, halved learning rates, orthogonal initialisation,
and an average of the generator's weights for sampling (section 3).

Truncation trick (section 3.1): train with z ~ N(0, I), sample with every |z_i| > threshold drawn anew. Small thresholds
give typical images; z ~ N(0, I) is the limit of large ones. It works where G is smooth, which a penalty encourages:

    R_beta(W) = beta ‖ W'W o (1 - I) ‖_F²                                                                     (eq. 3)

with the filters as columns of W and the products between different filters only: filters should be orthogonal, their
norms are free. beta = 1e-4, on the generator without its label table.

Large Scale GAN Training for High Fidelity Natural Image Synthesis (Brock, Donahue, Simonyan, 2019), tables 1 and 4,
https://arxiv.org/abs/1809.11096
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Self

import torch
from torch import Generator, Tensor, nn

from reference_models.adversarial.gan import GAN
from reference_models.adversarial.sagan import SelfAttention, check_labels
from reference_models.adversarial.spectral_norm import Hinge, spectral_norm
from reference_models.parts.require import at_least
from reference_models.parts.residual_gan import (
    ConditionalBatchNorm,
    Norm,
    ResNetCritic,
    ResNetGenerator,
    class_batch_norm,
)
from reference_models.parts.training import evaluating
from reference_models.parts.truncation import truncated_normal

BETA = 1e-4  # section 3.1
SHARED = 128  # section 3, size of the shared embedding


def orthogonal_penalty(weight: Tensor, beta: float = BETA) -> Tensor:
    """R_beta of eq. 3 for a layer's weight of shape (out, in, ...), each of its `out` filters a vector; a scalar."""
    filters = weight.flatten(1)  # (out, in * kernel), the paper's W transposed
    products = filters @ filters.mT  # (out, out)
    off_diagonal = products - torch.diag(products.diagonal())
    return beta * off_diagonal.square().sum()


def orthogonal_regularisation(generator: nn.Module, beta: float = BETA) -> Tensor:
    """The sum of eq. 3 over linear and convolutional weights as trained, before spectral normalisation."""
    at_least("beta", beta, 0)
    total = torch.zeros_like(next(generator.parameters()).sum())
    for layer in generator.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            total = total + orthogonal_penalty(_as_trained(layer), beta)
    return total


def _as_trained(layer: nn.Module) -> Tensor:
    normalised = getattr(layer, "parametrizations", None)
    return layer.weight if normalised is None else normalised.weight.original  # type: ignore[return-value]


def orthogonal(layer: nn.Module) -> nn.Module:
    """The layer with an orthogonal weight (section 3, "Orthogonal Initialization"), spectrally normalised."""
    nn.init.orthogonal_(layer.weight)  # type: ignore[arg-type]
    return spectral_norm(layer)


# the non-local block of tables 4 to 6, as in the code of SAGAN
Attention = partial(SelfAttention, value_reduction=2, pool=True, wrap=orthogonal)


def linear_batch_norm(condition_dim: int) -> Norm:
    """Batch normalisation with gains and offsets linear in a condition vector, without bias, spectrally normalised."""

    def build(channels: int) -> nn.Module:
        gain, offset = (orthogonal(nn.Linear(condition_dim, channels, bias=False)) for _ in range(2))
        return ConditionalBatchNorm(channels, gain, offset)

    return build


class BigGANGenerator(ResNetGenerator):
    """SAGAN's generator with a shared embedding and a chunk of z for every block.

    shared: size of the label embedding, 0 for a table of gains and offsets in every layer (table 1, not "Shared").
    skip_z: whether blocks get chunks of z; needs a shared embedding and latent_dim divisible by blocks + 1.
    """

    def __init__(
        self,
        latent_dim: int,
        widths: Sequence[int],
        image_shape: Sequence[int],
        num_classes: int,
        *,
        shared: int = SHARED,
        skip_z: bool = True,
        attention_at: int = 64,
    ) -> None:
        blocks = len(widths) - 1
        if skip_z and (not shared or latent_dim % (blocks + 1)):
            needs = f"an embedding and z of size k * {blocks + 1}"
            raise ValueError(f"skip-z needs {needs}, got sizes {shared} and {latent_dim}")
        chunk = latent_dim // (blocks + 1) if skip_z else latent_dim
        norm = linear_batch_norm(shared + (chunk if skip_z else 0)) if shared else class_batch_norm(num_classes)
        super().__init__(
            chunk,
            widths,
            image_shape,
            start=image_shape[1] >> blocks,
            norm=norm,
            wrap=orthogonal,
            attention={attention_at: Attention},
        )
        self.skip_z, self.chunk = skip_z, chunk
        self.embed = nn.Embedding(num_classes, shared) if shared else None

    def inputs(self, z: Tensor, condition: Tensor | None) -> tuple[Tensor, list[Tensor | None]]:
        """The first chunk of z; for each block, the label's embedding followed by the block's own chunk."""
        if self.embed is None:
            return super().inputs(z, condition)
        y: Tensor = self.embed(condition)  # (N, shared)
        if not self.skip_z:
            return z, [y] * len(self.blocks)
        first, *rest = z.split(self.chunk, dim=-1)
        return first, [torch.cat([y, chunk], dim=-1) for chunk in rest]


class BigGAN(GAN):
    """BigGAN at any size; every call needs `condition`, labels (N,).

    channels: "ch." of table 1, the generator's channels at full size, in units of which `multipliers` count.
    multipliers: channels of the generator at its start and after each block; the critic mirrors them.
    beta: weight of the orthogonal regularisation in the generator's loss.

    Raises:
        ValueError: sizes that do not fit, fewer than 2 classes, a negative beta, labels missing or out of range.
    """

    default_objective = Hinge

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 8, 8),
        num_classes: int = 10,
        latent_dim: int = 18,
        channels: int = 16,
        multipliers: Sequence[int] = (2, 2, 1),
        *,
        shared: int = 16,
        skip_z: bool = True,
        attention_at: int = 4,
        beta: float = BETA,
    ) -> None:
        at_least("num_classes", num_classes, 2)
        at_least("beta", beta, 0)
        widths = [channels * multiplier for multiplier in multipliers]
        critic_widths = [*reversed(widths[1:]), widths[0]]
        super().__init__(
            BigGANGenerator(
                latent_dim,
                widths,
                image_shape,
                num_classes,
                shared=shared,
                skip_z=skip_z,
                attention_at=attention_at,
            ),
            ResNetCritic(
                image_shape,
                critic_widths,
                downsample=[True] * (len(widths) - 1) + [False],
                num_classes=num_classes,
                wrap=orthogonal,
                attention={attention_at: Attention},
            ),
            latent_dim=latent_dim,
            event_shape=image_shape,
        )
        self.num_classes, self.beta = num_classes, beta

    @classmethod
    def paper(cls, channels: int = 96, *, shared: bool = True, skip_z: bool = True) -> Self:
        """The ImageNet model at 128×128 (table 4); the arguments are the rows of table 1."""
        latent_dim = 120 if skip_z else 128
        return cls(
            (3, 128, 128),
            1000,
            latent_dim,
            channels,
            (16, 16, 8, 4, 2, 1),
            shared=SHARED if shared else 0,
            skip_z=skip_z,
            attention_at=64,
        )

    def forward(self, z: Tensor, *, condition: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """G(z, y), shape (N, C, H, W) in [-1, 1]."""
        check_labels(condition, len(z), self.num_classes)
        return super().forward(z, condition=condition)

    def sample_truncated(
        self, n: int, *, threshold: float, condition: Tensor, generator: Generator | None = None
    ) -> Tensor:
        """n draws with every |z_i| ≤ threshold, shape (n, C, H, W)."""
        like = next(self.parameters())
        z = truncated_normal((n, self.latent_dim), threshold, generator=generator, dtype=like.dtype, device=like.device)
        with evaluating(self):
            x: Tensor = self(z, condition=condition)
        return x

    def generator_loss(self, n: int, *, condition: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """The hinge loss plus the orthogonal regularisation."""
        loss = super().generator_loss(n, condition=condition, generator=generator)
        return loss + orthogonal_regularisation(self.generator, self.beta)
