"""Log-densities elementwise, and two distributions whose every quantity has a closed form.

    log N(x; μ, σ²)          = −½ ((x − μ)/σ)² − log σ − ½ log 2π
    KL(N(μ_q,σ_q²) ‖ N(μ_p,σ_p²)) = log σ_p/σ_q + (σ_q² + (μ_q − μ_p)²) / 2σ_p² − ½
    log Bernoulli(x; σ(a))   = x log σ(a) + (1 − x) log σ(−a)

The discretised logistic mixture is that of "PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture
Likelihood and Other Modifications" (Salimans et al., 2017), eq. 2, https://arxiv.org/abs/1701.05517.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_models.parts.require import at_least, ends_with, positive

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def normal_log_prob(x: Tensor, mean: Tensor | float, log_std: Tensor | float) -> Tensor:
    """log N(x; mean, e^{2 log_std}) elementwise, nats; the arguments broadcast."""
    z = (x - mean) * _exp(-log_std)
    return -0.5 * z**2 - log_std - HALF_LOG_2PI


def normal_kl(
    mean_q: Tensor, log_std_q: Tensor | float, mean_p: Tensor | float = 0.0, log_std_p: Tensor | float = 0.0
) -> Tensor:
    """KL(q ‖ p) of two normals elementwise, nats; p is standard normal unless given."""
    difference = log_std_q - log_std_p
    return 0.5 * (_exp(2 * difference) + ((mean_q - mean_p) * _exp(-log_std_p)) ** 2 - 1) - difference


def bernoulli_log_prob(x: Tensor, logits: Tensor) -> Tensor:
    """log p(x) elementwise for x in {0, 1} (or [0, 1], as minus the cross-entropy), nats; finite for finite logits."""
    return x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)


def discretised_logistic_mixture_log_prob(
    levels: Tensor, logits: Tensor, means: Tensor, log_scales: Tensor, num_levels: int
) -> Tensor:
    """log P(level) elementwise, nats, of a mixture of logistics whose mass is gathered in bins.

    levels: long, values 0..K−1 with K = num_levels, shape (*S).
    logits, means, log_scales: shape (*S, M) for M components, on the scale where level k stands at 2k/(K−1) − 1.
    Level 0 takes all mass below it, level K−1 all above, so that the K probabilities sum to one.

    NOTE: the paper guards log(σ(b) − σ(a)) by approximations; σ(b) − σ(a) = σ(b) σ(−a) (1 − e^{a−b}) needs none.
    """
    at_least("num_levels", num_levels, 2)
    half_bin = 1 / (num_levels - 1)
    x = (2 * half_bin * levels.to(means.dtype) - 1).unsqueeze(-1)  # (*S, 1)
    precision = torch.exp(-log_scales)
    above = F.logsigmoid((x + half_bin - means) * precision)  # log P(X < upper edge)
    below = F.logsigmoid(-(x - half_bin - means) * precision)  # log P(X > lower edge)
    inside = above + below + torch.log(-torch.expm1(-2 * half_bin * precision))
    first, last = (levels == 0).unsqueeze(-1), (levels == num_levels - 1).unsqueeze(-1)
    per_component = torch.where(first, above, torch.where(last, below, inside))  # (*S, M)
    return torch.logsumexp(F.log_softmax(logits, dim=-1) + per_component, dim=-1)


def standard_normal(shape: Sequence[int], like: Tensor | nn.Module, generator: Generator | None = None) -> Tensor:
    """Standard normal noise with the device and dtype of `like`, a tensor or the first parameter of a module."""
    if isinstance(like, nn.Module):
        tensors = (*like.parameters(), *like.buffers())
        like = next((tensor for tensor in tensors if tensor.is_floating_point()), torch.empty(0))
    return torch.randn(tuple(shape), generator=generator, device=like.device, dtype=like.dtype)


class DiagonalNormal:
    """N(mean, diag e^{2 log_std}) on vectors: `mean` and `log_std` of shape (D,)."""

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        if mean.ndim != 1 or mean.shape != log_std.shape:
            raise ValueError(f"mean and log_std must both have shape (D,), got {mean.shape} and {log_std.shape}")
        self.mean, self.log_std = mean, log_std

    def log_prob(self, x: Tensor) -> Tensor:
        """(*B, D) to (*B,), nats. Raises ValueError for another D."""
        ends_with("x", x, self.mean.shape)
        return normal_log_prob(x, self.mean, self.log_std).sum(-1)

    def score(self, x: Tensor) -> Tensor:
        """∇ₓ log p(x), shaped as x."""
        ends_with("x", x, self.mean.shape)
        return (self.mean - x) * torch.exp(-2 * self.log_std)

    def entropy(self) -> Tensor:
        """Differential entropy in nats, shape ()."""
        return (self.log_std + HALF_LOG_2PI + 0.5).sum()

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n draws, shape (n, D)."""
        noise = standard_normal((n, *self.mean.shape), self.mean, generator)
        return self.mean + torch.exp(self.log_std) * noise


