"""Learnable mixture prior: codes come from one of K Gaussians whose weights, means and scales are learned.

    p(c) = π_c,   p(z | c) = N(z; μ_c, diag σ_c²),   p(z) = Σ_c π_c p(z | c),   p(c | z) = π_c p(z | c) / p(z)

KL(q(z|x) ‖ p) has no closed form, but for any weights γ(x) over the components (q(c | x) of the paper)

    KL(q ‖ p) <= Σ_c γ_c KL(q ‖ p(z | c)) + KL(γ ‖ π)                (the paper's bound without its reconstruction)

which is least, -log Σ_c π_c exp(-KL(q ‖ p(z | c))), for γ_c ∝ π_c exp(-KL(q ‖ p(z | c))). That is the bound without
noise; a draw of log q(z | x) - log p(z) is the noisy quantity without gap. After training γ clusters the data.

"Variational Deep Embedding: An Unsupervised and Generative Approach to Clustering" (Jiang, Zheng, Tan, Tang, Zhou,
2017), https://arxiv.org/abs/1611.05148
NOTE: the paper takes γ_c = E_q p(c | z), by a draw of z; here γ is the minimiser in closed form, so that the bound on
the KL is never larger.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from reference_models.latent.vae import VAE, Draw, Form, GaussianPosterior, Posterior, mlp_vae
from reference_models.parts.distributions import normal_kl, normal_log_prob, standard_normal
from reference_models.parts.likelihoods import Likelihood
from reference_models.parts.require import at_least, ends_with


class MixturePrior(nn.Module):
    """p(z) = Σ_c π_c N(z; μ_c, diag σ_c²).

    Args:
        dim: d, the length of z.
        components: K; their means start as draws of N(0, I), their scales at one, their weights equal.
    """

    def __init__(self, dim: int, components: int = 10) -> None:
        super().__init__()
        at_least("dim", dim, 1)
        at_least("components", components, 1)
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, dim))
        self.log_stds = nn.Parameter(torch.zeros(components, dim))

    def joint_log_prob(self, z: Tensor) -> Tensor:
        """Returns log π_c + log p(z | c) in nats; z: (..., d) -> (..., K)."""
        ends_with("z", z, self.means.shape[1:])
        per_component = normal_log_prob(z.unsqueeze(-2), self.means, self.log_stds).sum(-1)
        return torch.log_softmax(self.logits, dim=0) + per_component

    def log_prob(self, z: Tensor) -> Tensor:
        """Returns log p(z) in nats; z: (..., d) -> (...)."""
        return torch.logsumexp(self.joint_log_prob(z), dim=-1)

    def responsibilities(self, z: Tensor) -> Tensor:
        """Returns p(c | z); z: (..., d) -> (..., K), rows sum to one."""
        return torch.softmax(self.joint_log_prob(z), dim=-1)

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """Returns n draws, shape (n, d)."""
        at_least("n", n, 1)
        c = torch.multinomial(torch.softmax(self.logits, dim=0), n, replacement=True, generator=generator)
        return self.means[c] + self.log_stds[c].exp() * standard_normal(self.means[c].shape, self.means, generator)

    def _weighted_kl(self, q: GaussianPosterior) -> Tensor:
        """log π_c - KL(q ‖ p(z | c)) in nats, (N, K)."""
        kl = normal_kl(q.mean[:, None], q.log_std[:, None], self.means, self.log_stds).sum(-1)
        return torch.log_softmax(self.logits, dim=0) - kl

    def assignments(self, q: GaussianPosterior) -> Tensor:
        """Returns γ(x), the best weights of the bound, shape (N, K): the model's clustering of the N examples."""
        return torch.softmax(self._weighted_kl(q), dim=-1)

    def kl_bound(self, q: GaussianPosterior) -> Tensor:
        """Returns -log Σ_c π_c exp(-KL(q ‖ p(z | c))) >= KL(q ‖ p) in nats, shape (N,); equal for K = 1."""
        return -torch.logsumexp(self._weighted_kl(q), dim=-1)


class VaDE(VAE):
    """A VAE with a mixture prior; its bound takes the KL in closed form unless another form is asked for.

    Args:
        event_shape, latent_dim, hidden, likelihood: as for `mlp_vae`.
        components: K of the prior.
    """

    prior: MixturePrior

    def __init__(
        self,
        event_shape: Sequence[int] = (1, 8, 8),
        latent_dim: int = 8,
        hidden: Sequence[int] = (128,),
        components: int = 10,
        *,
        likelihood: Likelihood | None = None,
        activation: type[nn.Module] = nn.SiLU,
    ) -> None:
        parts = mlp_vae(event_shape, latent_dim, hidden, likelihood=likelihood, activation=activation)
        prior = MixturePrior(latent_dim, components)
        super().__init__(parts.encoder, parts.decoder, prior, parts.likelihood, event_shape=event_shape)

    @classmethod
    def mnist(cls) -> "VaDE":
        """The MNIST network of section 4: 784-500-500-2000-10 and back, ReLU, ten clusters."""
        return cls((1, 28, 28), latent_dim=10, hidden=(500, 500, 2000), components=10, activation=nn.ReLU)

    def _kl(self, q: Posterior, draw: Draw, form: Form | None) -> Tensor:
        if isinstance(q, GaussianPosterior) and form in (None, "analytic"):
            return self.prior.kl_bound(q)
        return super()._kl(q, draw, form)

    @torch.no_grad()
    def cluster(self, x: Tensor) -> Tensor:
        """Returns the likeliest component of each example, long; x: (N, *event_shape) -> (N,)."""
        q = self.posterior(x)
        assert isinstance(q, GaussianPosterior)
        return self.prior.assignments(q).argmax(-1)
