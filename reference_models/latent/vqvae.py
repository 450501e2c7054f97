"""VQ-VAE: an autoencoder whose code is a grid of indices into a learned codebook, and a prior over such grids.

    code       k(x) = argmin_j ‖z_e(x) − e_j‖,   z_q = e_k                                   eq. 1, 2
    loss       −log p(x | z_q) + ‖sg[z_e] − e‖² + β ‖z_e − sg[e]‖²                           eq. 3
    gradient   straight-through: ∂z_q/∂z_e = I, so the decoder's gradient reaches the encoder past the argmin, and
               never the codebook, which the second term moves (or moving averages in its place)
    bound      q(k|x) puts all mass on k(x), so KL(q ‖ p) = −log p(k(x)): H·W·log K for a uniform prior

After training, a network is fitted to p(k): the bound then has the rate of that prior, and samples begin with it.

Neural Discrete Representation Learning (van den Oord, Vinyals, Kavukcuoglu, 2017), https://arxiv.org/abs/1711.00937

NOTE: the terms of eq. 3 are means over batch, positions and dimensions here, as in the authors' code, so that β does
not depend on sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from reference_models.latent.bounds import as_elbo, examples
from reference_models.latent.code_prior import CodePrior
from reference_models.latent.vector_quantiser import VectorQuantiser
from reference_models.parts.likelihoods import Binomial, Gaussian, Likelihood
from reference_models.parts.require import at_least
from reference_models.parts.residual import Residual
from reference_models.parts.shapes import restore_batch
from reference_models.parts.training import evaluating
from reference_models.protocols import Elbo


def residual_block(channels: int, inner: int) -> Residual:
    """x + conv 1×1(relu(conv 3×3(relu(x)))), with `inner` channels in between (section 4.1)."""
    wide, narrow = nn.Conv2d(channels, inner, 3, padding=1), nn.Conv2d(inner, channels, 1)
    return Residual(nn.ReLU(), wide, nn.ReLU(), narrow)


def downwards(channels: int, hidden: int, inner: int, *, halvings: int, blocks: int, out: int) -> nn.Sequential:
    """Strided 4×4 convolutions, each halving the size, residual blocks, and a 1×1 convolution to `out` channels."""
    layers: list[nn.Module] = []
    for i in range(halvings):
        layers += [nn.Conv2d(hidden if i else channels, hidden, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(
        *layers, *(residual_block(hidden, inner) for _ in range(blocks)), nn.ReLU(), nn.Conv2d(hidden, out, 1)
    )


def upwards(channels: int, hidden: int, inner: int, *, doublings: int, blocks: int, out: int) -> nn.Sequential:
    """A 1×1 convolution from `channels`, residual blocks, and transposed 4×4 convolutions, each doubling the size."""
    layers: list[nn.Module] = [nn.Conv2d(channels, hidden, 1), *(residual_block(hidden, inner) for _ in range(blocks))]
    for i in range(doublings):
        layers += [nn.ReLU(), nn.ConvTranspose2d(hidden, hidden if i < doublings - 1 else out, 4, stride=2, padding=1)]
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class VQLoss:
    """The loss of eq. 3, nats per dimension, and its terms before β, each (), means over batch and dimensions."""

    value: Tensor
    nll: Tensor
    codebook: Tensor
    commitment: Tensor


class VQVAE(nn.Module):
    """encoder: x (N, *event) to z_e (N, D, *S). decoder: z_q to the likelihood's h. prior: over the codes' grid S.

    beta: the commitment's weight; 0.25 in section 3.2. Without a prior, the codes are uniform.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        quantiser: VectorQuantiser,
        likelihood: Likelihood,
        *,
        event_shape: Sequence[int],
        grid: Sequence[int],
        prior: CodePrior | None = None,
        beta: float = 0.25,
    ) -> None:
        super().__init__()
        at_least("beta", beta, 0)
        self.encoder, self.decoder, self.quantiser, self.likelihood = encoder, decoder, quantiser, likelihood
        self.event_shape, self.grid, self.prior, self.beta = tuple(event_shape), tuple(grid), prior, beta

    @classmethod
    def conv(
        cls,
        event_shape: Sequence[int] = (1, 8, 8),
        K: int = 32,
        D: int = 8,
        *,
        hidden: int = 32,
        inner: int | None = None,
        halvings: int = 2,
        likelihood: Likelihood | None = None,
        ema_decay: float | None = 0.99,
        prior_hidden: int = 32,
    ) -> VQVAE:
        """The networks of section 4.1 at any size: H and W of the image divisible by 2^halvings; Bernoulli pixels."""
        C, H, W = event_shape
        if H % 2**halvings or W % 2**halvings:
            raise ValueError(f"height and width must be divisible by {2**halvings}, got {H} × {W}")
        grid = (H // 2**halvings, W // 2**halvings)
        inner = hidden if inner is None else inner
        return cls(
            downwards(C, hidden, inner, halvings=halvings, blocks=2, out=D),
            upwards(D, hidden, inner, doublings=halvings, blocks=2, out=C),
            VectorQuantiser(K, D, ema_decay=ema_decay),
            Binomial() if likelihood is None else likelihood,
            event_shape=event_shape,
            grid=grid,
            prior=CodePrior(K, grid, hidden=prior_hidden),
        )

    @classmethod
    def paper(cls) -> VQVAE:
        """ImageNet at 128×128 (section 4.1, 4.2): 256 hidden units, a 32×32 grid of K = 512 codes.

        NOTE: the paper does not say D for images; 64 is that of the authors' example. The prior is PixelCNN-sized.
        """
        return cls.conv((3, 128, 128), 512, 64, hidden=256, likelihood=Gaussian(), prior_hidden=128)

    def encode(self, x: Tensor) -> Tensor:
        """The codes of x, long: (*B, *event) to (*B, *grid)."""
        flat, batch_shape = examples(x, self.event_shape)
        return restore_batch(self.quantiser.nearest(self.encoder(flat)), batch_shape)

    def loss(self, x: Tensor) -> VQLoss:
        """Eq. 3 on a batch x of shape (*B, *event); under EMA the codebook's term is told, not added."""
        flat, _ = examples(x, self.event_shape)
        q = self.quantiser(self.encoder(flat))
        nll = -self.likelihood.log_prob(flat, self.decoder(q.z_q)).mean() / math.prod(self.event_shape)
        moved = q.codebook_loss if self.quantiser.ema_decay is None else 0.0
        return VQLoss(nll + moved + self.beta * q.commitment_loss, nll, q.codebook_loss, q.commitment_loss)

    @torch.no_grad()
    def update_codebook(self, x: Tensor) -> None:
        """One EMA step of the codebook from a batch x of shape (*B, *event)."""
        z = self.encoder(examples(x, self.event_shape)[0])
        self.quantiser.update(z, self.quantiser.nearest(z))

    def log_prior(self, codes: Tensor) -> Tensor:
        """log p(k) in nats: long (N, *grid) to (N,)."""
        if self.prior is None:
            uniform = -math.prod(self.grid) * math.log(self.quantiser.K)
            return self.quantiser.codebook.new_full((len(codes),), uniform)
        return self.prior.log_prob(codes)

    def prior_loss(self, x: Tensor) -> Tensor:
        """−log p(k(x)), the mean over the batch, shape (), nats: trains the prior and nothing else."""
        with torch.no_grad():
            codes = self.encode(examples(x, self.event_shape)[0])
        return -self.log_prior(codes).mean()

    def elbo(self, x: Tensor, *, generator: Generator | None = None) -> Elbo:
        """log p(x | z_q(x)) + log p(k(x)), a bound of log p(x) with nothing drawn: (*B, *event) to (*B,), nats."""
        flat, batch_shape = examples(x, self.event_shape)
        q = self.quantiser(self.encoder(flat))
        reconstruction = self.likelihood.log_prob(flat, self.decoder(q.z_q))
        kl = -self.log_prior(q.codes)
        return as_elbo(reconstruction, kl, batch_shape)

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n draws, shape (n, *event_shape): codes from the prior, x from the likelihood at their vectors."""
        with evaluating(self):
            device = self.quantiser.codebook.device
            if self.prior is None:
                codes = torch.randint(self.quantiser.K, (n, *self.grid), generator=generator, device=device)
            else:
                codes = self.prior.sample(n, generator=generator)
            return self.likelihood.sample(self.decoder(self.quantiser.lookup(codes)), generator=generator)
