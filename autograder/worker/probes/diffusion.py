"""Probes of energies, scores and diffusion: they answer by time and by condition, so that a wrong one shows.

Called as `model(x, t)` or `model(x, t, y)` with x (B, *) and one time and label a sample. Indices of time are whole
numbers 0 … T − 1: any other is an error, not the last entry of a table. Answers have the dtype of x.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .gaussian import solved
from .times import at, per_sample, whole
from .weights import weight_of


class AffineScore(nn.Module):
    """f(x) = a · x + b, of x's shape; with a matrix A (D, D) it is A x + b over the flattened sample.

    Known: the score of N(m, s²) is a = −1/s², b = m/s²; of N(m, C) it is A = −C⁻¹, b = C⁻¹m. Denoising score matching
    at noise σ on N(0, s²) is least at a = −1/(s² + σ²). The Jacobian is A everywhere: with a dense, unsymmetric one its
    trace, its column sums and vᵀA differ.
    """

    def __init__(self, a: Any, b: Any = 0.0) -> None:
        super().__init__()
        self.a = weight_of(a)
        self.b = weight_of(b)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        if x.dim() < 2 or self.a.shape != (x[0].numel(),) * 2 or x[0].numel() == 1:
            return self.a * x + self.b
        b = self.b.flatten() if self.b.dim() else self.b
        return (x.flatten(1) @ self.a.T + b).reshape(x.shape)  # (B, D) -> (B, *)


class TanhScore(nn.Module):
    """f(x) = tanh(A x + b) over the flattened sample: A (D, D), b (D,) or a number.

    Known: the Jacobian is diag(1 − f²) A, another one at every sample, so tr J = Σ_i (1 − f_i²) A_ii.
    """

    def __init__(self, A: Any, b: Any = 0.0) -> None:
        super().__init__()
        self.A = weight_of(A)
        self.b = weight_of(b)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        return (x.flatten(1) @ self.A.to(x.dtype).T + self.b.to(x.dtype)).tanh().reshape(x.shape)  # (B, D) -> (B, *)


class TableEnergy(nn.Module):
    """E(x) = energies[k] for binary x (B, *) that reads as the number k, the first entry being the highest digit.

    Args:
        energies: shape (2ⁿ,) for samples of n bits; an entry above ½ counts as a one.

    Known: p(x) ∝ e^{−E(x)} exactly, by enumeration, and ∂E(x)/∂energies is 1 at x's own entry. With energies −ln k for
    whole numbers k the model's law is a batch in which each state occurs k times.
    """

    def __init__(self, energies: Any) -> None:
        super().__init__()
        self.energies = weight_of(energies)
        self.bits = max(len(self.energies) - 1, 0).bit_length()
        if self.energies.shape != (2**self.bits,):
            raise ValueError(f"energies of n bits have shape (2ⁿ,), got {tuple(self.energies.shape)}")

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        bits = (x.flatten(1) > 0.5).long()  # (B, n)
        if bits.shape[1] != self.bits:
            raise ValueError(f"this energy is of {self.bits} bits, got x of shape {tuple(x.shape)}")
        place = 2 ** torch.arange(self.bits - 1, -1, -1, device=x.device)
        return self.energies[(bits * place).sum(1)]  # (B,)


class TimeAffine(nn.Module):
    """f(x, t) = slope[t] · x + shift[t] for an index t of time: it can be trained, and every time has its own answer.

    Args:
        slope, shift: shape (T,), or (T, *shape of a sample).

    Known: `noise_table` gives the slopes and shifts of the exact noise of Gaussian data. A right training loss moves
    the entries of each time that is drawn and of no other.
    """

    def __init__(self, slope: Any, shift: Any) -> None:
        super().__init__()
        self.slope = weight_of(slope)
        self.shift = weight_of(shift)

    def forward(self, x: Tensor, t: Any, *_: Any, **__: Any) -> Tensor:
        return at(self.slope, t, x) * x + at(self.shift, t, x)


class GaussianNoise(nn.Module):
    """f(x, t) = E[ε | x_t = x], the exact noise of data N(mean, std²) under a DDPM's schedule: index t = 0 … T − 1.

    Args:
        mean, std: a number or the shape of a sample.
        betas: shape (T,). x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε with ᾱ_t = Π_{s≤t} (1 − β_s).

    Known: f = √(1 − ᾱ)(x − √ᾱ mean)/(ᾱ std² + 1 − ᾱ), affine in x at every time, so a sampler that asks it has an
    exact Gaussian law: `gaussian_recursion`.
    """

    def __init__(self, mean: Any, std: Any, betas: Any) -> None:
        super().__init__()
        self.mean = weight_of(mean)
        self.std = weight_of(std)
        self.register_buffer("abar", kept(betas))

    def forward(self, x: Tensor, t: Any, *_: Any, **__: Any) -> Tensor:
        abar = at(self.get_buffer("abar"), t, x)
        mean, std = self.mean.to(x.dtype), self.std.to(x.dtype)
        return (1 - abar).sqrt() * (x - abar.sqrt() * mean) / (abar * std.square() + 1 - abar)


class LabelGaussian(nn.Module):
    """f(x, t, y) = E[ε | x_t = x, y]: as `GaussianNoise`, the data of label y being N(means[y], stds[y]²).

    Args:
        means, stds: shape (K + 1,), or (K + 1, *shape of a sample); the last row answers for the null label K.
        betas: shape (T,).

    Known: for every label what is known of `GaussianNoise`; a guided answer is affine in x again.
    """

    def __init__(self, means: Any, stds: Any, betas: Any) -> None:
        super().__init__()
        self.means = weight_of(means)
        self.stds = weight_of(stds)
        self.register_buffer("abar", kept(betas))

    def forward(self, x: Tensor, t: Any, y: Any, *_: Any, **__: Any) -> Tensor:
        abar = at(self.get_buffer("abar"), t, x)
        mean, std = (at(table, y, x, "labels") for table in (self.means, self.stds))
        return (1 - abar).sqrt() * (x - abar.sqrt() * mean) / (abar * std.square() + 1 - abar)


class Conditional(nn.Module):
    """The network of a sample's own label answers: the label is the last argument, a whole number 0 … K − 1.

    Known: what is known of that network. Every network is asked about the whole batch.
    """

    def __init__(self, networks: Any) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
        *others, label = (*args, *named.values())
        y = whole(label, len(self.networks), "labels")
        per_sample(y, x, "label")  # the shape is looked at
        answers = torch.stack([network(x, *others) for network in self.networks])  # (K, B, *)
        return answers[y.expand(len(x)), torch.arange(len(x), device=x.device)]


class MixtureScore(nn.Module):
    """f(x, t) = ∇_x log p_t(x) for data of the mixture Σ_k weights_k N(means_k, stds_k² I) under a DDPM's schedule.

    Args:
        means: shape (K, D); stds, weights: shape (K,).
        betas: shape (T,), index t = 0 … T − 1; without them f(x) is the score of the data, whatever the time.

    Known: `mixture_log_prob`, whose gradient it is; the exact noise is −√(1 − ᾱ_t) f.
    """

    def __init__(self, means: Any, stds: Any, weights: Any, betas: Any = None) -> None:
        super().__init__()
        self.means = weight_of(means)
        self.stds = weight_of(stds)
        self.weights = weight_of(weights)
        self.register_buffer("abar", None if betas is None else kept(betas))

    def forward(self, x: Tensor, t: Any = None, *_: Any, **__: Any) -> Tensor:
        abar = torch.ones((), dtype=x.dtype) if self.abar is None else at(self.get_buffer("abar"), t, x).unsqueeze(-1)
        means, stds, weights = (q.to(x.dtype) for q in (self.means, self.stds, self.weights))
        variance = (abar * stds.square()[:, None] + 1 - abar)[..., 0]  # (*batch or none, K)
        away = abar.sqrt() * means - x.unsqueeze(-2)  # (*batch, K, D)
        logits = weights.log() - 0.5 * away.square().sum(-1) / variance - 0.5 * means.shape[-1] * variance.log()
        share = logits.softmax(-1) / variance  # (*batch, K)
        return (share.unsqueeze(-1) * away).sum(-2)  # (*batch, D)


class SigmaScore(nn.Module):
    """f(x, σ) = (mean − x)/(std² + σ²), the exact score of data N(mean, std²) with noise of deviation σ (NCSN).

    Args:
        mean, std: a number or the shape of a sample; σ comes one a sample, shape (B,).

    Known: affine in x for every σ, so annealed Langevin dynamics has an exact Gaussian law: `gaussian_recursion`.
    """

    def __init__(self, mean: Any, std: Any) -> None:
        super().__init__()
        self.mean = weight_of(mean)
        self.std = weight_of(std)

    def forward(self, x: Tensor, sigma: Any, *_: Any, **__: Any) -> Tensor:
        sigma = per_sample(sigma, x, "σ").to(x.dtype)
        score: Tensor = (self.mean.to(x.dtype) - x) / (self.std.to(x.dtype).square() + sigma.square())
        return score


class GaussianScore(nn.Module):
    """f(x, t) = ∇_x log p_t(x) for data N(mean, C) under the VP SDE with β(t) = beta_min + t (beta_max − beta_min).

    Args:
        mean: a number or the shape of a sample.
        cov: variances (a number or the shape of a sample), or a matrix (D, D) over the flattened sample.

    Known: p_t is N(α mean, α² C + (1 − α²) I) with α = exp(−½ ∫₀ᵗ β), t in [0, 1].
    """

    def __init__(self, mean: Any, cov: Any, beta_min: float, beta_max: float) -> None:
        super().__init__()
        self.mean = weight_of(mean)
        self.cov = weight_of(cov)
        self.beta_min, self.beta_max = float(beta_min), float(beta_max)

    def forward(self, x: Tensor, t: Any, *_: Any, **__: Any) -> Tensor:
        t = per_sample(t, x).to(x.dtype)
        alpha = (-0.5 * (t * self.beta_min + 0.5 * t.square() * (self.beta_max - self.beta_min))).exp()
        away = alpha * self.mean.to(x.dtype) - x
        return solved(self.cov, alpha.square(), 1 - alpha.square(), away, self.mean.dim() or max(x.dim() - 1, 0))


def kept(betas: Any) -> Tensor:
    """ᾱ_t = Π_{s≤t} (1 − β_s), float64, shape (T,)."""
    return (1 - torch.as_tensor(betas, dtype=torch.float64)).cumprod(0)
