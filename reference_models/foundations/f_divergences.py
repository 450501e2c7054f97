r"""f-divergences, their Fenchel conjugates, and the variational bound that lets a critic estimate them from samples.

For a convex f with f(1) = 0 and its conjugate f*(t) = sup_u {t u − f(u)},

    D_f(p ‖ q) = E_q f(p/q)                                                                     (eq. 2)
               ≥ E_p T(x) − E_q f*(T(x))        for every T with values in dom f*,               (eq. 4)

with equality at T(x) = f'(p(x)/q(x)) (eq. 5). A critic V with any real output becomes a T by an activation g_f,
T = g_f(V), table 2. A row of functions is a divergence: `F_DIVERGENCES` holds the six of table 2 and, from the
appendix, Neyman's and the total variation.

NOTE: with the generator of the paper's table 1, "js" is *twice* the Jensen–Shannon divergence; "gan" is twice it less
log 4, so that f(1) = −log 4, and not 0 as for the others. "tv" is the total variation ½ Σ|p − q|. Activations all
increase here: a larger V speaks for p. For "pearson" and t < −2 the supremum over u ≥ 0 is −1, which
t²/4 + t exceeds: still a bound.

f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization (Nowozin, Cseke and Tomioka, 2016),
eqs. 2, 4 and 5, tables 1 and 2 and those of the appendix, https://arxiv.org/abs/1606.00709
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reference_models.foundations.divergences import require_laws
from reference_models.parts.require import has_shape, one_of

__all__ = ["F_DIVERGENCES", "FDivergence", "f_divergence", "get", "optimal_critic", "variational_bound"]

Function = Callable[[Tensor], Tensor]
LOG_2 = math.log(2)


@dataclass(frozen=True)
class FDivergence:
    """One row of the paper's tables; all functions act elementwise.

    f: the generator, of u = p/q > 0. df: its derivative. conjugate: f*, of t in dom f*. activation: g_f, from all
        reals to dom f*.
    domain: the open interval dom f* (its upper end belongs to it for "tv").
    at_zero: f(0+), what an outcome with p = 0 pays per unit of q. slope: lim f(u)/u, what one with q = 0 pays per
        unit of p.
    """

    name: str
    f: Function
    df: Function
    conjugate: Function
    activation: Function
    domain: tuple[float, float]
    at_zero: float
    slope: float


def _softplus_negative(v: Tensor) -> Tensor:
    """log(1 + e^{−v})."""
    return nn.functional.softplus(-v)


INF = math.inf
F_DIVERGENCES: Mapping[str, FDivergence] = {
    row.name: row
    for row in (
        FDivergence(
            "kl",
            f=lambda u: u * u.log(),
            df=lambda u: u.log() + 1,
            conjugate=lambda t: (t - 1).exp(),
            activation=lambda v: v,
            domain=(-INF, INF),
            at_zero=0.0,
            slope=INF,
        ),
        FDivergence(
            "reverse-kl",
            f=lambda u: -u.log(),
            df=lambda u: -1 / u,
            conjugate=lambda t: -1 - (-t).log(),
            activation=lambda v: -(-v).exp(),
            domain=(-INF, 0.0),
            at_zero=INF,
            slope=0.0,
        ),
        FDivergence(
            "pearson",
            f=lambda u: (u - 1) ** 2,
            df=lambda u: 2 * (u - 1),
            conjugate=lambda t: t**2 / 4 + t,
            activation=lambda v: v,
            domain=(-INF, INF),
            at_zero=1.0,
            slope=INF,
        ),
        FDivergence(
            "neyman",
            f=lambda u: (1 - u) ** 2 / u,
            df=lambda u: 1 - 1 / u**2,
            conjugate=lambda t: 2 - 2 * (1 - t).sqrt(),
            activation=lambda v: 1 - (-v).exp(),
            domain=(-INF, 1.0),
            at_zero=INF,
            slope=1.0,
        ),
        FDivergence(
            "squared-hellinger",
            f=lambda u: (u.sqrt() - 1) ** 2,
            df=lambda u: 1 - 1 / u.sqrt(),
            conjugate=lambda t: t / (1 - t),
            activation=lambda v: 1 - (-v).exp(),
            domain=(-INF, 1.0),
            at_zero=1.0,
            slope=1.0,
        ),
        FDivergence(
            "js",
            f=lambda u: u * u.log() - (u + 1) * ((1 + u) / 2).log(),
            df=lambda u: LOG_2 + u.log() - (1 + u).log(),
            conjugate=lambda t: -(2 - t.exp()).log(),
            activation=lambda v: LOG_2 - _softplus_negative(v),
            domain=(-INF, LOG_2),
            at_zero=LOG_2,
            slope=LOG_2,
        ),
        FDivergence(
            "gan",
            f=lambda u: u * u.log() - (u + 1) * (u + 1).log(),
            df=lambda u: u.log() - (u + 1).log(),
            conjugate=lambda t: -(-t.exp()).log1p(),
            activation=lambda v: -_softplus_negative(v),
            domain=(-INF, 0.0),
            at_zero=0.0,
            slope=0.0,
        ),
        FDivergence(
            "tv",
            f=lambda u: (u - 1).abs() / 2,
            df=lambda u: (u - 1).sign() / 2,
            conjugate=lambda t: t,
            activation=lambda v: v.tanh() / 2,
            domain=(-0.5, 0.5),
            at_zero=0.5,
            slope=0.5,
        ),
    )
}


def get(name: str) -> FDivergence:
    """The divergence of this name. Raises ValueError, with the names there are, for another."""
    one_of("divergence", name, tuple(F_DIVERGENCES))
    return F_DIVERGENCES[name]


def f_divergence(name: str, p: Tensor, q: Tensor) -> Tensor:
    """D_f(p ‖ q) of laws (*B, K), exactly, nats for the KL kind, shape (*B,).

    Outcomes of mass 0 count as the limits: q f(0+) where p = 0, p lim f(u)/u where q = 0. Raises ValueError for rows
    that are no laws.
    """
    divergence = get(name)
    require_laws(p=p, q=q)
    both = (p > 0) & (q > 0)
    ratio = torch.where(both, p, 1.0) / torch.where(both, q, 1.0)
    inside = q * divergence.f(ratio)
    only_q = torch.where(q > 0, q * divergence.at_zero, 0.0)
    only_p = torch.where(p > 0, p * divergence.slope, 0.0)
    return torch.where(both, inside, torch.where(q > 0, only_q, only_p)).sum(-1)


def optimal_critic(name: str, log_ratio: Tensor) -> Tensor:
    """T*(x) = f'(p/q) from log p − log q, elementwise: the critic that makes the bound exact."""
    return get(name).df(log_ratio.exp())


