"""Where the bound of a VAE loses nats: its rate cut into parts, and its gap to the evidence cut into parts.

Surgery. Let n be the index of an example, uniform over N, and q(z) = 1/N Σ_n q(z | x_n) the aggregate posterior. Then

    1/N Σ_n KL(q(z|x_n) ‖ p(z)) = I_q(n; z) + KL(q(z) ‖ p(z)),      0 ≤ I_q(n; z) ≤ log N

so the rate pays for what z tells about the example, and for an aggregate posterior that is not the prior; a richer
prior saves only the second part. For a prior that is a product over coordinates the second part splits once more:

    KL(q(z) ‖ p(z)) = KL(q(z) ‖ Π_j q(z_j)) + Σ_j KL(q(z_j) ‖ p(z_j))      (total correlation + dimension-wise KL)

Here q(z) is always the whole mixture over the N examples given: N densities for each draw, and no bias. From a batch
of a larger data set log q(z) can only be estimated; the minibatch-weighted sampling of Chen et al. does so, with bias.

The gap. log p(x) − L(x) = KL(q ‖ p(z|x)) is what the family of q cannot express (approximation gap) plus what one
network for all x loses against the best q for this x (amortisation gap).

ELBO surgery (Hoffman, Johnson, 2016), https://approximateinference.org/accepted/HoffmanJohnson2016.pdf;
Isolating Sources of Disentanglement in Variational Autoencoders (Chen et al., 2018), eq. 2,
https://arxiv.org/abs/1802.04942; Inference Suboptimality in Variational Autoencoders (Cremer, Li, Duvenaud, 2018),
https://arxiv.org/abs/1801.03558
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from reference_models.latent.bounds import examples
from reference_models.latent.vae import VAE, GaussianPosterior, StandardNormal
from reference_models.parts.distributions import normal_log_prob
from reference_models.parts.require import at_least


@dataclass(frozen=True)
class Surgery:
    """The mean rate and its parts, each (), nats: `rate` = `mutual_information` + `marginal_kl`."""

    rate: Tensor
    mutual_information: Tensor
    marginal_kl: Tensor


def discrete_surgery(q: Tensor, p: Tensor) -> Surgery:
    """The parts, exactly, for a code with K values.

    q: q(z = k | x_n), shape (N, K), rows summing to one; p: the prior, shape (K,), summing to one.
    """
    if q.ndim != 2 or p.shape != q.shape[1:]:
        raise ValueError(f"q must be (N, K) and p (K,), got {tuple(q.shape)} and {tuple(p.shape)}")
    _sums_to_one("row of q", q.sum(dim=1))
    _sums_to_one("p", p.sum())
    aggregate = q.mean(dim=0)  # (K,)
    rate = _discrete_kl(q, p).mean()
    return Surgery(rate, _discrete_kl(q, aggregate).mean(), _discrete_kl(aggregate, p))


def _sums_to_one(name: str, total: Tensor) -> None:
    if not bool(((total - 1).abs() < 1e-4).all()):
        raise ValueError(f"every {name} must sum to one, got sums in [{float(total.min()):g}, {float(total.max()):g}]")


def _discrete_kl(q: Tensor, p: Tensor) -> Tensor:
    terms: Tensor = torch.special.xlogy(q, q) - torch.special.xlogy(q, p)
    return terms.sum(dim=-1)


def surgery(
    q: GaussianPosterior, prior: StandardNormal, *, samples: int = 16, generator: Generator | None = None
) -> Surgery:
    """The parts for a Gaussian code, from `samples` draws of z for each of the N examples, unbiased.

    q: the posteriors of all N examples of a data set, mean and log_std of shape (N, d); they are the aggregate too. A
    subset is a data set of its own: its information is at most log of its own size. Raises ValueError for samples < 1.
    """
    at_least("samples", samples, 1)
    draw = q.draw(samples, generator=generator)  # z: (S, N, d)
    log_aggregate = torch.stack([_log_aggregate(z, q) for z in draw.z])  # (S, N)
    information = (draw.log_prob - log_aggregate).mean()
    marginal = (log_aggregate - prior.log_prob(draw.z)).mean()
    return Surgery(information + marginal, information, marginal)


def _log_aggregate(z: Tensor, q: GaussianPosterior) -> Tensor:
    """log 1/N Σ_m q(z_n | x_m): (N, d) to (N,), nats."""
    log_pairs = normal_log_prob(z.unsqueeze(1), q.mean, q.log_std).sum(dim=-1)  # (N, N): z_n under q(z | x_m)
    return torch.logsumexp(log_pairs, dim=1) - math.log(len(q.mean))


@dataclass(frozen=True)
class MarginalParts:
    """The aggregate posterior's KL to the prior and its parts, each (), nats."""

    total_correlation: Tensor
    dimension_wise_kl: Tensor


def discrete_marginal_parts(q: Tensor, p: Tensor) -> MarginalParts:
    """The parts of KL(q(z) ‖ p(z)), exactly, for a code of two discrete coordinates.

    q: q(z_1 = i, z_2 = j | x_n), shape (N, I, J); p: a prior, shape (I, J), that is a product of its marginals.
    """
    if q.ndim != 3 or p.shape != q.shape[1:]:
        raise ValueError(f"q must be (N, I, J) and p (I, J), got {tuple(q.shape)} and {tuple(p.shape)}")
    _sums_to_one("table of q", q.sum(dim=(1, 2)))
    _sums_to_one("p", p.sum())
    joint = q.mean(dim=0)  # (I, J)
    first, second = joint.sum(dim=1), joint.sum(dim=0)
    total_correlation = _discrete_kl(joint.flatten(), torch.outer(first, second).flatten())
    dimension_wise = _discrete_kl(first, p.sum(dim=1)) + _discrete_kl(second, p.sum(dim=0))
    return MarginalParts(total_correlation, dimension_wise)


def fit_posterior(
    model: VAE, x: Tensor, *, steps: int = 200, samples: int = 8, lr: float = 0.05, generator: Generator | None = None
) -> GaussianPosterior:
    """The best Gaussian q of each x of its own: gradient ascent on the bound from the encoder's q, the decoder fixed.

    x: (*B, *event). Returns mean and log_std of shape (N, d), N = 1 for a single example. The bound at it minus the
    bound at `model.posterior(x)` is the amortisation gap.
    """
    flat, _ = examples(x, model.event_shape)
    start = model.posterior(flat)
    if not isinstance(start, GaussianPosterior):
        raise ValueError(f"only a Gaussian posterior can be refined, got {type(start).__name__}")
    mean, log_std = (p.detach().clone().requires_grad_() for p in (start.mean, start.log_std))
    optimiser = torch.optim.Adam([mean, log_std], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        q = GaussianPosterior(mean, log_std)
        draw = q.draw(samples, generator=generator)
        log_joint = model.log_likelihood(flat, draw.z) + model.prior.log_prob(draw.z)
        loss = -(log_joint.mean(dim=0) + q.entropy()).sum()
        mean.grad, log_std.grad = torch.autograd.grad(loss, [mean, log_std])
        optimiser.step()
        schedule.step()
    return GaussianPosterior(mean.detach(), log_std.detach())