class GaussianMixture:
    """Σ_k w_k N(x; μ_k, Σ_k), a target whose density, score and noised versions are known.

    weights: shape (K,), positive, normalised here; means: (K, D); covariances: (K, D, D), positive definite.
    """

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        k, d = means.shape
        if weights.shape != (k,) or covariances.shape != (k, d, d):
            shapes = f"{tuple(weights.shape)}, {tuple(means.shape)}, {tuple(covariances.shape)}"
            raise ValueError(f"weights, means, covariances must have shapes (K,), (K, D), (K, D, D), got {shapes}")
        positive("weight", weights)
        self.weights, self.means, self.covariances = weights / weights.sum(), means, covariances
        self._scale, failed = torch.linalg.cholesky_ex(covariances)
        if bool(failed.any()):
            smallest = float(torch.linalg.eigvalsh(covariances).min())
            raise ValueError(f"every covariance must be positive definite, got eigenvalue {smallest:.6g}")
        eye = torch.eye(d, dtype=means.dtype, device=means.device)
        self._inverse = torch.linalg.solve_triangular(self._scale, eye.expand(k, d, d), upper=False)  # L_k⁻¹

    def _joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log w_k N(x; μ_k, Σ_k), shape (*B, K), and L_k⁻¹(x − μ_k), shape (*B, K, D)."""
        ends_with("x", x, self.means.shape[1:])
        deviation = x.unsqueeze(-2) - self.means  # (*B, K, D)
        z = torch.einsum("kij,...kj->...ki", self._inverse, deviation)
        log_det = self._scale.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_density = -0.5 * (z**2).sum(-1) - log_det - x.shape[-1] * HALF_LOG_2PI
        return self.weights.log() + log_density, z

    def log_prob(self, x: Tensor) -> Tensor:
        """(*B, D) to (*B,), nats."""
        return torch.logsumexp(self._joint(x)[0], dim=-1)

    def responsibilities(self, x: Tensor) -> Tensor:
        """p(k | x), shape (*B, K); rows sum to one."""
        return torch.softmax(self._joint(x)[0], dim=-1)

    def score(self, x: Tensor) -> Tensor:
        """∇ₓ log p(x) = −Σ_k p(k|x) Σ_k⁻¹ (x − μ_k), shaped as x."""
        joint, z = self._joint(x)
        pull = torch.einsum("kji,...kj->...ki", self._inverse, z)  # (*B, K, D)
        return -(torch.softmax(joint, dim=-1).unsqueeze(-1) * pull).sum(-2)

    @property
    def mean(self) -> Tensor:
        """E x, shape (D,)."""
        return self.weights @ self.means

    @property
    def covariance(self) -> Tensor:
        """Cov x, shape (D, D)."""
        deviation = self.means - self.mean
        return torch.einsum("k,kij->ij", self.weights, self.covariances + deviation[:, :, None] * deviation[:, None, :])

    def noised(self, scale: float | Tensor, std: float | Tensor) -> GaussianMixture:
        """The exact law of scale·x + std·ε with ε ~ N(0, I): what diffusion and flow matching make of this mixture."""
        identity = torch.eye(self.means.shape[1], dtype=self.means.dtype, device=self.means.device)
        return GaussianMixture(self.weights, scale * self.means, scale**2 * self.covariances + std**2 * identity)

    def sample_with_labels(self, n: int, *, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """n draws, shape (n, D), and the component each came from, long, shape (n,)."""
        labels = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = standard_normal((n, self.means.shape[1], 1), self.means, generator)
        return self.means[labels] + (self._scale[labels] @ noise).squeeze(-1), labels

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n draws, shape (n, D)."""
        return self.sample_with_labels(n, generator=generator)[0]

    def to(self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> GaussianMixture:
        """The same mixture on another device or in another precision."""
        moved = [tensor.to(device=device, dtype=dtype) for tensor in (self.weights, self.means, self.covariances)]
        return GaussianMixture(*moved)


def _exp(value: Tensor | float) -> Tensor | float:
    return torch.exp(value) if isinstance(value, Tensor) else math.exp(value)
