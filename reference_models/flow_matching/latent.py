"""Latent flow matching: let an autoencoder take care of detail, and a flow of what remains.

An autoencoder, trained first and then left alone, maps images to a smaller latent z = E(x) and back. The flow is learnt
on latents brought to unit scale, as the noise it starts from has,

    z' = (E(x) − m) / s,    s² = the mean of (E(x) − m)² over data and dimensions,    x = D(s z' + m)

so that a sample is D(s · flow(noise) + m). Solving the ODE costs what a latent costs; the decoder runs once.

"Flow Matching in Latent Space" (Dao, Phung, Nguyen, Tran, 2023), section 3, https://arxiv.org/abs/2307.08698
"High-Resolution Image Synthesis with Latent Diffusion Models" (Rombach et al., 2022), appendix G (the scale),
https://arxiv.org/abs/2112.10752

NOTE: latent diffusion rescales by s alone; the mean m is subtracted here too, which costs nothing. E(x) is the mean of
the code q(z|x), as in `diffusion.latent_diffusion`; the paper's code draws from it, whose standard deviation is tiny.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from reference_models.diffusion.latent_diffusion import KLAutoencoder
from reference_models.flow_matching.conditional import FlowMatching
from reference_models.parts.ode import Method
from reference_models.parts.training import evaluating


class LatentFlowMatching(nn.Module):
    """A flow on the latents of an autoencoder that it never changes; call `calibrate` once before training.

    flow: its event shape is that of the latents, (Z, h, w).

    Raises:
        ValueError: the autoencoder is no `KLAutoencoder`, the flow has another number of channels than its codes.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, autoencoder: KLAutoencoder, flow: FlowMatching) -> None:
        super().__init__()
        if not isinstance(autoencoder, KLAutoencoder):
            raise ValueError(f"the autoencoder must be a KLAutoencoder, got {type(autoencoder).__name__}")
        if flow.event_shape[0] != autoencoder.latent:
            raise ValueError(
                f"the flow must have {autoencoder.latent} channels as the codes, got {flow.event_shape[0]}"
            )
        self.autoencoder, self.flow = autoencoder, flow
        self.register_buffer("shift", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def calibrate(self, x: Tensor) -> None:
        """Sets m and s from data x, (N, C, H, W), N at least 2. Raises ValueError when all latents are equal."""
        with evaluating(self.autoencoder):
            z = self.autoencoder.encode(x).mean
            mean = z.mean()
            std = ((z - mean) ** 2).mean().sqrt()
        if not bool(std > 0):
            raise ValueError(f"the latents must vary to have a scale, got standard deviation {float(std):g}")
        self.shift.copy_(mean)
        self.scale.copy_(std)

    def encode(self, x: Tensor) -> Tensor:
        """x (*B, C, H, W) to latents of unit scale, (*B, Z, h, w); no gradient reaches the autoencoder."""
        with evaluating(self.autoencoder):
            return (self.autoencoder.encode(x).mean - self.shift) / self.scale

    def decode(self, z: Tensor) -> Tensor:
        """Latents of unit scale, (*B, Z, h, w), to images (*B, C, H, W)."""
        with evaluating(self.autoencoder):
            return self.autoencoder.decode(z * self.scale + self.shift)

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
        """n images, (n, C, H, W): the flow in latent space, then the decoder once."""
        return self.decode(self.flow.sample(n, condition=condition, steps=steps, method=method, generator=generator))
