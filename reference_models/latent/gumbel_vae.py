"""Discrete VAE with Gumbel-softmax: categorical codes that gradients pass through.

A draw from a categorical law is an argmax of perturbed logits; a softmax at temperature τ in its place is
differentiable, close to the draw for small τ, and exactly the draw in the limit:

    g_k = -log(-log u_k),  u_k ~ U(0, 1)
    z = one-hot(argmax_k (a_k + g_k)) ~ Cat(softmax(a))                                   (Jang, eq. 1)
    y = softmax((a + g) / τ)                                                              (Jang, eq. 2)
    log p(y) = log (K-1)! + (K-1) log τ + Σ_k (log π_k - (τ+1) log y_k) - K log Σ_k π_k y_k^-τ    (Jang, eq. 3)

The straight-through form decodes z but differentiates y. The code has L independent variables of K classes with a
uniform prior. The bound is that of discrete codes with the reconstruction relaxed ("categorical": KL in closed form) or
the bound of a model whose codes are relaxed themselves ("relaxed": both densities are Gumbel-softmax ones), the only
one of the two that is a bound at τ > 0.

"Categorical Reparameterization with Gumbel-Softmax" (Jang, Gu, Poole, 2017), https://arxiv.org/abs/1611.01144
"The Concrete Distribution: A Continuous Relaxation of Discrete Random Variables" (Maddison, Mnih, Teh, 2017), where
log y has the ExpConcrete distribution, https://arxiv.org/abs/1611.00712
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_models.latent.bounds import as_elbo, examples
from reference_models.parts.likelihoods import Binomial, Likelihood
from reference_models.parts.networks import MLP
from reference_models.parts.require import at_least, has_shape, one_of, positive
from reference_models.parts.shapes import restore_batch
from reference_models.parts.training import evaluating
from reference_models.protocols import Elbo

MOST_CODES = 4096  # L variables of K classes are enumerated up to this many codes


def gumbel_noise(shape: Sequence[int], like: Tensor, generator: Generator | None = None) -> Tensor:
    """Standard Gumbel noise with the device and dtype of `like`: -log(-log u), u uniform and never zero."""
    u = torch.rand(tuple(shape), generator=generator, device=like.device, dtype=like.dtype)
    return -torch.log(-torch.log(u.clamp(min=torch.finfo(u.dtype).tiny)))


def relaxed_log(logits: Tensor, temperature: float, noise: Tensor) -> Tensor:
    """log y of eq. 2, in logarithms because y underflows at small τ; all shapes (..., K)."""
    positive("temperature", temperature)
    return torch.log_softmax((logits + noise) / temperature, dim=-1)


def straight_through(y: Tensor) -> Tensor:
    """One-hot of the largest entry in value, y in gradient; (..., K) to (..., K)."""
    hard = F.one_hot(y.argmax(-1), y.shape[-1]).to(y.dtype)
    return hard + y - y.detach()


def relaxed_log_prob(log_y: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """Density of log y on its K - 1 dimensional surface, nats; (..., K) to (...).

    NOTE: the density of y (eq. 3) is this times Π_k 1/y_k; in a KL both densities carry the factor and it cancels.
    """
    K = log_y.shape[-1]
    score = torch.log_softmax(logits, dim=-1) - temperature * log_y
    constant = math.lgamma(K) + (K - 1) * math.log(temperature)
    return constant + score.sum(-1) - K * torch.logsumexp(score, dim=-1)


def annealed_temperature(step: int, rate: float = 3e-5, lowest: float = 0.5) -> float:
    """τ = max(0.5, exp(-r t)) at step t, the schedule of Jang et al., section 4; r is that of their example."""
    return max(lowest, math.exp(-rate * step))


class GumbelVAE(nn.Module):
    """p(x, z) = K^-L p(x | z) with z of L one-hot vectors of length K.

    Args:
        event_shape: the shape of one x.
        variables: L. classes: K >= 2.
        hidden: widths of the encoder; the decoder mirrors them.
        likelihood: Bernoulli pixels unless told.
    """

    def __init__(
        self,
        event_shape: Sequence[int] = (1, 8, 8),
        variables: int = 8,
        classes: int = 8,
        hidden: Sequence[int] = (128,),
        *,
        likelihood: Likelihood | None = None,
    ) -> None:
        super().__init__()
        at_least("variables", variables, 1)
        at_least("classes", classes, 2)
        self.event_shape, self.L, self.K = tuple(event_shape), variables, classes
        pixels = math.prod(event_shape)
        self.encoder = nn.Sequential(nn.Flatten(), MLP(pixels, hidden, variables * classes))
        self.decoder = nn.Sequential(
            MLP(variables * classes, tuple(reversed(hidden)), pixels), nn.Unflatten(1, self.event_shape)
        )
        self.likelihood: Likelihood = Binomial() if likelihood is None else likelihood

    @classmethod
    def mnist(cls) -> "GumbelVAE":
        """The authors' published example: 784-512-256-(30×10)-256-512-784. NOTE: there with ReLU, here with SiLU."""
        return cls((1, 28, 28), variables=30, classes=10, hidden=(512, 256))

    def logits(self, x: Tensor) -> Tensor:
        """Logits of q(z_l | x), x: (N, *event_shape) to (N, L, K)."""
        a: Tensor = self.encoder(x)
        return a.view(-1, self.L, self.K)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z) in nats; x: (N, *event_shape), z: (S, N, L, K), one-hot or relaxed, to (S, N)."""
        S, N = z.shape[:2]
        h: Tensor = self.decoder(z.reshape(S * N, self.L * self.K))
        return self.likelihood.log_prob(x.expand(S, *x.shape).flatten(0, 1), h).view(S, N)

    def elbo(
        self,
        x: Tensor,
        *,
        temperature: float = 0.5,
        hard: bool = False,
        form: Literal["categorical", "relaxed"] = "categorical",
        prior_temperature: float | None = None,
        samples: int = 1,
        generator: Generator | None = None,
        noise: Tensor | None = None,
    ) -> Elbo:
        """The bound estimated with relaxed codes, with its parts, each (*B,), nats.

        Args:
            x: data, (*B, *event_shape).
            temperature: τ > 0 of the posterior.
            hard: decode the straight-through one-hot in place of y; with form "categorical" the value is then an
                unbiased estimate of the true discrete bound, its gradient is not.
            form: the KL, see above. prior_temperature: τ of the relaxed prior, `temperature` unless given.
            noise: standard Gumbel, (samples, N, L, K).
        """
        at_least("samples", samples, 1)
        one_of("form", form, ("categorical", "relaxed"))
        if prior_temperature is None:
            prior_temperature = temperature
        else:
            positive("prior_temperature", prior_temperature)
        flat, batch = examples(x, self.event_shape)
        logits = self.logits(flat)
        if noise is None:
            noise = gumbel_noise((samples, *logits.shape), logits, generator)
        has_shape("noise", noise, (samples, *logits.shape))
        log_y = relaxed_log(logits, temperature, noise)  # (S, N, L, K)
        y = straight_through(log_y.exp()) if hard else log_y.exp()
        reconstruction = self.log_likelihood(flat, y).mean(0)
        if form == "categorical":
            kl = self.categorical_kl(logits)
        else:
            log_q = relaxed_log_prob(log_y, logits, temperature)  # (S, N, L)
            log_p = relaxed_log_prob(log_y, torch.zeros_like(logits), prior_temperature)
            kl = (log_q - log_p).sum(-1).mean(0)
        return as_elbo(reconstruction, kl, batch)

    def categorical_kl(self, logits: Tensor) -> Tensor:
        """Σ_l KL(q(z_l | x) ‖ uniform) = Σ_l Σ_k q log(q K) in nats; (N, L, K) to (N,)."""
        log_q = torch.log_softmax(logits, dim=-1)
        return (log_q.exp() * (log_q + math.log(self.K))).sum(dim=(-2, -1))

    def codes(self) -> Tensor:
        """All K^L codes, one-hot, (K^L, L, K). Raises ValueError beyond 4096 of them."""
        if self.K**self.L > MOST_CODES:
            raise ValueError(f"at most {MOST_CODES} codes are enumerated, got {self.K}^{self.L}")
        like = next(self.parameters())
        classes = torch.cartesian_prod(*[torch.arange(self.K, device=like.device)] * self.L).reshape(-1, self.L)
        return F.one_hot(classes, self.K).to(like.dtype)

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log p(x) = log Σ_z K^-L p(x | z) in nats; (*B, *event_shape) to (*B,). Few codes only."""
        flat, batch = examples(x, self.event_shape)
        return restore_batch(torch.logsumexp(self._log_joint(flat), dim=0), batch)

    def exact_elbo(self, x: Tensor) -> Tensor:
        """The discrete bound without sampling, Σ_z q(z|x) [log p(x, z) - log q(z|x)]: (*B, *event_shape) to (*B,)."""
        flat, batch = examples(x, self.event_shape)
        log_q = torch.log_softmax(self.logits(flat), dim=-1)  # (N, L, K)
        log_q_z = torch.einsum("slk,nlk->sn", self.codes(), log_q)
        return restore_batch((log_q_z.exp() * (self._log_joint(flat) - log_q_z)).sum(0), batch)

    def _log_joint(self, x: Tensor) -> Tensor:
        """log p(x, z) of every code: (N, *event_shape) to (K^L, N)."""
        h: Tensor = self.decoder(self.codes().flatten(1))  # every code once, then beside every example
        h = h[:, None].expand(-1, len(x), *h.shape[1:]).flatten(0, 1)
        repeated = x.expand(self.K**self.L, *x.shape).flatten(0, 1)
        return self.likelihood.log_prob(repeated, h).view(-1, len(x)) - self.L * math.log(self.K)

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n draws of p(x), (n, *event_shape): one-hot codes from the uniform prior, never relaxed ones."""
        at_least("n", n, 1)
        like = next(self.parameters())
        classes = torch.randint(self.K, (n, self.L), generator=generator, device=like.device)
        with evaluating(self):
            h: Tensor = self.decoder(F.one_hot(classes, self.K).to(like.dtype).flatten(1))
            return self.likelihood.sample(h, generator=generator)
