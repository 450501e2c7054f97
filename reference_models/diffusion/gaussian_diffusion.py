"""Gaussian diffusion: a Markov chain that turns data into noise, its exact posteriors, and the bound they give.

    q(x_t | x_{t−1}) = N(√(1−β_t) x_{t−1}, β_t I)                                             (eq. 2)
    q(x_t | x_0)     = N(√ᾱ_t x_0, (1−ᾱ_t) I)                                                 (eq. 4)
    q(x_s | x_t, x_0) = N(μ̃, β̃ I),  s < t,  with  α = ᾱ_t/ᾱ_s,  β = 1 − α:                    (eq. 6, 7 for s = t−1)
        μ̃ = √ᾱ_s β/(1−ᾱ_t) x_0 + √α (1−ᾱ_s)/(1−ᾱ_t) x_t,      β̃ = β (1−ᾱ_s)/(1−ᾱ_t)
    p(x_{t−1} | x_t) = N(μ̃(x̂_0(x_t, t), x_t), σ_t² I),   σ_t² = β̃_t ("small") or β_t ("large")

    −log p(x_0) ≤ KL(q(x_T|x_0) ‖ N(0, I))                                                    (eq. 5)
                  + Σ_{t>1} E KL(q(x_{t−1}|x_t,x_0) ‖ p(x_{t−1}|x_t)) − E log p(x_0|x_1)

"Deep Unsupervised Learning using Nonequilibrium Thermodynamics" (Sohl-Dickstein, Weiss, Maheswaranathan, Ganguli,
2015), https://arxiv.org/abs/1503.03585. Equation numbers are those of
"Denoising Diffusion Probabilistic Models" (Ho, Jain, Abbeel, 2020), https://arxiv.org/abs/2006.11239

NOTE: β̃ vanishes at the first step, where a decoder needs a variance: with "small" p(x_0|x_1) takes that of the step
after it, as the code of Ho et al. does; with "large" it has β_1 as the paper writes (their code takes β̃_2 there too).
Samplers add no noise in their last step. A learnt variance between the two ("Improved Denoising Diffusion Probabilistic
Models", Nichol, Dhariwal, 2021, eq. 15) is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from reference_models.diffusion.schedule import Schedule
from reference_models.parts.distributions import normal_kl, normal_log_prob, standard_normal
from reference_models.parts.require import at_least, has_shape, one_of
from reference_models.parts.shapes import sum_event
from reference_models.protocols import Elbo


@dataclass(frozen=True)
class Gaussian:
    """mean (*B, *event) and variance, broadcastable against it."""

    mean: Tensor
    variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """mean + std · noise, which has the shape of the mean. Raises ValueError for any other."""
        has_shape("noise", noise, self.mean.shape)
        return self.mean + self.variance.sqrt() * noise


@dataclass(frozen=True)
class Bound:
    """The terms of eq. 5, nats, summed over dimensions; reconstruction − prior − Σ denoising ≤ log p(x_0)."""

    prior: Tensor  # L_T: KL(q(x_T|x_0) ‖ N(0, I)), (*B,)
    denoising: Tensor  # L_1..L_{T−1}, one row a step, (T − 1, *B)
    reconstruction: Tensor  # log p(x_0|x_1), (*B,)

    @property
    def kl(self) -> Tensor:
        """All but the reconstruction, (*B,)."""
        return self.prior + self.denoising.sum(0)

    @property
    def elbo(self) -> Elbo:
        """A lower bound of log p(x_0) and its parts, (*B,)."""
        return Elbo(self.reconstruction - self.kl, self.reconstruction, self.kl)


class GaussianDiffusion(nn.Module):
    """The forward process of a schedule and the reverse process a guess of x_0 defines.

    variance: "small" is β̃_t, right when the data are one point; "large" is β_t, right when they are N(0, I).
    levels: None if x_0 has a density; K if its values are 2k/(K−1) − 1, the bins p(x_0|x_1) then sums up (eq. 13).
    """

    def __init__(
        self, schedule: Schedule, *, variance: Literal["small", "large"] = "small", levels: int | None = None
    ) -> None:
        super().__init__()
        one_of("variance", variance, ("small", "large"))
        if levels is not None:
            at_least("levels", levels, 2)
        self.schedule = schedule
        self.variance = variance
        self.levels = levels

    def transition(self, x_s: Tensor, t: Tensor | int, s: Tensor | int | None = None) -> Gaussian:
        """q(x_t | x_s) for s < t, by default one step: s = t − 1."""
        s = t - 1 if s is None else s
        alpha = self.schedule.alpha_between(t, s, x_s)
        return Gaussian(alpha.sqrt() * x_s, self.schedule.beta_between(t, s, x_s))

    def marginal(self, x_0: Tensor, t: Tensor | int) -> Gaussian:
        """q(x_t | x_0)."""
        return Gaussian(self.schedule.alpha_bar(t, x_0).sqrt() * x_0, self.schedule.variance(t, x_0))

    def diffuse(self, x_0: Tensor, t: Tensor | int, noise: Tensor) -> Tensor:
        """x_t = √ᾱ_t x_0 + √(1−ᾱ_t) noise, all of shape (*B, *event); t (*B,) or a scalar."""
        return self.marginal(x_0, t).sample(noise)

    def posterior(self, x_0: Tensor, x_t: Tensor, t: Tensor | int, s: Tensor | int | None = None) -> Gaussian:
        """q(x_s | x_t, x_0) for s < t, by default one step; at s = −1 it is the point x_0."""
        s = t - 1 if s is None else s
        alpha, beta = self.schedule.alpha_between(t, s, x_t), self.schedule.beta_between(t, s, x_t)
        variance_s, variance_t = self.schedule.variance(s, x_t), self.schedule.variance(t, x_t)
        weight_0 = self.schedule.alpha_bar(s, x_t).sqrt() * beta / variance_t
        weight_t = alpha.sqrt() * variance_s / variance_t
        return Gaussian(weight_0 * x_0 + weight_t * x_t, beta * variance_s / variance_t)

    def reverse(self, x_0_hat: Tensor, x_t: Tensor, t: Tensor | int, s: Tensor | int | None = None) -> Gaussian:
        """p(x_s | x_t) of a guess x̂_0: the posterior's mean, the variance of `variance`; at s = −1 the decoder's."""
        s = t - 1 if s is None else s
        posterior = self.posterior(x_0_hat, x_t, t, s)
        if self.variance == "large":
            return Gaussian(posterior.mean, self.schedule.beta_between(t, s, x_t))
        decoder = self._decoder_variance(x_t)
        return Gaussian(posterior.mean, torch.where(posterior.variance > 0, posterior.variance, decoder))

    def _decoder_variance(self, like: Tensor) -> Tensor:
        """β̃ of the second step, β of the first where there is no second."""
        if self.schedule.steps == 1:
            return self.schedule.beta_between(0, -1, like)
        return (
            self.schedule.beta_between(1, 0, like) * self.schedule.variance(0, like) / self.schedule.variance(1, like)
        )

    def prior_kl(self, x_0: Tensor, event_ndim: int) -> Tensor:
        """L_T = KL(q(x_T | x_0) ‖ N(0, I)), nats, (*B,)."""
        q = self.marginal(x_0, self.schedule.steps - 1)
        return sum_event(normal_kl(q.mean, 0.5 * q.variance.log().expand_as(x_0)), event_ndim)

    def denoising_kl(self, x_0: Tensor, x_0_hat: Tensor, x_t: Tensor, t: Tensor | int, event_ndim: int) -> Tensor:
        """L_{t} = KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) for index t ≥ 1, nats, (*B,)."""
        q, p = self.posterior(x_0, x_t, t), self.reverse(x_0_hat, x_t, t)
        log_stds = (0.5 * q.variance.log().expand_as(x_0), 0.5 * p.variance.log().expand_as(x_0))
        return sum_event(normal_kl(q.mean, log_stds[0], p.mean, log_stds[1]), event_ndim)

    def reconstruction(self, x_0: Tensor, x_0_hat: Tensor, x_1: Tensor, event_ndim: int) -> Tensor:
        """log p(x_0 | x_1): a density, or with `levels` the probability of x_0's bin, nats, (*B,).

        Raises ValueError for an x_0 that is none of the `levels` values, such as pixels in 0..K−1 or in [0, 1].
        """
        p = self.reverse(x_0_hat, x_1, 0)
        log_std = 0.5 * p.variance.log().expand_as(x_0)
        if self.levels is None:
            return sum_event(normal_log_prob(x_0, p.mean, log_std), event_ndim)
        k = (x_0 + 1.0) / 2.0 * (self.levels - 1)
        fits = ((k - k.round()).abs() < 0.01) & (x_0.abs() < 1.0 + 0.01 / self.levels)
        if not bool(fits.all()):
            found = f"{float(x_0[~fits][0]):g} in {x_0.dtype}"
            raise ValueError(
                f"x_0 must hold values 2k/{self.levels - 1} − 1 for k in 0..{self.levels - 1}, got {found}"
            )
        return sum_event(discretised_normal_log_prob(x_0, p.mean, log_std, self.levels), event_ndim)

    def bound(
        self,
        x_0: Tensor,
        denoise: Callable[[Tensor, Tensor], Tensor],
        event_ndim: int,
        *,
        generator: torch.Generator | None = None,
    ) -> Bound:
        """Every term of eq. 5 with one draw of x_t each; denoise(x_t, t) guesses x_0, with t of shape (*B,)."""
        batch = x_0.shape[: x_0.ndim - event_ndim]
        terms = []
        for t in range(self.schedule.steps):
            x_t = self.diffuse(x_0, t, standard_normal(x_0.shape, x_0, generator))
            x_0_hat = denoise(x_t, torch.full(batch, t, device=x_0.device))
            if t == 0:
                reconstruction = self.reconstruction(x_0, x_0_hat, x_t, event_ndim)
            else:
                terms.append(self.denoising_kl(x_0, x_0_hat, x_t, t, event_ndim))
        denoising = torch.stack(terms) if terms else x_0.new_zeros((0, *batch))
        return Bound(self.prior_kl(x_0, event_ndim), denoising, reconstruction)


def discretised_normal_log_prob(x: Tensor, mean: Tensor, log_std: Tensor, levels: int) -> Tensor:
    """log of a normal's mass in the bin around x = 2k/(K−1) − 1, the outer bins reaching to ±∞ (eq. 13), nats."""
    half = 1.0 / (levels - 1)
    upper = torch.where(x > 1.0 - half, torch.inf, (x + half - mean) * torch.exp(-log_std))
    lower = torch.where(x < -1.0 + half, -torch.inf, (x - half - mean) * torch.exp(-log_std))
    flip = lower > 0  # on the far side the mirrored tails are subtracted, which keeps their digits
    lower, upper = torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)
    log_upper: Tensor = torch.special.log_ndtr(upper)
    log_lower: Tensor = torch.special.log_ndtr(lower)
    tiny = torch.finfo(x.dtype).tiny
    return log_upper + torch.log(-torch.expm1((log_lower - log_upper).clamp(max=-tiny)))
