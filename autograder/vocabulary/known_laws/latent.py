"""Laws of latent-variable probes, exactly: everything about a linear Gaussian decoder is a Gaussian integral."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from autograder.errors import AuthorError


@dataclass(frozen=True)
class LinearGaussianLaw:
    """z ~ N(0, I_L), x | z ~ N(W z + mu, sigma² I_D): the law of `GaussianDecoder(W, mu, sigma)`; images flattened.

    W: (D, L), float64. mu: (D,). sigma: a standard deviation.
    """

    W: Tensor
    mu: Tensor
    sigma: float

    @property
    def marginal(self) -> MultivariateNormal:
        """The law of x."""
        noise = self.sigma**2 * torch.eye(len(self.W), dtype=self.W.dtype)
        return MultivariateNormal(self.mu, self.W @ self.W.T + noise)

    def evidence(self, x: Tensor) -> Tensor:
        """ln p(x) in nats, (B,)."""
        log_prob: Tensor = self.marginal.log_prob(self._flat(x))
        return log_prob

    def posterior(self, x: Tensor) -> MultivariateNormal:
        """The law of z given each row of x: the joint law of (z, x), conditioned."""
        gain = torch.linalg.solve(self.marginal.covariance_matrix, self.W).T  # (L, D)
        spread = torch.eye(self.W.shape[1], dtype=self.W.dtype) - gain @ self.W
        return MultivariateNormal((self._flat(x) - self.mu) @ gain.T, (spread + spread.T) / 2)

    def elbo(self, x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        """E_q ln p(x, z)/q(z) in nats, (B,), for q = N(mean, diag e^{2 log_std}), rows (B, L): no draw is needed."""
        q = MultivariateNormal(mean, torch.diag_embed((2 * log_std).exp()))
        return self.evidence(x) - kl_divergence(q, self.posterior(x))

    def elbo_deviation(self, x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        """The largest standard deviation, (B,), that one draw of the ELBO has in any of its usual forms.

        The forms: the KL in closed form; three densities at one z; the joint density with the entropy in closed form.
        Each is a quadratic g·ε + ½ εᵀHε + const of the noise, with variance ‖g‖² + ½ ‖H‖².
        """
        std = log_std.exp()
        error = self._flat(x) - self.mu - mean @ self.W.T  # (B, D)
        scaled = self.W * std[:, None, :]  # (B, D, L)
        g_x = torch.einsum("bdl,bd->bl", scaled, error) / self.sigma**2
        H_x = -scaled.mT @ scaled / self.sigma**2  # (B, L, L)
        g_z, H_z = -std * mean, -torch.diag_embed(std**2)
        eye = torch.eye(mean.shape[1], dtype=mean.dtype)
        forms = ((g_x, H_x), (g_x + g_z, H_x + H_z), (g_x + g_z, H_x + H_z + eye))
        return torch.stack([(g.square().sum(1) + 0.5 * H.square().sum((1, 2))).sqrt() for g, H in forms]).amax(0)

    def _flat(self, x: Tensor) -> Tensor:
        return x.flatten(1).to(self.W.dtype)


def linear_gaussian_law(W: Tensor, mu: Tensor | float = 0.0, sigma: float = 1.0) -> LinearGaussianLaw:
    """The law of `GaussianDecoder(W, mu, sigma)` under the prior N(0, I), in float64."""
    W = W.double()
    return LinearGaussianLaw(W, torch.as_tensor(mu, dtype=W.dtype).expand(len(W)), float(sigma))


def orthogonal_columns(D: int, L: int, generator: Generator | None = None) -> Tensor:
    """A (D, L) matrix, L ≤ D, float64, of orthogonal columns with lengths between ½ and 2: no two posteriors alike."""
    if L > D:
        raise AuthorError(f"at most {D} columns of {D} entries are orthogonal, asked for {L}")
    directions: Tensor = torch.linalg.qr(torch.randn(D, L, generator=generator, dtype=torch.float64))[0]
    return directions * 0.5 * 4 ** torch.rand(L, generator=generator, dtype=torch.float64)


def exact_encoder(W: Tensor, mu: Tensor | float = 0.0, sigma: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights (A, b, C, d) with which `GaussianEncoder` is the posterior of `GaussianDecoder(W, mu, sigma)`.

    Raises:
        AuthorError: the columns of W are not orthogonal, so that the posterior is not diagonal.
    """
    law = linear_gaussian_law(W, mu, sigma)
    D, L = law.W.shape
    at_zero, at_units = law.posterior(torch.zeros(1, D)), law.posterior(torch.eye(D))
    covariance = at_zero.covariance_matrix[0]
    variance = covariance.diagonal()
    if bool((covariance - torch.diag(variance)).abs().max() > 1e-9):
        raise AuthorError("the columns of W must be orthogonal for a diagonal encoder to be exact")
    b = at_zero.mean[0]
    return (at_units.mean - b).T.contiguous(), b, torch.zeros(L, D, dtype=W.dtype), 0.5 * variance.log()


def encoder_near(
    W: Tensor, mu: Tensor | float = 0.0, sigma: float = 1.0, *, by: float = 0.2, generator: Generator | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights (A, b, C, d) of a `GaussianEncoder` near the best diagonal one for any W, and wrong in each of its parts.

    A random encoder lies tens of nats below the evidence, where noise hides mistakes; this one a fraction of one.
    """
    law = linear_gaussian_law(W, mu, sigma)
    D, L = law.W.shape
    at_zero, at_units = law.posterior(torch.zeros(1, D)), law.posterior(torch.eye(D))
    precision = at_zero.precision_matrix[0]
    A, b = (at_units.mean - at_zero.mean[0]).T, at_zero.mean[0]
    d = -0.5 * precision.diagonal().log()  # the best diagonal deviation
    shapes = ((L, D), (L,), (L, D), (L,))
    noise = [by * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    size = A.abs().mean()
    return A + size * noise[0], b + d.exp() * noise[1], noise[2] / D**0.5, d + noise[3]
