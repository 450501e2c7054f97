"""SR3: super-resolution by a diffusion model that sees the low-resolution image at every step.

The low image, enlarged by bicubic interpolation, is concatenated to the noisy high one, and the network is told the
noise level γ itself in place of a step, so that sampling may use another schedule than training:

    L = E |ε − f(low, √γ x_0 + √(1−γ) ε, γ)|^p,  p ∈ {1, 2},  t uniform, γ ~ U(ᾱ_t, ᾱ_{t−1})      (eq. 6, section 2.4)
    x_{t−1} = (x_t − (1−α_t)/√(1−γ_t) f(low, x_t, γ_t))/√α_t + √(1−α_t) z                         (eq. 11)

"Image Super-Resolution via Iterative Refinement" (Saharia, Ho, Chan, Salimans, Fleet, Norouzi, 2021),
https://arxiv.org/abs/2104.07636

NOTE: α_t of the paper is 1 − β_t, its γ_t is our ᾱ_t; eq. 11 is the ancestral step with σ² = β ("large"). Sampling with
another schedule takes another `SR3` of the same network. Low images are means of squares, the paper's are bicubic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.diffusion.ddpm import DDPM
from reference_models.diffusion.gaussian_diffusion import Gaussian
from reference_models.diffusion.schedule import Schedule
from reference_models.parts.distributions import standard_normal
from reference_models.parts.require import at_least, has_event_shape, one_of
from reference_models.parts.shapes import expand_right, flatten_batch, restore_batch
from reference_models.parts.unet import UNet


class SR3(DDPM):
    """Draws high-resolution images given low ones: `sample(n, condition=low)`, low (n, C, H/factor, W/factor).

    network: f(cat[enlarged, x_t], γ), from 2C channels to C, γ (N,) in (0, 1)
    event_shape: (C, H, W) of the high image; factor: how many times smaller the low one is
    norm: p of the loss, 1 or 2
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        event_shape: Sequence[int],
        factor: int,
        *,
        norm: Literal[1, 2] = 2,
        clip: float | None = None,
    ) -> None:
        super().__init__(network, schedule, event_shape, variance="large", clip=clip)
        at_least("factor", factor, 2)
        one_of("norm", norm, (1, 2))
        channels, height, width = self.event_shape
        if height % factor or width % factor:
            raise ValueError(f"height and width must be multiples of the factor {factor}, got {(height, width)}")
        self.factor = factor
        self.low_shape = (channels, height // factor, width // factor)
        self.norm = norm

    @classmethod
    def faces_16_to_128(cls) -> SR3:
        """The paper's model of faces, 16×16 to 128×128: widths 128·(1, 2, 4, 8, 8), three blocks a level, 550 million.

        NOTE: the paper's residual blocks are those of BigGAN, of about the same size. Attention at 16×16 and
        8×8, and β from 1e-6 to 1e-2, are chosen here.
        """
        return cls(cls.faces_network(), Schedule.linear(2000, 1e-6, 1e-2), (3, 128, 128), 8, clip=1.0)

    @staticmethod
    def faces_network() -> UNet:
        """The U-Net of `faces_16_to_128`."""
        return UNet(6, 3, 128, (1, 2, 4, 8, 8), blocks=3, attention_at=(3, 4), dropout=0.2, time_scale=1000.0)

    def enlarge(self, low: Tensor) -> Tensor:
        """Bicubic interpolation to the high resolution, (*B, C, H, W)."""
        has_event_shape("low", low, self.low_shape)
        flat, batch = flatten_batch(low, 3)
        return restore_batch(F.interpolate(flat, scale_factor=float(self.factor), mode="bicubic"), batch)

    def reduce(self, high: Tensor) -> Tensor:
        """The mean of each factor × factor square: a low image to train and to test with, (*B, C, H/f, W/f)."""
        has_event_shape("high", high, self.event_shape)
        flat, batch = flatten_batch(high, 3)
        return restore_batch(F.avg_pool2d(flat, self.factor), batch)

    def noise_output(self, x_t: Tensor, gamma: Tensor, low: Tensor) -> Tensor:
        """f(low, x_t, γ): the guess of ε, x_t's shape; γ (*B,) or a scalar."""
        return self.network(torch.cat([self.enlarge(low), x_t], dim=-3), gamma)

    def output(self, x_t: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """f at the noise level γ = ᾱ_t of the step. Raises ValueError where no low image is given."""
        if condition is None:
            raise ValueError("SR3 needs the low-resolution image as condition, got None")
        return self.noise_output(x_t, self.schedule.alpha_bar(t, torch.as_tensor(t, dtype=x_t.dtype)), condition)

    def loss(
        self,
        x_0: Tensor,
        *,
        condition: Tensor | None = None,
        t: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        u: Tensor | None = None,
    ) -> Tensor:
        """Eq. 6, averaged over batch and dimensions, a scalar.

        condition: the low images, reduced from x_0 unless given
        u: (*B,) uniform on [0, 1), where γ lies between ᾱ_t (u = 0) and ᾱ_{t−1} (u = 1)
        """
        has_event_shape("x_0", x_0, self.event_shape)
        low = self.reduce(x_0) if condition is None else condition
        t = self.draw_time(x_0.shape[:-3], x_0, generator) if t is None else t
        if u is None:
            u = torch.rand(t.shape, generator=generator, device=x_0.device, dtype=x_0.dtype)
        noise = standard_normal(x_0.shape, x_0, generator) if noise is None else noise
        gamma = torch.lerp(self.schedule.alpha_bar(t, u), self.schedule.alpha_bar(t - 1, u), u)
        level = expand_right(gamma, x_0)
        x_t = Gaussian(level.sqrt() * x_0, 1.0 - level).sample(noise)
        error = self.noise_output(x_t, gamma, low) - noise
        return error.abs().pow(self.norm).mean()
