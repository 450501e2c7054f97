"""The variational autoencoder: a latent-variable model trained through a lower bound whose posterior is a network.

Model p(x, z) = p(z) p(x | z). The posterior p(z | x) is intractable, so one network (the encoder) maps *every* x to the
parameters of an approximation q(z | x): inference is amortised over the data. The bound, in its three forms,

    L(x) = log p(x) − KL(q(z|x) ‖ p(z|x))                eq. 1    tight exactly when q is the posterior
         = E_q[log p(x, z)] + H(q(z|x))                  eq. 2    free energy: expected complete likelihood + entropy
         = E_q[log p(x | z)] − KL(q(z|x) ‖ p(z))         eq. 3    reconstruction minus rate

and its gradient goes through the sample, z = μ(x) + σ(x) ε with ε ~ N(0, I)  (eq. 4), instead of through the density it
is drawn from: the reparametrisation. Estimator A (eq. 6) samples log p(x, z) − log q(z|x); estimator B (eq. 7) samples
the reconstruction alone and takes the KL in closed form (eq. 10).

Every part is an argument: encoder, decoder, prior and likelihood. Richer families replace one of them. The first form
needs log p(x) and p(z|x): `ppca.py` has both, and is the oracle of this file.

Auto-Encoding Variational Bayes (Kingma, Welling, 2014), https://arxiv.org/abs/1312.6114
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Generator, Tensor, nn

from reference_models.latent.bounds import as_elbo, examples
from reference_models.parts.distributions import normal_kl, normal_log_prob, standard_normal
from reference_models.parts.likelihoods import Binomial, Likelihood
from reference_models.parts.networks import MLP, Activation
from reference_models.parts.require import at_least, ends_with, has_shape, one_of
from reference_models.parts.shapes import sum_event
from reference_models.parts.training import evaluating
from reference_models.protocols import Density, Elbo

Form = Literal["analytic", "entropy", "sampled"]


@dataclass(frozen=True)
class Draw:
    """Samples of q(z | x): `z`, shape (S, N, d), and `log_prob` = log q(z | x) of each in nats, shape (S, N)."""

    z: Tensor
    log_prob: Tensor


class Posterior(Protocol):
    """q(z | x) of a batch of N examples, differentiable through its samples."""

    def draw(self, samples: int, *, generator: Generator | None = None, noise: Tensor | None = None) -> Draw:
        """`samples` reparametrised draws for each example; `noise`, shape (S, N, d), is used where given."""
        ...


@dataclass(frozen=True)
class GaussianPosterior:
    """q(z | x) = N(mean, diag exp(2 log_std)); both of shape (N, d)."""

    mean: Tensor
    log_std: Tensor

    def draw(self, samples: int, *, generator: Generator | None = None, noise: Tensor | None = None) -> Draw:
        """z = μ + σ ε (eq. 4), with an ε of its own for each draw and each example."""
        if noise is None:
            noise = standard_normal((samples, *self.mean.shape), self.mean, generator)
        has_shape("noise", noise, (samples, *self.mean.shape))
        z = self.mean + self.log_std.exp() * noise
        return Draw(z, self.log_prob(z))

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z | x) in nats: (..., N, d) to (..., N)."""
        return sum_event(normal_log_prob(z, self.mean, self.log_std), 1)

    def entropy(self) -> Tensor:
        """H(q(z|x)) = Σ_j [log σ_j + ½ log 2πe] in nats, shape (N,)."""
        return sum_event(self.log_std + 0.5 * math.log(2 * math.pi * math.e), 1)

    def kl_to_standard_normal(self) -> Tensor:
        """KL(q(z|x) ‖ N(0, I)) in nats, summed over d, shape (N,) (eq. 10 and appendix B)."""
        return sum_event(normal_kl(self.mean, self.log_std), 1)

    def detach(self) -> "GaussianPosterior":
        """The same distribution whose parameters no gradient reaches."""
        return GaussianPosterior(self.mean.detach(), self.log_std.detach())


