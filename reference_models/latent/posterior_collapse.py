"""Posterior collapse, and the three guards against it: free bits, an annealed KL, a decoder made weaker.

When the decoder models x well without z, the bound is best served by q(z|x) = p(z): a rate of zero and a code that
says nothing. Each guard changes the objective only while training; `elbo` stays the honest bound.

    KL annealing      E_q log p(x|z) − w KL,   w from 0 to 1 with the step                   Bowman et al., section 3
    word dropout      of the x_{<i} that the decoder sees, each is hidden with some chance   Bowman et al., section 3
    limited context   the decoder sees only the last few x_j: the rest must come through z   Chen et al., section 3
    free bits         E_q log p(x|z) − Σ_j max(λ, mean_n KL_j(x_n)): a group pays for λ nats whether it uses them or
                      not, and below them no gradient pushes it to say less                  Kingma et al., eq. 15

The decoder here is p(x|z) = Π_i σ(h_i(z) + f_i(x_{i−w}, …, x_{i−1})), f_i a small perceptron of its own for each pixel:
a code, and a window of w earlier pixels that may be enough without it.

Generating Sentences from a Continuous Space (Bowman et al., 2016), https://arxiv.org/abs/1511.06349; Variational Lossy
Autoencoder (Chen et al., 2017), https://arxiv.org/abs/1611.02731; Improving Variational Inference with Inverse
Autoregressive Flow (Kingma et al., 2016), https://arxiv.org/abs/1606.04934; Cyclical Annealing Schedule: A Simple
Approach to Mitigating KL Vanishing (Fu et al., 2019), https://arxiv.org/abs/1903.10145
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_models.latent.vae import VAE, GaussianEncoder, GaussianPosterior, StandardNormal
from reference_models.parts.distributions import bernoulli_log_prob, normal_kl
from reference_models.parts.masked import MaskedLinear
from reference_models.parts.networks import MLP
from reference_models.parts.require import at_least, within
from reference_models.parts.shapes import flatten_batch
from reference_models.protocols import Elbo


def linear_weight(step: int, warm_up: int) -> float:
    """w at `step` ≥ 0: from 0 up to 1 at `warm_up` steps, 1 from there on."""
    at_least("warm_up", warm_up, 1)
    return min(step / warm_up, 1.0)


def sigmoid_weight(step: int, centre: int, width: float) -> float:
    """w = σ((step − centre) / width), the shape of Bowman et al., figure 2."""
    if not width > 0:
        raise ValueError(f"width must be positive, got {width}")
    return 1 / (1 + math.exp(-(step - centre) / width))


def cyclical_weight(step: int, period: int, ramp: float = 0.5) -> float:
    """w rises linearly from 0 to 1 over the first `ramp` of each period and stays 1 for the rest (Fu et al.)."""
    at_least("period", period, 1)
    within("ramp", ramp, 0, 1, "(]")
    return min((step % period) / period / ramp, 1.0)


def free_bits(kl: Tensor, floor: float) -> Tensor:
    """Σ_j max(λ, mean over the batch of KL_j), shape (), nats (Kingma et al., eq. 15).

    kl: the rate of each example in each group of latents, (N, groups); floor: λ ≥ 0, nats per group.
    """
    at_least("floor", floor, 0)
    if kl.ndim != 2:
        raise ValueError(f"kl must have shape (N, groups), got {tuple(kl.shape)}")
    return kl.mean(dim=0).clamp_min(floor).sum()


def active_units(mean: Tensor, threshold: float = 0.01) -> Tensor:
    """How many coordinates of the code move with x: those where Var_x E_q z_j exceeds the threshold; shape (), long.

    mean: E_q z of N examples, (N, d). The threshold is that of Importance Weighted Autoencoders (Burda et al., 2016).
    """
    at_least("the batch size", len(mean), 2)
    return (mean.var(dim=0, correction=0) > threshold).sum()


class WindowedBernoulli(nn.Module):
    """Binary pixels in raster order, each given h and the `window` pixels before it; 0 is a factorised decoder.

    event_shape: the shape of x, D pixels in all; 0 ≤ window ≤ D − 1. units: hidden units of each pixel's f_i.
    """

    def __init__(self, event_shape: Sequence[int], window: int, units: int = 8) -> None:
        super().__init__()
        D = math.prod(event_shape)
        if not 0 <= window < D:
            raise ValueError(f"window must lie in 0..{D - 1}, got {window}")
        self.event_shape, self.window = tuple(event_shape), window
        back = torch.arange(D)[:, None] - torch.arange(D)  # (D, D): how far j lies before i
        mask = ((back >= 1) & (back <= window)).repeat_interleave(units, dim=0)  # (D * units, D)
        self.context = MaskedLinear(D, D * units, mask, bias=False)
        self.out = nn.Parameter(torch.zeros(D, units))

    def log_prob(self, x: Tensor, h: Tensor, *, keep: Tensor | None = None) -> Tensor:
        """log p(x | h) in nats: x in {0, 1} (N, *event), logits h of the same size to (N,).

        keep: bool, (N, *event); pixels where it is false are hidden from those after them (word dropout).
        """
        if not bool(((x == 0) | (x == 1)).all()):
            raise ValueError(f"every pixel must be 0 or 1, got values in [{float(x.min()):g}, {float(x.max()):g}]")
        return bernoulli_log_prob(x.flatten(1), self.logits(x, h, keep=keep)).sum(dim=1)

    def logits(self, x: Tensor, h: Tensor, *, keep: Tensor | None = None) -> Tensor:
        """h_i + f_i(x_{i−w}, …, x_{i−1}), shape (N, D); arguments as `log_prob` takes them."""
        seen = 2 * x - 1  # so that a hidden pixel, 0, is neither black nor white
        if keep is not None:
            seen = seen * keep
        hidden: Tensor = F.silu(self.context(seen.flatten(1)))  # (N, D * units)
        return h.flatten(1) + (hidden.reshape(len(x), *self.out.shape) * self.out).sum(dim=-1)

    def sample(self, h: Tensor, *, generator: Generator | None = None) -> Tensor:
        """One x ~ p(x | h) for each row of h, (N, *event): D steps, each through one pixel's f_i."""
        h = h.flatten(1)
        W = (self.context.mask * self.context.weight).reshape(*self.out.shape, -1)  # (D, units, D)
        u = torch.rand(h.shape, generator=generator, device=h.device, dtype=h.dtype)
        x = torch.zeros_like(h)
        for i in range(h.shape[1]):
            hidden = F.silu((2 * x[:, :i] - 1) @ W[i, :, :i].T)  # (N, units)
            logit = h[:, i] + hidden @ self.out[i]
            x[:, i] = (u[:, i] < logit.sigmoid()).to(h.dtype)
        return x.reshape(-1, *self.event_shape)


