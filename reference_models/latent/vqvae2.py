"""VQ-VAE-2: codes on two grids, a coarse one for what the image shows and a fine one for its texture.

    h = E_bottom(x)                                      features of x on the fine grid
    e_top    = quantise(E_top(h))
    e_bottom = quantise(h and D_top(e_top))              the fine codes say what the coarse ones leave out
    x̂        = D(e_top, e_bottom)

Training is that of VQ-VAE with EMA codebooks; then two priors are fitted, p(top), with attention over the whole coarse
grid, and p(bottom | top), convolutional, which reads the top codes through residual blocks. Images are sampled top →
bottom → pixels.

Generating Diverse High-Fidelity Images with VQ-VAE-2 (Razavi, van den Oord, Vinyals, 2019), section 3 and the tables of
its appendix, https://arxiv.org/abs/1906.00446
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from reference_models.latent.bounds import as_elbo, examples
from reference_models.latent.code_prior import CodePrior
from reference_models.latent.vector_quantiser import Quantised, VectorQuantiser
from reference_models.latent.vqvae import VQLoss, downwards, residual_block, upwards
from reference_models.parts.likelihoods import Binomial, Gaussian, Likelihood
from reference_models.parts.require import at_least
from reference_models.parts.shapes import restore_batch
from reference_models.parts.training import evaluating
from reference_models.protocols import Elbo


@dataclass(frozen=True)
class Codes:
    """The codes of images: `top`, long (*B, H_t, W_t), and `bottom`, long (*B, 2 H_t, 2 W_t)."""

    top: Tensor
    bottom: Tensor


@dataclass(frozen=True)
class TwoLevels:
    """What quantising x gives on both levels, and what was quantised: `z_top`, `z_bottom`, (N, D, *S) each."""

    top: Quantised
    bottom: Quantised
    z_top: Tensor
    z_bottom: Tensor


class ConditionalPrior(nn.Module):
    """p(bottom | top): the top codes, embedded, through residual blocks and doubled in size, condition a CodePrior."""

    def __init__(self, K: int, prior: CodePrior, *, blocks: int, inner: int) -> None:
        super().__init__()
        channels = prior.condition_channels
        at_least("condition_channels", channels, 1)
        self.prior = prior
        self.embedding = nn.Embedding(K, channels)
        self.stack = nn.Sequential(*(residual_block(channels, inner) for _ in range(blocks)))
        self.up = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1)

    def condition(self, top: Tensor) -> Tensor:
        """The map every layer of the prior sees: long (N, H, W) to (N, C, 2H, 2W)."""
        return self.up(self.stack(self.embedding(top).movedim(-1, 1)))

    def log_prob(self, bottom: Tensor, *, condition: Tensor) -> Tensor:
        """log p(bottom | top) in nats; `condition` is top: long (N, 2H, 2W) and (N, H, W) to (N,)."""
        return self.prior.log_prob(bottom, condition=self.condition(condition))

    def sample(self, n: int, *, condition: Tensor, generator: Generator | None = None) -> Tensor:
        """One bottom grid for each of n top grids."""
        with evaluating(self):
            return self.prior.sample(n, condition=self.condition(condition), generator=generator)


class VQVAE2(nn.Module):
    """Two levels on images (C, H, W), the bottom grid H / 2^halvings high, the top grid half of that.

    K, D: codes and their dimension, on each level. hidden, inner, blocks: of the convolutional networks. top_prior,
    bottom_prior: small ones unless given. beta: the commitment's weight.
    """

    def __init__(
        self,
        event_shape: Sequence[int] = (1, 8, 8),
        K: int = 32,
        D: int = 8,
        *,
        hidden: int = 32,
        inner: int = 16,
        blocks: int = 2,
        halvings: int = 1,
        likelihood: Likelihood | None = None,
        top_prior: CodePrior | None = None,
        bottom_prior: ConditionalPrior | None = None,
        ema_decay: float | None = 0.99,
        beta: float = 0.25,
    ) -> None:
        super().__init__()
        C, H, W = self.event_shape = tuple(event_shape)
        if H % 2 ** (halvings + 1) or W % 2 ** (halvings + 1):
            raise ValueError(f"height and width must be divisible by {2 ** (halvings + 1)}, got {H} × {W}")
        at_least("beta", beta, 0)
        self.bottom_grid = (H // 2**halvings, W // 2**halvings)
        self.top_grid = (self.bottom_grid[0] // 2, self.bottom_grid[1] // 2)
        sizes = {"hidden": hidden, "inner": inner, "blocks": blocks}
        self.encode_bottom = downwards(C, **sizes, halvings=halvings, out=hidden)
        self.encode_top = downwards(hidden, **sizes, halvings=1, out=D)
        self.decode_top = upwards(D, **sizes, doublings=1, out=D)
        self.merge = nn.Conv2d(hidden + D, D, 1)
        self.quantise_top, self.quantise_bottom = (VectorQuantiser(K, D, ema_decay=ema_decay) for _ in range(2))
        self.raise_top = nn.ConvTranspose2d(D, D, 4, stride=2, padding=1)
        self.decoder = upwards(2 * D, **sizes, doublings=halvings, out=C)
        self.likelihood = Binomial() if likelihood is None else likelihood
        self.top_prior = top_prior or CodePrior(K, self.top_grid, hidden=hidden, attention_layers=1)
        self.bottom_prior = bottom_prior or ConditionalPrior(
            K, CodePrior(K, self.bottom_grid, hidden=hidden, condition_channels=hidden), blocks=1, inner=inner
        )
        self.beta = beta

    @classmethod
    def paper(cls) -> VQVAE2:
        """ImageNet at 256×256: grids 32×32 and 64×64, K = 512, D = 64, and the two priors of the appendix."""
        top = CodePrior(
            512,
            (32, 32),
            hidden=512,
            inner=2048,
            layers=20,
            kernel_size=5,
            attention_layers=4,
            heads=8,
            output_layers=20,
            dropout=0.1,
        )
        bottom = CodePrior(
            512, (64, 64), hidden=512, inner=1024, layers=20, kernel_size=5, condition_channels=512, dropout=0.1
        )
        return cls(
            (3, 256, 256),
            512,
            64,
            hidden=128,
            inner=64,
            halvings=2,
            likelihood=Gaussian(),
            top_prior=top,
            bottom_prior=ConditionalPrior(512, bottom, blocks=20, inner=1024),
        )

    def quantise(self, x: Tensor) -> TwoLevels:
        """Both levels' vectors, codes and losses; x: (N, *event)."""
        h_bottom = self.encode_bottom(x)  # (N, hidden, *bottom_grid)
        z_top = self.encode_top(h_bottom)
        top = self.quantise_top(z_top)
        z_bottom = self.merge(torch.cat([h_bottom, self.decode_top(top.z_q)], dim=1))
        return TwoLevels(top, self.quantise_bottom(z_bottom), z_top, z_bottom)

    def decode(self, e_top: Tensor, e_bottom: Tensor) -> Tensor:
        """The likelihood's h from the vectors of both levels, (N, D, *S) each."""
        return self.decoder(torch.cat([self.raise_top(e_top), e_bottom], dim=1))

    def encode(self, x: Tensor) -> Codes:
        """The codes of x, (*B, *event)."""
        flat, batch_shape = examples(x, self.event_shape)
        levels = self.quantise(flat)
        return Codes(restore_batch(levels.top.codes, batch_shape), restore_batch(levels.bottom.codes, batch_shape))

    def loss(self, x: Tensor) -> VQLoss:
        """The loss of VQ-VAE on both levels, each term the sum of theirs; x: (*B, *event)."""
        flat, _ = examples(x, self.event_shape)
        levels = self.quantise(flat)
        h = self.decode(levels.top.z_q, levels.bottom.z_q)
        nll = -self.likelihood.log_prob(flat, h).mean() / math.prod(self.event_shape)
        codebook = levels.top.codebook_loss + levels.bottom.codebook_loss
        commitment = levels.top.commitment_loss + levels.bottom.commitment_loss
        moved = codebook if self.quantise_top.ema_decay is None else 0.0
        return VQLoss(nll + moved + self.beta * commitment, nll, codebook, commitment)

    @torch.no_grad()
    def update_codebooks(self, x: Tensor) -> None:
        """One EMA step of both codebooks from a batch x of shape (*B, *event)."""
        levels = self.quantise(examples(x, self.event_shape)[0])
        self.quantise_top.update(levels.z_top, levels.top.codes)
        self.quantise_bottom.update(levels.z_bottom, levels.bottom.codes)

    def log_prior(self, codes: Codes) -> Tensor:
        """log p(top) + log p(bottom | top) in nats: codes of N images to (N,)."""
        return self.top_prior.log_prob(codes.top) + self.bottom_prior.log_prob(codes.bottom, condition=codes.top)

    def prior_loss(self, x: Tensor) -> Tensor:
        """−log p(codes of x), the mean over the batch, shape (), nats: trains the priors and nothing else."""
        with torch.no_grad():
            codes = self.encode(examples(x, self.event_shape)[0])
        return -self.log_prior(codes).mean()

    def elbo(self, x: Tensor, *, generator: Generator | None = None) -> Elbo:
        """log p(x | codes) + log p(codes), a bound of log p(x) with nothing drawn: (*B, *event) to (*B,), nats."""
        flat, batch_shape = examples(x, self.event_shape)
        levels = self.quantise(flat)
        reconstruction = self.likelihood.log_prob(flat, self.decode(levels.top.z_q, levels.bottom.z_q))
        kl = -self.log_prior(Codes(levels.top.codes, levels.bottom.codes))
        return as_elbo(reconstruction, kl, batch_shape)

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n images, shape (n, *event_shape): top codes, bottom codes given them, pixels given both."""
        with evaluating(self):
            top = self.top_prior.sample(n, generator=generator)
            bottom = self.bottom_prior.sample(n, condition=top, generator=generator)
            h = self.decode(self.quantise_top.lookup(top), self.quantise_bottom.lookup(bottom))
            return self.likelihood.sample(h, generator=generator)
