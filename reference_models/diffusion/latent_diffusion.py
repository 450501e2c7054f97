"""Latent diffusion: an autoencoder makes images small, a diffusion model learns the law of its codes.

    first stage    E |x − D(z)|² + w KL(q(z|x) ‖ N(0, I)),  z ~ q(z|x) = N(m(x), s(x)²),  w tiny
    second stage   E |ε − ε_θ(z_t, t, c)|²,  z_0 = scale · m(x),  scale = 1/std of the codes of the first batch

The scale matters because the schedule assumes data of variance one (appendix G). Samples are D(z_0/scale). A
condition c is a label, or tokens to which the U-Net attends (section 3.3, `UNet(..., context_features=E)`).

"High-Resolution Image Synthesis with Latent Diffusion Models" (Rombach, Blattmann, Lorenz, Esser, Ommer, 2022), section
3, appendix G, https://arxiv.org/abs/2112.10752

NOTE: the paper's first stage has two more losses, left out here: a distance between features of a network trained
elsewhere (perceptual) and the loss of a discriminator of patches (adversarial). The squared error alone blurs fine
detail. Codes of the second stage are the means m(x); the paper draws them from q(z|x), whose s is tiny.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reference_models.diffusion.ddpm import DDPM, Sampler
from reference_models.parts.distributions import normal_kl, standard_normal
from reference_models.parts.require import at_least
from reference_models.parts.shapes import flatten_batch, restore_batch
from reference_models.parts.training import evaluating
from reference_models.parts.unet import Downsample, ResidualBlock, Upsample, attention_block, group_norm


@dataclass(frozen=True)
class Code:
    """q(z|x) of a batch: mean and log_std, (*B, Z, h, w)."""

    mean: Tensor
    log_std: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """mean + std · noise."""
        return self.mean + self.log_std.exp() * noise


class KLAutoencoder(nn.Module):
    """The first stage: images (*B, C, H, W) to codes (*B, Z, H/f, W/f) and back, f = 2^(levels − 1).

    channels: C; latent: Z; base and multipliers: channels of the levels; blocks: residual blocks of a level (one
    more in the decoder)
    """

    def __init__(
        self, channels: int, latent: int, *, base: int = 16, multipliers: Sequence[int] = (1, 2), blocks: int = 1
    ) -> None:
        super().__init__()
        at_least("latent", latent, 1)
        at_least("blocks", blocks, 1)
        at_least("the number of levels", len(multipliers), 1)
        self.channels, self.latent, self.factor = channels, latent, 2 ** (len(multipliers) - 1)
        widths = [base * m for m in multipliers]
        encoder: list[nn.Module] = [nn.Conv2d(channels, base, 3, padding=1)]
        before = base
        for level, width in enumerate(widths):
            encoder += _column(before, width, blocks)
            encoder += [Downsample(width)] if level < len(widths) - 1 else []
            before = width
        self.encoder = nn.Sequential(*encoder, *_middle(before), *_end(before, 2 * latent))
        self.to_code = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.from_code = nn.Conv2d(latent, latent, 1)
        decoder: list[nn.Module] = [nn.Conv2d(latent, before, 3, padding=1), *_middle(before)]
        for level, width in reversed(list(enumerate(widths))):
            decoder += _column(before, width, blocks + 1)
            decoder += [Upsample(width)] if level > 0 else []
            before = width
        self.decoder = nn.Sequential(*decoder, *_end(before, channels))

    @classmethod
    def kl_f8(cls) -> KLAutoencoder:
        """The paper's KL-regularised first stage with f = 8 and four latent channels (table 8)."""
        return cls(3, 4, base=128, multipliers=(1, 2, 4, 4), blocks=2)

    def encode(self, x: Tensor) -> Code:
        """q(z | x). Raises ValueError for other channels and for sides that f does not divide."""
        if x.ndim not in (3, 4) or x.shape[-3] != self.channels or any(side % self.factor for side in x.shape[-2:]):
            wanted = f"(*B, {self.channels}, H, W) with sides divisible by {self.factor}"
            raise ValueError(f"x must have shape {wanted}, got {tuple(x.shape)}")
        flat, batch = flatten_batch(x, 3)
        mean, log_variance = self.to_code(self.encoder(flat)).chunk(2, dim=1)
        return Code(restore_batch(mean, batch), restore_batch(0.5 * log_variance.clamp(-30.0, 20.0), batch))

    def decode(self, z: Tensor) -> Tensor:
        """The image of a code, (*B, Z, h, w) to (*B, C, h·f, w·f)."""
        flat, batch = flatten_batch(z, 3)
        return restore_batch(self.decoder(self.from_code(flat)), batch)

    def loss(
        self,
        x: Tensor,
        *,
        weight: float = 1e-6,  # Rombach et al., appendix G
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """|x − D(z)|² + weight · KL, each summed over its dimensions, averaged over the batch, a scalar.

        noise: of the code's shape, drawn unless given.
        """
        code = self.encode(x)
        noise = standard_normal(code.mean.shape, x, generator) if noise is None else noise
        error = (x - self.decode(code.sample(noise))).square().sum(dim=(-3, -2, -1))
        return (error + weight * normal_kl(code.mean, code.log_std).sum(dim=(-3, -2, -1))).mean()


class LatentDiffusion(nn.Module):
    """A trained first stage and a diffusion model of its codes; `loss` trains the second alone.

    diffusion: its event shape is that of the codes. `scale` starts at one; `fit_scale` sets it.
    """

    scale: Tensor

    def __init__(self, autoencoder: KLAutoencoder, diffusion: DDPM) -> None:
        super().__init__()
        if diffusion.event_shape[0] != autoencoder.latent:
            raise ValueError(
                f"the diffusion must have {autoencoder.latent} channels as the codes, got {diffusion.event_shape[0]}"
            )
        self.autoencoder = autoencoder
        self.diffusion = diffusion
        self.register_buffer("scale", torch.ones(()))

    @torch.no_grad()
    def fit_scale(self, x: Tensor) -> None:
        """Sets the scale to 1/std over all numbers of the codes of x (N, C, H, W), means of q(z|x)."""
        std = self.autoencoder.encode(x).mean.std()
        if not bool(std > 0):
            raise ValueError(f"codes must vary to be scaled, got a standard deviation of {float(std)}")
        self.scale.copy_(1.0 / std)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """scale · mean of q(z|x), (*B, Z, h, w)."""
        return self.scale * self.autoencoder.encode(x).mean

    def decode(self, z: Tensor) -> Tensor:
        """The image of a scaled code, (*B, C, H, W)."""
        return self.autoencoder.decode(z / self.scale)

    def loss(self, x: Tensor, **options: Any) -> Tensor:
        """`DDPM.loss` at the codes of x (N, C, H, W); no gradient reaches the autoencoder. A scalar."""
        return self.diffusion.loss(self.encode(x), **options)

    def sample(
        self,
        n: int,
        *,
        sampler: Sampler | None = None,
        times: Iterable[int] | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        **conditions: Any,
    ) -> Tensor:
        """n images, (n, C, H, W); the arguments are those of `DDPM.sample`."""
        z = self.diffusion.sample(n, sampler=sampler, times=times, noise=noise, generator=generator, **conditions)
        with evaluating(self):
            return self.decode(z)


def _column(channels_in: int, channels_out: int, blocks: int) -> list[nn.Module]:
    return [ResidualBlock(channels_in if i == 0 else channels_out, channels_out) for i in range(blocks)]


def _middle(channels: int) -> list[nn.Module]:
    return [ResidualBlock(channels, channels), attention_block(channels), ResidualBlock(channels, channels)]


def _end(channels: int, channels_out: int) -> list[nn.Module]:
    return [group_norm(channels), nn.SiLU(), nn.Conv2d(channels, channels_out, 3, padding=1)]
