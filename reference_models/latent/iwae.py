"""Importance-weighted bounds: K samples of q give a bound that tightens to log p(x), and gradients that need care.

    L_K(x) = E log 1/K Σ_k w_k,   w_k = p(x, z_k) / q(z_k | x),   z_1..z_K ~ q(z | x)       IWAE, section 3
    L_1 is the ELBO,  L_K ≤ L_{K+1} ≤ log p(x),  L_K → log p(x) for bounded weights         IWAE, theorem 1

With w̃_k = w_k / Σ_j w_j, the model's gradient is Σ_k w̃_k ∇_θ log p(x, z_k). For the encoder's φ there are four ways:

  reparametrised  differentiate through z_k = g_φ(ε_k); its signal-to-noise ratio falls as 1/√K (Rainforth et al.)
  score           Σ_k log(1/K Σ_j w_j) ∇ log q(z_k|x) − Σ_k w̃_k ∇ log q(z_k|x); any q, also a discrete one
  vimco           the same, minus for each k what the bound would be without sample k (Mnih, Rezende)
  dreg            Σ_k w̃_k² ∂log w_k/∂z_k ∂z_k/∂φ: reparametrised twice, its signal-to-noise ratio grows as √K (Tucker
                  et al.)

Each has the gradient of L_K as its mean. To leave the score of q out and keep w̃_k ("sticking the landing", Roeder et
al.) has that mean for K = 1 only, where it is dreg; the second w̃_k is what makes it right for all K.

Importance Weighted Autoencoders (Burda, Grosse, Salakhutdinov, 2016), https://arxiv.org/abs/1509.00519; Variational
Inference for Monte Carlo Objectives (Mnih, Rezende, 2016), https://arxiv.org/abs/1602.06725; Doubly Reparameterized
Gradient Estimators for Monte Carlo Objectives (Tucker et al., 2019), https://arxiv.org/abs/1810.04152; Tighter
Variational Bounds are Not Necessarily Better (Rainforth et al., 2018), https://arxiv.org/abs/1802.04537; Sticking the
Landing: Simple, Lower-Variance Gradient Estimators for Variational Inference (Roeder, Wu, Duvenaud, 2017),
https://arxiv.org/abs/1703.09194
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from reference_models.latent.bounds import examples
from reference_models.latent.vae import VAE, GaussianPosterior, mlp_vae
from reference_models.parts.require import at_least, one_of
from reference_models.parts.shapes import restore_batch
from reference_models.parts.training import evaluating
from reference_models.protocols import Elbo

Estimator = Literal["reparametrised", "score", "vimco", "dreg"]
ESTIMATORS: tuple[Estimator, ...] = ("reparametrised", "score", "vimco", "dreg")


def importance_bound(log_w: Tensor) -> Tensor:
    """log 1/K Σ_k w_k in nats: log weights (K, *B) to (*B,)."""
    return torch.logsumexp(log_w, dim=0) - math.log(len(log_w))


def effective_sample_size(log_w: Tensor) -> Tensor:
    """(Σ w)² / Σ w², between 1 and K: log weights (K, *B) to (*B,)."""
    return 1 / log_w.softmax(dim=0).square().sum(dim=0)


def vimco_baseline(log_w: Tensor) -> Tensor:
    """For each k the bound with w_k replaced by the geometric mean of the others: (K, *B) to (K, *B), nats.

    It depends on the other samples only, so taking it from the learning signal of z_k leaves the gradient unbiased
    (Mnih, Rezende). Raises ValueError for K = 1, where there are no others.
    """
    K = len(log_w)
    at_least("K", K, 2)
    others = (log_w.sum(dim=0) - log_w) / (K - 1)  # (K, *B): log of the geometric mean without k
    own = torch.eye(K, dtype=torch.bool, device=log_w.device).view(K, K, *(1,) * (log_w.ndim - 1))
    replaced = torch.where(own, others.unsqueeze(1), log_w.unsqueeze(0))  # (K, K, *B): row k has w_k replaced
    return torch.logsumexp(replaced, dim=1) - math.log(K)


def score_surrogate(log_w: Tensor, log_q: Tensor, *, baseline: bool) -> Tensor:
    """A quantity whose value is the bound and whose gradient is the score-function estimator: (K, *B) to (*B,).

    log_w: log weights with their gradient in θ and φ, the samples z_k being constants.
    log_q: log q(z_k | x) with its gradient in φ.
    baseline: subtract VIMCO's from each sample's learning signal.
    """
    bound = importance_bound(log_w)
    signal = bound.detach().expand(log_w.shape)  # (K, *B)
    if baseline:
        signal = signal - vimco_baseline(log_w.detach())
    return bound + (signal * (log_q - log_q.detach())).sum(dim=0)


class IWAE(nn.Module):
    """A VAE trained on L_K.

    vae: its parts; "dreg" needs a Gaussian posterior. samples: K. estimator: the gradient of the encoder, see above.
    """

    def __init__(self, vae: VAE, samples: int = 8, estimator: Estimator = "dreg") -> None:
        super().__init__()
        at_least("samples", samples, 2 if estimator == "vimco" else 1)
        one_of("estimator", estimator, ESTIMATORS)
        self.vae, self.samples, self.estimator = vae, samples, estimator

    @classmethod
    def mlp(cls, event_shape: Sequence[int] = (1, 8, 8), samples: int = 8, estimator: Estimator = "dreg") -> IWAE:
        """A small one on binary images."""
        return cls(mlp_vae(event_shape), samples, estimator)

    @classmethod
    def paper(cls, samples: int = 50) -> IWAE:
        """The MNIST model with one stochastic layer of section 5: 50 latents, two tanh layers of 200 on each side."""
        vae = mlp_vae((1, 28, 28), 50, (200, 200), activation=nn.Tanh)
        return cls(vae, samples, "reparametrised")

    def bound(self, x: Tensor, *, generator: Generator | None = None, noise: Tensor | None = None) -> Tensor:
        """An unbiased draw of L_K, (*B,), nats, whose gradient in every parameter is that of the chosen estimator.

        x: (*B, *event_shape); noise: ε of the draws, (K, N, d).
        """
        flat, batch_shape = examples(x, self.vae.event_shape)
        q = self.vae.posterior(flat)
        draw = q.draw(self.samples, generator=generator, noise=noise)
        if self.estimator == "reparametrised":
            log_w = self._log_joint(flat, draw.z) - draw.log_prob
            return restore_batch(importance_bound(log_w), batch_shape)
        if not isinstance(q, GaussianPosterior):
            raise ValueError(f"the {self.estimator} estimator here needs a Gaussian posterior, got {type(q).__name__}")
        if self.estimator == "dreg":
            return restore_batch(self._dreg(flat, q, draw.z), batch_shape)
        z = draw.z.detach()
        log_q = q.log_prob(z)
        value = score_surrogate(self._log_joint(flat, z) - log_q, log_q, baseline=self.estimator == "vimco")
        return restore_batch(value, batch_shape)

    def _log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x, z), (K, N)."""
        return self.vae.log_likelihood(x, z) + self.vae.prior.log_prob(z)

    def _dreg(self, x: Tensor, q: GaussianPosterior, z: Tensor) -> Tensor:
        """The bound with q's parameters held still inside log w, and each path's gradient weighted once more by w̃."""
        log_w = self._log_joint(x, z) - q.detach().log_prob(z)  # (K, N)
        w = log_w.detach().softmax(dim=0)
        if z.requires_grad:
            z.register_hook(lambda gradient: w.unsqueeze(-1) * gradient)  # w̃ from the bound, w̃ from here
        return importance_bound(log_w)

    def loss(self, x: Tensor, *, generator: Generator | None = None, noise: Tensor | None = None) -> Tensor:
        """−L_K in nats, the mean over the batch, shape ()."""
        return -self.bound(x, generator=generator, noise=noise).mean()

    def elbo(self, x: Tensor, *, generator: Generator | None = None) -> Elbo:
        """The bound of one sample, L_1, with its parts: the VAE's."""
        return self.vae.elbo(x, generator=generator)

    def estimate_log_prob(
        self, x: Tensor, *, samples: int = 1000, chunk: int = 50, generator: Generator | None = None
    ) -> Tensor:
        """L_K with K = `samples`, computed `chunk` samples at a time and without gradient: (*B, *event) to (*B,), nats.

        A lower bound of log p(x) in expectation, whatever K; the paper reports K = 5000.
        """
        at_least("samples", samples, 1)
        at_least("chunk", chunk, 1)
        sizes = [min(chunk, samples - done) for done in range(0, samples, chunk)]
        with evaluating(self):
            parts = [torch.logsumexp(self.vae.log_weights(x, k, generator=generator), dim=0) for k in sizes]
            return torch.logsumexp(torch.stack(parts), dim=0) - math.log(samples)

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n draws of p(x), shape (n, *event_shape)."""
        return self.vae.sample(n, generator=generator)
