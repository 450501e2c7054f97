"""Probes of latent-variable models: Gaussian encoders and a linear Gaussian decoder, of which everything is known."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .weights import exact_weight

LOG_2PI = 1.8378770664093454


class GaussianEncoder(nn.Module):
    """mean = A x + b, log_std = C x + d over flattened x: q(z | x) = N(mean, diag e^{2 log_std}).

    Takes x (B, *) and returns `(mean, log_std)`, both (B, L); A and C are (L, D), b and d (L,), C or d may be a number.

    Known: with C not zero each image has a deviation of its own, so taking the first one for all shows. `exact_encoder`
    gives the weights with which it is the posterior of a `GaussianDecoder`, `encoder_near` those of one near it.
    """

    def __init__(self, A: Any, b: Any = 0.0, C: Any = 0.0, d: Any = 0.0) -> None:
        super().__init__()
        self.A, self.b, self.C, self.d = (exact_weight(value) for value in (A, b, C, d))

    def forward(self, x: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        A, b, C, d = (weight.to(x.dtype) for weight in (self.A, self.b, self.C, self.d))
        flat = x.flatten(1)  # (B, D)
        mean = flat @ A.T + b  # (B, L)
        log_std = (flat @ C.T if C.dim() else C * flat.sum(1, keepdim=True)) + d
        return mean, log_std.expand(mean.shape)


class ConstantCode(nn.Module):
    """The same code law N(mean, diag e^{2 log_std}) for every x: mean and log_std are (L,); returns both as (B, L).

    Known: the code tells nothing of the image, its mutual information with it is 0, its KL to any prior is one number
    for all images; with zeros it is the standard normal prior and that number is 0. A collapsed posterior.
    """

    def __init__(self, mean: Any, log_std: Any = 0.0) -> None:
        super().__init__()
        self.mean, self.log_std = exact_weight(mean), exact_weight(log_std)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        shape = (len(x), *self.mean.shape)
        mean, log_std = (weight.to(x.dtype).expand(shape) for weight in (self.mean, self.log_std))
        return mean + 0.0, log_std + 0.0  # copies of its own: the student may write into them


class GaussianDecoder(nn.Module):
    """ln p(x | z) = ln N(x; W z + mu, sigma² I), row by row: x (B, *) and z (B, L) give (B,) in nats.

    W is (D, L), mu (D,) or a number, sigma the standard deviation.

    Known: with the prior N(0, I) the evidence, the posterior and every bound are Gaussian integrals:
    `linear_gaussian_law(W, mu, sigma)`. With orthogonal columns of W a diagonal encoder can be the exact posterior.
    """

    def __init__(self, W: Any, mu: Any = 0.0, sigma: Any = 1.0) -> None:
        super().__init__()
        self.W, self.mu, self.sigma = (exact_weight(value) for value in (W, mu, sigma))

    def forward(self, x: Tensor, z: Tensor, *_: Any, **__: Any) -> Tensor:
        if len(x) != len(z):
            raise ValueError(f"row i of x goes with row i of z, got {len(x)} and {len(z)} rows")
        W, mu, sigma = (weight.to(x.dtype) for weight in (self.W, self.mu, self.sigma))
        error = (x.flatten(1) - z.to(x.dtype) @ W.T - mu) / sigma  # (B, D)
        log_prob: Tensor = -0.5 * (error.square() + LOG_2PI).sum(1) - error.shape[1] * sigma.log()
        return log_prob
