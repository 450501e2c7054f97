"""WGAN: the generator descends the Wasserstein-1 distance, which has slopes where divergences have none.

    W(P, Q) = inf_{couplings} E |x - y| = sup_{|f|_L ≤ 1} E_P f(x) - E_Q f(x)                        (eqs. 1, 2)

The critic f approaches the supremum, the generator descends its estimate. Two laws on disjoint supports, for which the
Jensen-Shannon divergence is log 2 whatever their distance, still pull on each other (example 1: W = |theta|).

f is kept Lipschitz by clipping every parameter to [-c, c] after each of the critic's steps (algorithm 1), which
bounds its constant by some K: the supremum is then that of K W. Critics have no sigmoid, and scores only mean
something by difference.

Algorithm 1: c = 0.01, five critic steps for one of the generator, RMSProp at 5e-5, no momentum.

Wasserstein GAN (Arjovsky, Chintala, Bottou, 2017), https://arxiv.org/abs/1701.07875
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, Unpack

import torch
from torch import Tensor, nn

from reference_models.adversarial.dcgan import DCGANDiscriminator, DCGANGenerator
from reference_models.adversarial.gan import GAN, Game
from reference_models.parts.require import positive

CLIP = 0.01  # algorithm 1
CRITIC_STEPS = 5  # algorithm 1


@dataclass(frozen=True)
class Wasserstein:
    """The game of eq. 2 (algorithm 1): the critic climbs the dual value, the generator descends it."""

    def dual_value(self, real: Tensor, fake: Tensor) -> Tensor:
        """E f(data) - E f(samples), at most |f|_L W(data, samples); a scalar in units of x when f is 1-Lipschitz."""
        return real.mean() - fake.mean()

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Minus the dual value."""
        return -self.dual_value(real, fake)

    def generator_loss(self, fake: Tensor) -> Tensor:
        """-E f(G(z)), the part of the dual value that depends on G."""
        return -fake.mean()


@torch.no_grad()
def clip_parameters(critic: nn.Module, c: float) -> None:
    """Puts every parameter of the critic into [-c, c], biases and gains of normalisation included, in place."""
    positive("c", c)
    for parameter in critic.parameters():
        parameter.clamp_(-c, c)


class WGAN(GAN):
    """A GAN with a clipped critic.

    clip: c, positive; the critic starts inside, and `after_discriminator_step` puts it back.
    Other arguments as those of `GAN`.

    Raises:
        ValueError: clip is not positive.
    """

    default_objective = Wasserstein

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        clip: float = CLIP,
        **game: Unpack[Game],
    ) -> None:
        super().__init__(generator, discriminator, **game)
        positive("clip", clip)
        self.clip = clip
        clip_parameters(self.discriminator, clip)

    @classmethod
    def paper(cls) -> Self:
        """The networks of section 4, DCGAN's for colour images of 64×64; its discriminator's logit is the critic.

        NOTE: sizes are those of DCGAN's paper; the authors' generator is half as wide. z is normal, as in their code.
        """
        return cls(DCGANGenerator(), DCGANDiscriminator(), latent_dim=100, event_shape=(3, 64, 64))

    def after_discriminator_step(self, batch_size: int) -> None:
        """Clips the critic (algorithm 1, line 7)."""
        clip_parameters(self.discriminator, self.clip)
