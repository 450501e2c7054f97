"""How the VAE, its bounds and its hierarchies are trained, and what every recipe of a bound in this folder measures.

Metrics, all on held-out data and in nats per example: `nelbo_nats`, minus the bound of one draw; `iw_nll_nats`, minus
the bound of 200 importance samples, from above close to −log p(x); `excess_nats`, where the entropy is known:
`iw_nll_nats` minus it; `rate_nats`, the KL part of the bound; `active_units`, the coordinates of the code that move
with x.

On "crossed-bars" 128 products of Bernoulli laws stay 11 nats above the entropy, for there are 65,536 patterns; a code
of sixteen variables has one for each bar.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Generator, Tensor

from reference_models.data import DataSet
from reference_models.evaluation.held_out import digits_found
from reference_models.latent.beta_vae import BetaVAE, linear_capacity
from reference_models.latent.dip_vae import DIPVAE, dip_penalty
from reference_models.latent.elbo_surgery import fit_posterior, surgery
from reference_models.latent.hierarchical_vae import HierarchicalVAE, Scale
from reference_models.latent.iwae import IWAE, importance_bound
from reference_models.latent.posterior_collapse import GuardedVAE, active_units
from reference_models.latent.vae import VAE, GaussianPosterior, StandardNormal, mlp_vae
from reference_models.parts.descent import descend
from reference_models.parts.likelihoods import Binomial, Likelihood
from reference_models.parts.training import evaluating
from reference_models.recipes import Figure, Goal, Learner, Minimise, Recipe, beside_data, cosine

PICTURES = ("crossed-bars", "bars", "glass", "drawn-binary", "digits-binary", "digits", "drawn-16", "mnist")
DIGITS = ("drawn-binary", "digits-binary", "digits", "mnist")
LATENT_DIM, HIDDEN = 16, (256, 256)
EXCESS = Goal("excess_nats", at_least=-0.1, at_most=8.0)
Metrics = Callable[[Any, DataSet, Generator], dict[str, float]]


def levels(data: DataSet) -> Likelihood:
    """Pixels k/n as n trials of a coin."""
    return Binomial(data.grades - 1)


def samples_of(model: Any, data: DataSet, generator: Generator) -> Figure:
    """64 samples beside data."""
    return beside_data(model.sample(64, generator=generator).clamp(0, 1), data)


def _posterior(vae: VAE, x: Tensor) -> GaussianPosterior:
    return cast(GaussianPosterior, vae.posterior(x))


def frechet(model: Any, data: DataSet, generator: Generator) -> dict[str, float]:
    """`digits_found` of 1000 samples; nothing for other data, of which none is drawn."""
    grey = data.event_shape[0] == 1 and data.levels != 2
    return digits_found(model.sample(1000, generator=generator), data, generator) if grey else {}


def bound_metrics(model: Any, data: DataSet, generator: Generator, samples: int = 200) -> dict[str, float]:
    """nelbo_nats, rate_nats, iw_nll_nats and, where the entropy is known, excess_nats, on at most 1000 examples."""
    x = data.held_out[:1000]
    weights = model.vae.log_weights if hasattr(model, "vae") else model.log_weights
    with evaluating(model):
        bound = model.elbo(x, generator=generator)
        parts = [importance_bound(weights(chunk, samples, generator=generator)) for chunk in x.split(100)]
    found = {
        "nelbo_nats": -bound.value.mean().item(),
        "rate_nats": bound.kl.mean().item(),
        "iw_nll_nats": -torch.cat(parts).mean().item(),
    }
    if data.entropy is not None:
        found["excess_nats"] = found["iw_nll_nats"] - data.entropy
    return found | frechet(model, data, generator)


def negative_bound(model: Any, x: Tensor, y: Tensor | None, generator: Generator) -> Tensor:
    """−ELBO, nats, the mean over the batch."""
    return cast(Tensor, -model.elbo(x, generator=generator).value.mean())


def minimise(
    model: Any, loss: Callable[..., Tensor] = negative_bound, metrics: Metrics = bound_metrics, lr: float = 2e-3
) -> Learner:
    """A model trained on a loss, minus its bound unless told, by Adam."""
    return Minimise(model, loss=loss, metrics=metrics, figure=samples_of, lr=lr, decay=True)


def _vae(data: DataSet) -> VAE:
    return mlp_vae(data.event_shape, LATENT_DIM, HIDDEN, likelihood=levels(data))


def _own_loss(model: Any, x: Tensor, y: Tensor | None, generator: Generator) -> Tensor:
    return cast(Tensor, model.loss(x, generator=generator))


def _surgery_metrics(model: VAE, data: DataSet, generator: Generator) -> dict[str, float]:
    """The rate's two parts on the training set's first 500 examples, and the two gaps on 50 held-out ones."""
    found = bound_metrics(model, data, generator)
    x = data.held_out[:50]
    with evaluating(model):
        parts = surgery(_posterior(model, data.train[:500]), cast(StandardNormal, model.prior), generator=generator)
        amortised = model.elbo(x, samples=200, generator=generator).value.mean().item()
        evidence = importance_bound(model.log_weights(x, 2000, generator=generator)).mean().item()
    q = fit_posterior(model, x, steps=200, generator=generator)
    best = VAE(lambda _: q, model.decoder, model.prior, model.likelihood, event_shape=model.event_shape)
    with torch.no_grad():
        refined = best.elbo(x, samples=200, generator=generator).value.mean().item()
    return found | {
        "information_nats": parts.mutual_information.item(),
        "marginal_kl_nats": parts.marginal_kl.item(),
        "amortisation_gap_nats": refined - amortised,
        "approximation_gap_nats": evidence - refined,
    }


class Annealed(Minimise):
    """β-VAE by capacity: C rises to 12 nats over the first half of training, γ = 10."""

    def __init__(self, data: DataSet) -> None:
        def loss(model: BetaVAE, x: Tensor, y: Tensor | None, generator: Generator) -> Tensor:
            return model.loss(x, capacity=linear_capacity(2 * self.progress, 12.0), generator=generator)

        model = BetaVAE(_vae(data), beta=10.0)
        super().__init__(model, loss=loss, metrics=bound_metrics, figure=samples_of, lr=2e-3, decay=True)


def _dip_metrics(model: DIPVAE, data: DataSet, generator: Generator) -> dict[str, float]:
    with torch.no_grad():
        penalty = dip_penalty(_posterior(model.vae, data.held_out), model.version)
    off = {"off_diagonal": penalty.off_diagonal.item(), "diagonal": penalty.diagonal.item()}
    return bound_metrics(model, data, generator) | off


def _dip(version: Literal["I", "II"] = "II") -> Callable[[DataSet], Learner]:
    return lambda data: minimise(DIPVAE(_vae(data), version), _own_loss, _dip_metrics)


class Guarded(Learner):
    """Two models with a decoder that sees all earlier pixels: one trained on the bound, one with all three guards."""

    def __init__(self, data: DataSet, floor: float = 0.5) -> None:
        super().__init__()
        window = math.prod(data.event_shape) - 1
        self.model = GuardedVAE(data.event_shape, window, latent_dim=8)
        self.unguarded = GuardedVAE(data.event_shape, window, latent_dim=8)
        self.floor = floor
        self._optimiser = torch.optim.Adam([*self.model.parameters(), *self.unguarded.parameters()], lr=2e-3)

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        weight, dropout = min(2 * self.progress, 1.0), 0.5 * cosine(self.progress)
        guarded = self.model.objective(x, weight=weight, floor=self.floor, dropout=dropout, generator=generator)
        plain = self.unguarded.objective(x, generator=generator)
        descend(self._optimiser, -guarded.value - plain.value)
        return {"guarded": -guarded.value.item(), "bound": -plain.value.item()}

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        found: dict[str, float] = {}
        for prefix, model in (("", self.model), ("unguarded_", self.unguarded)):
            found |= {prefix + k: v for k, v in bound_metrics(model, data, generator).items()}
            with torch.no_grad():
                found[prefix + "active_units"] = float(active_units(_posterior(model, data.held_out).mean))
        return found

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        return samples_of(self.model, data, generator)


def _hierarchy(data: DataSet) -> Learner:
    size = data.event_shape[-1]
    scales = [Scale(size // 4, 2, 4), Scale(size // 2, 2, 2)]
    model = HierarchicalVAE(data.event_shape, scales, width=16, likelihood=levels(data))
    return minimise(model, negative_bound, lambda m, d, g: bound_metrics(m, d, g, samples=50), lr=3e-3)


MINUTES = 0.5

BOUNDS: dict[str, Recipe] = {
    "vae": Recipe(
        lambda data: minimise(_vae(data), negative_bound),
        data=PICTURES,
        goals=(EXCESS,),
        minutes=MINUTES,
    ),
    "elbo-surgery": Recipe(
        lambda data: minimise(_vae(data), negative_bound, _surgery_metrics),
        data=DIGITS,
        goals=(
            Goal("nelbo_nats", at_most=19.2),
            Goal("information_nats", at_least=3.0, at_most=math.log(500) + 0.01),
            Goal("amortisation_gap_nats", at_least=0.0),
        ),
        minutes=MINUTES,
    ),
    "iwae": Recipe(
        lambda data: minimise(IWAE(_vae(data), 8), _own_loss),
        data=PICTURES,
        goals=(EXCESS,),
        minutes=MINUTES,
    ),
    "beta-vae": Recipe(
        Annealed,
        data=DIGITS,
        goals=(Goal("rate_nats", at_least=11, at_most=13), Goal("nelbo_nats", at_most=23)),
        minutes=MINUTES,
        apart="it is asked for a rate, not for likelihood: β trades one for the other",
    ),
    "dip-vae": Recipe(
        _dip(),
        data=DIGITS,
        goals=(Goal("off_diagonal", at_most=0.1), Goal("rate_nats", at_least=3.0), Goal("nelbo_nats", at_most=19.2)),
        minutes=MINUTES,
    ),
    "posterior-collapse": Recipe(
        Guarded,
        data=("crossed-bars", "bars", "drawn-binary", "digits-binary"),
        goals=(
            EXCESS,
            Goal("rate_nats", at_least=3.0),
            Goal("unguarded_rate_nats", at_most=1.0),
        ),
        minutes=MINUTES,
    ),
    "hierarchical-vae": Recipe(_hierarchy, data=PICTURES, goals=(EXCESS,), minutes=1.0),
}