def variational_bound(
    name: str, critic_p: Tensor, critic_q: Tensor, *, weights_p: Tensor | None = None, weights_q: Tensor | None = None
) -> Tensor:
    """E_p T − E_q f*(T), a scalar, from T at samples of p, shape (N,), and of q, shape (M,): at most D_f(p ‖ q).

    weights_p, weights_q: masses of the points when they are not samples but all the outcomes of a law; equal unless
        given.
    Raises ValueError when a T lies outside dom f* (apply the activation first) or at an end of it where f* is infinite
    (an activation rounds to it), or when weights do not fit their points.
    """
    divergence = get(name)
    low, high = divergence.domain
    for values, weights in ((critic_p, weights_p), (critic_q, weights_q)):
        if weights is not None:
            has_shape("weights", weights, values.shape)
        if not bool(((values >= low) & (values <= high)).all()):
            found = f"values in [{float(values.min()):g}, {float(values.max()):g}]"
            raise ValueError(f"every T of {name!r} must lie in the domain ({low:g}, {high:g}) of f*, got {found}")
    on_p, on_q = critic_p, divergence.conjugate(critic_q)
    if bool((on_q.isinf() & (critic_q == high)).any()):
        raise ValueError(f"f* of {name!r} is infinite at the end {high:g} of its domain, which some T reach")
    mean_p = on_p.mean() if weights_p is None else (weights_p * on_p).sum()
    mean_q = on_q.mean() if weights_q is None else (weights_q * on_q).sum()
    return mean_p - mean_q