class GuardedVAE(VAE):
    """A VAE of binary images whose decoder may be strong enough to do without z, and the guards against that.

    window: how many earlier pixels the decoder sees; D − 1 is all of them. latent_dim, hidden: MLPs on both sides.
    """

    def __init__(
        self,
        event_shape: Sequence[int] = (1, 8, 8),
        window: int = 63,
        *,
        latent_dim: int = 8,
        hidden: Sequence[int] = (128,),
    ) -> None:
        D = math.prod(event_shape)
        encoder = nn.Sequential(nn.Flatten(), MLP(D, hidden, 2 * latent_dim))
        decoder = MLP(latent_dim, tuple(reversed(hidden)), D)
        super().__init__(
            GaussianEncoder(encoder),
            decoder,
            StandardNormal(latent_dim),
            WindowedBernoulli(event_shape, window),
            event_shape=event_shape,
        )

    def objective(
        self,
        x: Tensor,
        *,
        weight: float = 1.0,
        floor: float = 0.0,
        dropout: float = 0.0,
        generator: Generator | None = None,
        noise: Tensor | None = None,
    ) -> Elbo:
        """What training maximises, each part the mean over the batch, shape (), nats: value = reconstruction − kl.

        x: (*B, *event). weight: w of the annealed KL, which multiplies the rate after free bits. floor: λ nats for each
        latent coordinate. dropout: the chance that a pixel is hidden from the decoder. noise: (1, N, d).
        """
        within("dropout", dropout, 0, 1)
        flat, _ = flatten_batch(x, len(self.event_shape))
        q = cast(GaussianPosterior, self.posterior(x))
        h = self.decoder(q.draw(1, generator=generator, noise=noise).z[0])  # (N, D)
        keep = None
        if dropout:
            u = torch.rand(flat.shape, generator=generator, device=x.device, dtype=x.dtype)
            keep = u >= dropout
        reconstruction = cast(WindowedBernoulli, self.likelihood).log_prob(flat, h, keep=keep).mean()
        rate = weight * free_bits(normal_kl(q.mean, q.log_std), floor)
        return Elbo(reconstruction - rate, reconstruction, rate)
