"""Latent flow matching: let an autoencoder take care of detail, and a flow of what remains.

An autoencoder, trained first and then left alone, maps images to a smaller latent z = E(x) and back. The flow is learnt
on latents brought to unit scale, as the noise it starts from has,

    z' = (E(x) − m) / s,    s² = the mean of (E(x) − m)² over data and dimensions,    x = D(s z' + m)

so that a sample is D(s · flow(noise) + m). Solving the ODE costs what a latent costs; the decoder runs once.

"Flow Matching in Latent Space" (Dao, Phung, Nguyen, Tran, 2023), section 3, https://arxiv.org/abs/2307.08698
"High-Resolution Image Synthesis with Latent Diffusion Models" (Rombach et al., 2022), appendix G (the scale),
https://arxiv.org/abs/2112.10752

NOTE: latent diffusion rescales by s alone; the mean m is subtracted here too, which costs nothing.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from reference_models.flow_matching.conditional import FlowMatching
from reference_models.parts.ode import Method
from reference_models.parts.training import evaluating


class Autoencoder(Protocol):
    """A module that maps images (N, *event) to latents (N, *latent) and back."""

    def encode(self, x: Tensor) -> Tensor:
        """The latent of each image."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """The image of each latent."""
        ...


class LatentFlowMatching(nn.Module):
    """A flow on the latents of an autoencoder that it never changes; call `calibrate` once before training."""

    shift: Tensor
    scale: Tensor

    def __init__(self, autoencoder: nn.Module, flow: FlowMatching) -> None:
        """autoencoder: a module that is an `Autoencoder`; flow: of the latents' event shape."""
        super().__init__()
        if not (hasattr(autoencoder, "encode") and hasattr(autoencoder, "decode")):
            raise ValueError(f"an autoencoder needs encode and decode, got {type(autoencoder).__name__}")
        self.autoencoder, self.flow = autoencoder, flow
        self.register_buffer("shift", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def calibrate(self, x: Tensor) -> None:
        """Sets m and s from data x, (N, *event), N at least 2. Raises ValueError when all latents are equal."""
        with evaluating(self.autoencoder):
            z: Tensor = self._autoencoder.encode(x)
            mean = z.mean()
            std = ((z - mean) ** 2).mean().sqrt()
        if not bool(std > 0):
            raise ValueError(f"the latents must vary to have a scale, got standard deviation {float(std):g}")
        self.shift.copy_(mean)
        self.scale.copy_(std)

    @property
    def _autoencoder(self) -> Autoencoder:
        return self.autoencoder  # type: ignore[return-value]  # checked at the door

    def encode(self, x: Tensor) -> Tensor:
        """x (N, *event) to latents of unit scale, (N, *latent); no gradient reaches the autoencoder."""
        with evaluating(self.autoencoder):
            return (self._autoencoder.encode(x) - self.shift) / self.scale

    def decode(self, z: Tensor) -> Tensor:
        """Latents of unit scale, (N, *latent), to images (N, *event)."""
        with evaluating(self.autoencoder):
            return self._autoencoder.decode(z * self.scale + self.shift)

    def loss(
        self,
        x: Tensor,
        y: Tensor | None = None,
        *,
        x_0: Tensor | None = None,
        t: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """The flow's loss on the latents of x, a scalar; x_0 and t as there."""
        return self.flow.loss(self.encode(x), y, x_0=x_0, t=t, generator=generator)

    def sample(
        self,
        n: int,
        *,
        condition: Tensor | None = None,
        steps: int = 50,
        method: Method = "euler",
        generator: Generator | None = None,
    ) -> Tensor:
        """n images, (n, *event): the flow in latent space, then the decoder once."""
        return self.decode(self.flow.sample(n, condition=condition, steps=steps, method=method, generator=generator))