class GaussianEncoder(nn.Module):
    """Turns a network's output (N, 2d), means before log standard deviations, into a GaussianPosterior."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> GaussianPosterior:
        parameters: Tensor = self.net(x)
        if parameters.ndim != 2 or parameters.shape[1] % 2:
            raise ValueError(f"the encoder's output must have shape (N, 2d), got {tuple(parameters.shape)}")
        mean, log_std = parameters.chunk(2, dim=1)  # (N, d) each
        return GaussianPosterior(mean, log_std)


class StandardNormal(nn.Module):
    """The prior p(z) = N(0, I) in `dim` dimensions."""

    origin: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        at_least("dim", dim, 1)
        self.register_buffer("origin", torch.zeros(dim), persistent=False)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats: (..., dim) to (...)."""
        ends_with("z", z, self.origin.shape)
        return sum_event(normal_log_prob(z, self.origin, torch.zeros_like(self.origin)), 1)

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n draws, shape (n, dim)."""
        return standard_normal((n, *self.origin.shape), self.origin, generator)


class VAE(nn.Module):
    """p(x, z) = prior(z) likelihood(x | decoder(z)) with q(z | x) = encoder(x).

    Args:
        encoder: x (N, *event_shape) to a Posterior of N examples.
        decoder: z (N, d) to h (N, ...), what the likelihood wants.
        prior: anything with `log_prob(z)` for z (..., d), and `sample(n, generator=)`.
        likelihood: a Likelihood.
        event_shape: the shape of one x, e.g. (1, 8, 8).
    """

    def __init__(
        self,
        encoder: Callable[[Tensor], Posterior],
        decoder: Callable[[Tensor], Tensor],
        prior: Density,
        likelihood: Likelihood,
        *,
        event_shape: Sequence[int],
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.prior, self.likelihood = encoder, decoder, prior, likelihood
        self.event_shape = tuple(event_shape)

    def posterior(self, x: Tensor) -> Posterior:
        """q(z | x); x: (N, *event_shape), or one example, which counts as N = 1."""
        return self.encoder(examples(x, self.event_shape)[0])

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z) in nats: x (N, *event_shape) and z (S, N, d) to (S, N)."""
        S, N, _ = z.shape
        h = self.decoder(z.flatten(0, 1))  # (S * N, ...)
        repeated = x.expand(S, *x.shape).flatten(0, 1)  # (S * N, *event_shape)
        return self.likelihood.log_prob(repeated, h).view(S, N)

    def elbo(
        self,
        x: Tensor,
        *,
        samples: int = 1,
        form: Form | None = None,
        generator: Generator | None = None,
        noise: Tensor | None = None,
    ) -> Elbo:
        """An unbiased estimate of the bound with its parts, each (*B,), nats, summed over dimensions.

        Args:
            x: data, shape (*B, *event_shape).
            samples: how many draws of z the expectations are averaged over.
            form: "analytic" (estimator B: closed-form KL), "entropy" (closed-form entropy, sampled prior) or "sampled"
                (estimator A). Without it: analytic where both q and the prior are Gaussian, else sampled.
            noise: ε of the draws, shape (samples, N, d).

        Raises:
            ValueError: x does not fit event_shape; a closed form is asked for that does not exist.
        """
        at_least("samples", samples, 1)
        flat, batch_shape = examples(x, self.event_shape)
        q = self.posterior(flat)
        draw = q.draw(samples, generator=generator, noise=noise)
        reconstruction = self.log_likelihood(flat, draw.z).mean(dim=0)
        return as_elbo(reconstruction, self._kl(q, draw, form), batch_shape)

    def _kl(self, q: Posterior, draw: Draw, form: Form | None) -> Tensor:
        """KL(q(z|x) ‖ p(z)), shape (N,), in closed form or from the draws."""
        one_of("form", form, (None, "analytic", "entropy", "sampled"))
        if isinstance(q, GaussianPosterior) and isinstance(self.prior, StandardNormal) and form in (None, "analytic"):
            return q.kl_to_standard_normal()
        if isinstance(q, GaussianPosterior) and form == "entropy":
            return -q.entropy() - self.prior.log_prob(draw.z).mean(dim=0)
        if form in (None, "sampled"):
            return (draw.log_prob - self.prior.log_prob(draw.z)).mean(dim=0)
        wanted = "a Gaussian posterior" + (" and a standard normal prior" if form == "analytic" else "")
        raise ValueError(f"the {form} form needs {wanted}, got {type(q).__name__} and {type(self.prior).__name__}")

    def log_weights(
        self, x: Tensor, samples: int, *, generator: Generator | None = None, noise: Tensor | None = None
    ) -> Tensor:
        """log w_k = log p(x, z_k) − log q(z_k | x), z_k ~ q(z | x), in nats: (*B, *event) to (samples, *B)."""
        at_least("samples", samples, 1)
        flat, batch_shape = examples(x, self.event_shape)
        draw = self.posterior(flat).draw(samples, generator=generator, noise=noise)
        log_w = self.log_likelihood(flat, draw.z) + self.prior.log_prob(draw.z) - draw.log_prob
        return log_w.view(samples, *batch_shape)

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n draws of p(x), shape (n, *event_shape): z from the prior, x from the likelihood (not its mean)."""
        with evaluating(self):
            z = self.prior.sample(n, generator=generator)
            return self.likelihood.sample(self.decoder(z), generator=generator)

    def reconstruct(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """A draw of p(x' | z) with z ~ q(z | x), the shape of x."""
        with evaluating(self):
            h = self.decoder(self.posterior(x).draw(1, generator=generator).z[0])
            return self.likelihood.sample(h, generator=generator).view(x.shape)


def mlp_vae(
    event_shape: Sequence[int] = (1, 8, 8),
    latent_dim: int = 8,
    hidden: Sequence[int] = (128,),
    *,
    likelihood: Likelihood | None = None,
    prior: Density | None = None,
    activation: Activation = nn.SiLU,
) -> VAE:
    """A VAE with MLPs on both sides, mirrored; Bernoulli pixels and a standard normal prior unless told."""
    pixels = math.prod(event_shape)
    encoder = nn.Sequential(nn.Flatten(), MLP(pixels, hidden, 2 * latent_dim, activation))
    decoder = nn.Sequential(
        MLP(latent_dim, tuple(reversed(hidden)), pixels, activation), nn.Unflatten(1, tuple(event_shape))
    )
    return VAE(
        GaussianEncoder(encoder),
        decoder,
        StandardNormal(latent_dim) if prior is None else prior,
        Binomial() if likelihood is None else likelihood,
        event_shape=event_shape,
    )


def paper_vae(latent_dim: int = 20) -> VAE:
    """The MNIST model of section 5: one tanh layer of 500 units in encoder and decoder, Bernoulli pixels."""
    return mlp_vae((1, 28, 28), latent_dim, (500,), activation=nn.Tanh)
