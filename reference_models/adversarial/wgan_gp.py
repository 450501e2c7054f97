"""WGAN-GP: a penalty on the critic's slope instead of clipped weights.

The optimal critic has slope 1 almost everywhere on the lines between coupled points (proposition 1), so

    L = E f(x_fake) - E f(x_real) + λ E (|∇f(x_hat)|_2 - 1)²                                            (eq. 3)
    x_hat = ε x_real + (1 - ε) x_fake,                     ε ~ U[0, 1], one for each pair

is minimised by the critic; the penalty is two-sided, λ = 10. The slope is taken for each example on its own, so
the critic must not mix the examples of a batch: batch normalisation is refused.

Algorithm 1: five critic steps for one of the generator, Adam at 1e-4 with betas (0, 0.9).

Improved Training of Wasserstein GANs (Gulrajani et al., 2017), https://arxiv.org/abs/1704.00028
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self, Unpack

import torch
from torch import Generator, Tensor, nn

from reference_models.adversarial.gan import GAN, Game
from reference_models.adversarial.wgan import Wasserstein
from reference_models.parts.require import at_least, has_shape
from reference_models.parts.residual_gan import ResNetCritic, ResNetGenerator
from reference_models.parts.shapes import expand_right

PENALTY = 10.0  # section 4, "λ = 10"
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    t: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """E (|∇f(x_hat)| - 1)², the mean over pairs, a scalar that can itself be differentiated.

    critic: (N, *event) to (N,).
    real, fake: shape (N, *event), paired as they come; no gradient flows to them.
    t: the ε of eq. 3, the share of the real point, shape (N,); drawn from U[0, 1] unless given.

    Raises:
        ValueError: real and fake differ in shape, t is not of shape (N,).
    """
    if real.shape != fake.shape:
        raise ValueError(f"real and fake must have one shape, got {tuple(real.shape)} and {tuple(fake.shape)}")
    if t is None:
        t = torch.rand(len(real), generator=generator, device=real.device, dtype=real.dtype)
    has_shape("t", t, real.shape[:1])
    x_hat = torch.lerp(fake.detach(), real.detach(), expand_right(t, real)).requires_grad_()
    (slope,) = torch.autograd.grad(critic(x_hat).sum(), x_hat, create_graph=True)
    length: Tensor = slope.flatten(1).norm(dim=1)
    return ((length - 1) ** 2).mean()


class WGANGP(GAN):
    """A GAN whose critic pays for slopes other than 1.

    penalty: λ, at least 0.
    Other arguments as those of `GAN`.

    Raises:
        ValueError: the penalty is negative, the critic has batch normalisation.
    """

    default_objective = Wasserstein

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        penalty: float = PENALTY,
        **game: Unpack[Game],
    ) -> None:
        super().__init__(generator, discriminator, **game)
        at_least("penalty", penalty, 0)
        for name, part in discriminator.named_modules():
            if isinstance(part, BATCH_NORMS):
                raise ValueError(f"a penalised critic cannot have batch normalisation, got one at {name!r}")
        self.penalty = penalty

    @classmethod
    def images(cls, image_shape: Sequence[int] = (1, 8, 8), latent_dim: int = 16, channels: int = 16) -> Self:
        """Small residual networks: two doublings in the generator, two halvings in the critic."""
        start = image_shape[1] // 4
        generator = ResNetGenerator(latent_dim, [channels] * 3, image_shape, start=start)
        critic = ResNetCritic(image_shape, [channels] * 3, downsample=[True, True, False], pool="mean")
        return cls(generator, critic, latent_dim=latent_dim, event_shape=image_shape)

    @classmethod
    def paper(cls) -> Self:
        """The residual networks for CIFAR-10 (appendix): 128 channels throughout, z of size 128.

        NOTE: blocks here enlarge before their first convolution, as the authors' code does; the text says the second.
        """
        generator = ResNetGenerator(128, [128] * 4, (3, 32, 32))
        critic = ResNetCritic((3, 32, 32), [128] * 4, downsample=[True, True, False, False], pool="mean")
        return cls(generator, critic, latent_dim=128, event_shape=(3, 32, 32))

    def discriminator_loss(
        self, x: Tensor, *, condition: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Eq. 3 on data x, shape (N, *event_shape), and as many samples."""
        with torch.no_grad():
            fake = self(self.noise(len(x), generator=generator), condition=condition, generator=generator)
        real_score, fake_score = self.score(x, condition=condition), self.score(fake, condition=condition)
        loss = self.objective.discriminator_loss(real_score, fake_score)
        penalty = gradient_penalty(lambda y: self.score(y, condition=condition), x, fake, generator=generator)
        return loss + self.penalty * penalty
