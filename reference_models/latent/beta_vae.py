"""β-VAE: the VAE's bound with its rate weighted, so that the code says less and, one hopes, says it axis by axis.

    F(x) = E_q log p(x|z) − β KL(q(z|x) ‖ p(z))                                              eq. 4
    F(x) = E_q log p(x|z) − γ |KL(q(z|x) ‖ p(z)) − C|                                        Burgess et al., eq. 8

Eq. 4 is the Lagrangian of "reconstruct as well as possible with a rate below ε"; with β > 1 it is still a lower bound
of log p(x), a looser one; its best posterior is q*(z|x) ∝ p(z) p(x|z)^{1/β}, the posterior of a model whose likelihood
is tempered. The second form asks for a rate of C nats, raised during training, instead of a price per nat.

beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework (Higgins et al., 2017),
https://openreview.net/forum?id=Sy2fzU9gl; Understanding disentangling in β-VAE (Burgess et al., 2018),
https://arxiv.org/abs/1804.03599

NOTE: |KL − C| is taken of each example, as eq. 8 has it for one x; some code takes it of the batch's mean KL instead,
which lets examples above C pay for those below it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from reference_models.latent.vae import VAE, GaussianEncoder, StandardNormal, mlp_vae
from reference_models.parts.likelihoods import Binomial
from reference_models.parts.networks import MLP
from reference_models.parts.require import at_least
from reference_models.protocols import Elbo


def linear_capacity(progress: float, capacity: float) -> float:
    """C in nats at `progress` in [0, 1] of training: from 0 to `capacity` (Burgess et al. take 25)."""
    return capacity * min(max(progress, 0.0), 1.0)


def normalised_beta(beta: float, latent_dim: int, pixels: int) -> float:
    """β M / N for M latents and N pixels, by which settings on images of different size compare (Higgins et al.)."""
    return beta * latent_dim / pixels


class BetaVAE(nn.Module):
    """A VAE trained on one of the two objectives.

    vae: its parts. beta: β ≥ 0 of eq. 4, or γ where a capacity is given; 1 is the VAE, 0 an autoencoder with noise.
    """

    def __init__(self, vae: VAE, beta: float = 4.0) -> None:
        super().__init__()
        at_least("beta", beta, 0)
        self.vae, self.beta = vae, beta

    @classmethod
    def mlp(cls, event_shape: Sequence[int] = (1, 8, 8), latent_dim: int = 8, beta: float = 4.0) -> BetaVAE:
        """A small one on binary images."""
        return cls(mlp_vae(event_shape, latent_dim), beta)

    @classmethod
    def paper(cls) -> BetaVAE:
        """The model of binary 64×64 shapes (appendix): ReLU 1200-1200 down to 10 latents, tanh 3 × 1200 up, β = 4."""
        encoder = nn.Sequential(nn.Flatten(), MLP(4096, (1200, 1200), 2 * 10, nn.ReLU))
        decoder = nn.Sequential(MLP(10, (1200, 1200, 1200), 4096, nn.Tanh), nn.Unflatten(1, (1, 64, 64)))
        shape = (1, 64, 64)
        return cls(VAE(GaussianEncoder(encoder), decoder, StandardNormal(10), Binomial(), event_shape=shape))

    def objective(
        self,
        x: Tensor,
        *,
        capacity: float | None = None,
        samples: int = 1,
        generator: Generator | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """F(x), to be maximised: (*B, *event) to (*B,), nats.

        capacity: C in nats; None is eq. 4. samples, noise: as `VAE.elbo` takes them.
        """
        bound = self.vae.elbo(x, samples=samples, generator=generator, noise=noise)
        excess = bound.kl if capacity is None else (bound.kl - capacity).abs()
        return bound.reconstruction - self.beta * excess

    def loss(self, x: Tensor, *, capacity: float | None = None, generator: Generator | None = None) -> Tensor:
        """−F, the mean over the batch, shape (), nats."""
        return -self.objective(x, capacity=capacity, generator=generator).mean()

    def elbo(self, x: Tensor, *, generator: Generator | None = None) -> Elbo:
        """The bound at β = 1, the one that compares with other models, with its parts."""
        return self.vae.elbo(x, generator=generator)

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n draws of p(x), shape (n, *event_shape)."""
        return self.vae.sample(n, generator=generator)

    @torch.no_grad()
    def traverse(self, z: Tensor, dimension: int, values: Tensor) -> Tensor:
        """The decoder's output along one axis of the code, all else fixed: z (d,), values (S,) to (S, ...)."""
        if not 0 <= dimension < len(z):
            raise ValueError(f"dimension must lie in 0..{len(z) - 1}, got {dimension}")
        path = z.repeat(len(values), 1)  # (S, d)
        path[:, dimension] = values
        return self.vae.decoder(path)
