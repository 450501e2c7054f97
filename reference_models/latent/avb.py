"""Adversarial variational Bayes: an encoder without a density, and a discriminator in place of the KL.

The encoder is a network of x and noise, z = g(x, ε): any posterior, but log q(z | x) is unknown. A discriminator told
to separate pairs (x, z ~ q(z | x)) from (x, z ~ p(z)) finds what is missing:

    V(T) = E_p(x) [ E_q(z|x) log σ(T(x, z)) + E_p(z) log(1 - σ(T(x, z))) ]            (section 3, maximised over T)
    T*(x, z) = log q(z | x) - log p(z)                                                (proposition 1)
    L(x) = E_q [ log p(x | z) - T*(x, z) ]                                            (the bound)

Because E_q ∇_φ T* = 0 (proposition 2) the encoder's gradient passes through z alone, T held fixed. With adaptive
contrast the discriminator compares q not with the distant prior but with the Gaussian r of q's own mean and variance,
on codes normalised by them, and only the remainder is learned:

    L(x) = E_q [ log p(x, z) - log r(z | x) - T*(x, z̃) ],   z̃ = (z - μ_q(x)) / σ_q(x)        (section 4)

where T* = log q(z | x) - log r(z | x). The bound is as good as T: away from its optimum `elbo` is an estimate that may
lie above log p(x).

NOTE: the paper builds its encoder so that its moments are cheap; here they are estimated from draws of any encoder, an
error that T knows nothing of and that falls like 1/moment_samples.

"Adversarial Variational Bayes: Unifying Variational Autoencoders and Generative Adversarial Networks" (Mescheder,
Nowozin, Geiger, 2017), https://arxiv.org/abs/1701.04722
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_models.latent.bounds import as_elbo, examples
from reference_models.latent.vae import StandardNormal
from reference_models.parts.distributions import normal_log_prob, standard_normal
from reference_models.parts.likelihoods import Binomial, Likelihood
from reference_models.parts.networks import MLP
from reference_models.parts.require import at_least, has_shape
from reference_models.parts.training import evaluating, freeze
from reference_models.protocols import Elbo


class ImplicitEncoder(nn.Module):
    """z = g(x, ε) with ε ~ N(0, I): samples of q(z | x), no density.

    Args:
        net: (N, pixels + noise_dim), x flattened and then ε, to (N, d).
        noise_dim: length of ε.
    """

    def __init__(self, net: nn.Module, noise_dim: int) -> None:
        super().__init__()
        at_least("noise_dim", noise_dim, 1)
        self.net, self.noise_dim = net, noise_dim

    def draw(
        self, x: Tensor, samples: int, *, generator: Generator | None = None, noise: Tensor | None = None
    ) -> Tensor:
        """x: (N, *event_shape) to codes (S, N, d), S = samples for each x; noise: (S, N, noise_dim)."""
        shape = (samples, len(x), self.noise_dim)
        eps = standard_normal(shape, x, generator) if noise is None else noise
        has_shape("noise", eps, shape)
        inputs = torch.cat([x.flatten(1).expand(samples, -1, -1), eps], dim=-1)  # (S, N, pixels + noise)
        z: Tensor = self.net(inputs.flatten(0, 1))
        return z.view(samples, len(x), -1)


class PairNet(nn.Module):
    """T(x, z) by a perceptron of both side by side: x (N, *event_shape), z (N, d) to (N,)."""

    def __init__(self, pixels: int, latent_dim: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.net = MLP(pixels + latent_dim, hidden, 1)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        t: Tensor = self.net(torch.cat([x.flatten(1), z], dim=-1))
        return t.squeeze(-1)


@dataclass(frozen=True)
class Moments:
    """Mean and log standard deviation of q(z | x) for each example, (N, d), constants for every gradient."""

    mean: Tensor
    log_std: Tensor

    def normalise(self, z: Tensor) -> Tensor:
        """z̃ = (z - μ) / σ, shape of z."""
        return (z - self.mean) * torch.exp(-self.log_std)


class AVB(nn.Module):
    """A latent-variable model with an implicit posterior.

    Args:
        event_shape: the shape of one x. latent_dim: d. noise_dim: length of the encoder's noise.
        hidden: widths of encoder, mirrored decoder and discriminator.
        likelihood: Bernoulli pixels unless told.
        adaptive_contrast: compare q with the Gaussian of its moments instead of the prior.
        moment_samples: draws from which those moments are estimated.
    """

    def __init__(
        self,
        event_shape: Sequence[int] = (1, 8, 8),
        latent_dim: int = 2,
        noise_dim: int = 4,
        hidden: Sequence[int] = (128, 128),
        *,
        likelihood: Likelihood | None = None,
        adaptive_contrast: bool = False,
        moment_samples: int = 32,
    ) -> None:
        super().__init__()
        at_least("moment_samples", moment_samples, 2)
        self.event_shape, self.latent_dim = tuple(event_shape), latent_dim
        self.adaptive_contrast, self.moment_samples = adaptive_contrast, moment_samples
        pixels = math.prod(event_shape)
        self.encoder = ImplicitEncoder(MLP(pixels + noise_dim, hidden, latent_dim), noise_dim)
        self.decoder: nn.Module = nn.Sequential(
            MLP(latent_dim, tuple(reversed(hidden)), pixels), nn.Unflatten(1, self.event_shape)
        )
        self.discriminator: nn.Module = PairNet(pixels, latent_dim, hidden)
        self.prior = StandardNormal(latent_dim)
        self.likelihood: Likelihood = Binomial() if likelihood is None else likelihood

    def model_parameters(self) -> list[nn.Parameter]:
        """What `loss` trains: all parameters but the discriminator's."""
        adversary = set(self.discriminator.parameters())
        return [p for p in self.parameters() if p not in adversary]

    @torch.no_grad()
    def moments(self, x: Tensor, *, generator: Generator | None = None) -> Moments:
        """Mean and standard deviation of the encoder's draws for each x, (N, *event_shape)."""
        z = self.encoder.draw(x, self.moment_samples, generator=generator)
        return Moments(z.mean(0), z.std(0).clamp(min=1e-6).log())

    def discriminator_loss(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Minus V(T), batch mean, nats: only the discriminator gets a gradient. x: (N, *event_shape)."""
        x, _ = examples(x, self.event_shape)
        with torch.no_grad():
            z_q = self.encoder.draw(x, 1, generator=generator)[0]
            if self.adaptive_contrast:
                z_q = self.moments(x, generator=generator).normalise(z_q)
            z_p = standard_normal(z_q.shape, z_q, generator)
        return contrast_loss(self.discriminator(x, z_q), self.discriminator(x, z_p))

    def elbo(
        self,
        x: Tensor,
        *,
        samples: int = 1,
        generator: Generator | None = None,
        noise: Tensor | None = None,
    ) -> Elbo:
        """L(x) by draws of the encoder, with its parts, each (*B,), nats; kl is the mean of T, or of T + log r - log p
        with adaptive contrast.

        Gradients reach encoder, decoder and likelihood, never the discriminator. noise: (samples, N, noise_dim).
        """
        at_least("samples", samples, 1)
        flat, batch = examples(x, self.event_shape)
        z = self.encoder.draw(flat, samples, generator=generator, noise=noise)  # (S, N, d)
        repeated = flat.expand(samples, *flat.shape).flatten(0, 1)  # (S·N, *event_shape)
        codes, offset = z, torch.zeros_like(z[..., 0])
        if self.adaptive_contrast:
            r = self.moments(flat, generator=generator)
            codes = r.normalise(z)
            offset = normal_log_prob(z, r.mean, r.log_std).sum(-1) - self.prior.log_prob(z)
        with freeze(self.discriminator):
            t: Tensor = self.discriminator(repeated, codes.flatten(0, 1))
        kl = (t.view(samples, -1) + offset).mean(0)
        h: Tensor = self.decoder(z.flatten(0, 1))
        reconstruction = self.likelihood.log_prob(repeated, h).view(samples, -1).mean(0)
        return as_elbo(reconstruction, kl, batch)

    def loss(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """-L, batch mean, nats, for `model_parameters`."""
        return -self.elbo(x, generator=generator).value.mean()

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n draws of p(x), (n, *event_shape)."""
        at_least("n", n, 1)
        with evaluating(self):
            h: Tensor = self.decoder(self.prior.sample(n, generator=generator))
            return self.likelihood.sample(h, generator=generator)


def contrast_loss(t_q: Tensor, t_p: Tensor) -> Tensor:
    """-mean log σ(t_q) - mean log(1 - σ(t_p)) in nats: least at T = log q/p, where it is 2 log 2 - 2 JS(q, p).

    t_q, t_p: T at pairs with codes of the posterior and of what it is compared with, (N,) each.
    """
    return F.softplus(-t_q).mean() + F.softplus(t_p).mean()
