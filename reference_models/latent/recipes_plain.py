"""How mixtures, pPCA, the VAE and its bounds, hierarchies and vector quantisation are trained, and what they reach.

Metrics of this half of the folder beside the common ones, all on held-out data and in nats per example: `nelbo_nats`,
minus the bound of one draw; `iw_nll_nats`, minus the bound of 200 importance samples, from above close to −log p(x);
`excess_nats`, where the entropy is known: `iw_nll_nats` (or −log p, where that is exact) minus it; `rate_nats`, the KL
part of the bound; `active_units`, the coordinates of the code that move with x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Generator, Tensor

from reference_models.data import DataSet
from reference_models.evaluation.features import digit_features
from reference_models.evaluation.frechet import frechet_interval
from reference_models.evaluation.mode_coverage import mode_coverage
from reference_models.latent.beta_vae import BetaVAE, linear_capacity
from reference_models.latent.dip_vae import DIPVAE, dip_penalty
from reference_models.latent.elbo_surgery import fit_posterior, surgery
from reference_models.latent.gaussian_mixture import MixtureOfGaussians, em_step, spread_start
from reference_models.latent.hierarchical_vae import HierarchicalVAE, Scale
from reference_models.latent.iwae import IWAE, importance_bound
from reference_models.latent.posterior_collapse import GuardedVAE, active_units
from reference_models.latent.ppca import PPCA
from reference_models.latent.vae import VAE, GaussianPosterior, StandardNormal
from reference_models.latent.vector_quantiser import VectorQuantiser, perplexity
from reference_models.latent.vqvae import VQVAE
from reference_models.latent.vqvae2 import VQVAE2
from reference_models.parts.likelihoods import Binomial
from reference_models.parts.training import evaluating
from reference_models.recipes import Figure, Goal, Images, Learner, Minimise, Points, Recipe, cosine

TRIALS = {"bars": 1, "digits-binary": 1, "digits": 16, "mnist": 255}
PICTURES = ("bars", "digits-binary", "digits", "mnist")
DIGITS = ("digits-binary", "digits", "mnist")
Metrics = Callable[[Any, DataSet, Generator], dict[str, float]]


def _vae(data: DataSet, latent_dim: int = 8) -> VAE:
    return VAE.mlp(data.event_shape, latent_dim, (256, 256), likelihood=Binomial(TRIALS[data.name]))


def _images(model: Any, data: DataSet, generator: Generator) -> Figure:
    return Images(model.sample(64, generator=generator).clamp(0, 1))


def _posterior(vae: VAE, x: Tensor) -> GaussianPosterior:
    return cast(GaussianPosterior, vae.posterior(x))


def frechet(model: Any, data: DataSet, generator: Generator) -> dict[str, float]:
    """frechet_digits of 1000 samples to the held-out digits with its 95 % interval; nothing for other data."""
    if data.name != "digits":
        return {}
    fake, real = digit_features(model.sample(1000, generator=generator)), digit_features(data.held_out)
    found = frechet_interval(fake, real, generator=generator)
    return {"frechet_digits": found.value, "frechet_digits_low": found.low, "frechet_digits_high": found.high}


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


# --- the Gaussian mixture and pPCA


class BothWays(Learner):
    """A mixture by EM and one by gradient from the same start, on full batches."""

    def __init__(self, data: DataSet, components: int) -> None:
        super().__init__()
        start = spread_start(data.train, components, generator=Generator(data.train.device).manual_seed(0))
        self.em, self.gradient = MixtureOfGaussians(start), MixtureOfGaussians(start)
        self._optimiser = torch.optim.Adam(self.gradient.parameters(), lr=0.02)

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        with torch.no_grad():
            self.em = MixtureOfGaussians(em_step(x, self.em.mixture()))
            by_em = -self.em.log_prob(x).mean().item()
        loss = -self.gradient.log_prob(x).mean()
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        return {"EM": by_em, "gradient": loss.item()}

    @torch.no_grad()
    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        found = {"nll_nats": -self.em.log_prob(data.held_out).mean().item()}
        found["apart_nats"] = abs(found["nll_nats"] + self.gradient.log_prob(data.held_out).mean().item())
        if data.entropy is not None:
            found["excess_nats"] = found["nll_nats"] - data.entropy
        if data.target is not None:
            coverage = mode_coverage(self.em.sample(4000, generator=generator), data.target)
            found |= {"within_4_sigma": coverage.within_4_sigma, "modes_covered": float(coverage.modes_covered)}
        return found

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        return Points(self.em.sample(2000, generator=generator), data.held_out[:2000])


def _mixture(data: DataSet) -> Learner:
    return BothWays(data, {"mixture": 4, "eight-gaussians": 8}.get(data.name, 16))


class EMOfPPCA(Learner):
    """pPCA by EM on full batches; the closed form is what it must reach."""

    def __init__(self, data: DataSet, latent_dim: int = 12) -> None:
        super().__init__()
        self.event_shape = data.event_shape
        x = data.train.flatten(1)
        W = torch.randn(x.shape[1], latent_dim, device=x.device, dtype=x.dtype)
        self.model, self.best = PPCA(0.1 * W, x.mean(dim=0), 0.3), PPCA.maximum_likelihood(x, latent_dim)

    @torch.no_grad()
    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        x = x.flatten(1)
        self.model = self.model.em_step(x)
        return {"nll": -self.model.log_prob(x).mean().item(), "closed form": -self.best.log_prob(x).mean().item()}

    @torch.no_grad()
    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        x, held_out = data.train.flatten(1), data.held_out.flatten(1)
        apart = (self.best.log_prob(x) - self.model.log_prob(x)).mean().item()
        return {"nll_nats": -self.model.log_prob(held_out).mean().item(), "below_closed_form_nats": apart}

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        samples = self.model.sample(64, generator=generator)
        return Images(samples.reshape(-1, *self.event_shape).clamp(0, 1))


# --- bounds


def _minimise(model: Any, loss: Callable[..., Tensor], metrics: Metrics = bound_metrics, lr: float = 2e-3) -> Learner:
    return Minimise(model, loss=loss, metrics=metrics, figure=_images, lr=lr, decay=True)


def _negative_bound(model: Any, x: Tensor, y: Tensor | None, generator: Generator) -> Tensor:
    """−ELBO, nats, the mean over the batch."""
    return cast(Tensor, -model.elbo(x, generator=generator).value.mean())


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
        super().__init__(model, loss=loss, metrics=bound_metrics, figure=_images, lr=2e-3, decay=True)


def _dip_metrics(model: DIPVAE, data: DataSet, generator: Generator) -> dict[str, float]:
    with torch.no_grad():
        penalty = dip_penalty(_posterior(model.vae, data.held_out), model.version)
    off = {"off_diagonal": penalty.off_diagonal.item(), "diagonal": penalty.diagonal.item()}
    return bound_metrics(model, data, generator) | off


def _dip(version: Literal["I", "II"] = "II") -> Callable[[DataSet], Learner]:
    return lambda data: _minimise(DIPVAE(_vae(data), version), _own_loss, _dip_metrics)


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
        self._optimiser.zero_grad()
        (-guarded.value - plain.value).backward()
        self._optimiser.step()
        return {"guarded": -guarded.value.item(), "bound": -plain.value.item()}

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        found: dict[str, float] = {}
        for prefix, model in (("", self.model), ("unguarded_", self.unguarded)):
            found |= {prefix + k: v for k, v in bound_metrics(model, data, generator).items()}
            with torch.no_grad():
                found[prefix + "active_units"] = float(active_units(_posterior(model, data.held_out).mean))
        return found

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        return _images(self.model, data, generator)


def _hierarchy(data: DataSet) -> Learner:
    size = data.event_shape[-1]
    scales = [Scale(size // 4, 2, 4), Scale(size // 2, 2, 2)]
    model = HierarchicalVAE(data.event_shape, scales, width=16, likelihood=Binomial(TRIALS[data.name]))
    return _minimise(model, _negative_bound, lambda m, d, g: bound_metrics(m, d, g, samples=50), lr=3e-3)


# --- vector quantisation


class TwoStages(Learner):
    """First the autoencoder with its codebooks, then the prior of the codes of what is by then fixed."""

    def __init__(self, model: VQVAE | VQVAE2, first: float = 0.5) -> None:
        super().__init__()
        self.model, self.first = model, first
        priors = [model.prior] if isinstance(model, VQVAE) else [model.top_prior, model.bottom_prior]
        prior = [p for part in priors if part is not None for p in part.parameters()]
        known = {id(p) for p in prior}
        rest = [p for p in model.parameters() if id(p) not in known and p.requires_grad]
        self._autoencoder, self._prior = torch.optim.Adam(rest, lr=2e-3), torch.optim.Adam(prior, lr=3e-3)
        self._started = False

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        if not self._started:
            self._restart(x, math.inf, generator)
            self._started = True
        if self.progress < self.first:
            loss = self.model.loss(x)
            self._update(self._autoencoder, loss.value, cosine(self.progress / self.first))
            self._move(x)
            self._restart(x, 0.05, generator)
            return {"reconstruction": loss.nll.item(), "commitment": loss.commitment.item()}
        nll = self.model.prior_loss(x)
        self._update(self._prior, nll, cosine((self.progress - self.first) / (1 - self.first)))
        return {"prior": nll.item()}

    @staticmethod
    def _update(optimiser: torch.optim.Optimizer, loss: Tensor, decay: float) -> None:
        base = optimiser.defaults["lr"]
        for group in optimiser.param_groups:
            group["lr"] = base * decay
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    def _move(self, x: Tensor) -> None:
        if isinstance(self.model, VQVAE):
            self.model.update_codebook(x)
        else:
            self.model.update_codebooks(x)

    @torch.no_grad()
    def _restart(self, x: Tensor, below: float, generator: Generator) -> None:
        for quantiser, z in self._quantised(x):
            quantiser.restart(z, below=below, generator=generator)

    def _quantised(self, x: Tensor) -> list[tuple[VectorQuantiser, Tensor]]:
        if isinstance(self.model, VQVAE):
            return [(self.model.quantiser, self.model.encoder(x))]
        levels = self.model.quantise(x)
        return [(self.model.quantise_top, levels.z_top), (self.model.quantise_bottom, levels.z_bottom)]

    @torch.no_grad()
    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        x = data.held_out
        bound = self.model.elbo(x)
        found = {
            "nelbo_nats": -bound.value.mean().item(),
            "rate_nats": bound.kl.mean().item(),
            "distortion_nats": -bound.reconstruction.mean().item(),
            "perplexity": min(perplexity(q.nearest(z), q.K).item() for q, z in self._quantised(x)),
        }
        return found | frechet(self.model, data, generator)

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        return _images(self.model, data, generator)


def _vqvae(data: DataSet) -> Learner:
    likelihood = Binomial(TRIALS[data.name])
    return TwoStages(VQVAE.conv(data.event_shape, 64, 8, hidden=32, likelihood=likelihood, ema_decay=0.95, halvings=1))


def _vqvae2(data: DataSet) -> Learner:
    return TwoStages(VQVAE2(data.event_shape, 64, 8, hidden=32, likelihood=Binomial(TRIALS[data.name]), ema_decay=0.95))


PLAIN: dict[str, Recipe] = {
    "gaussian-mixture": Recipe(
        _mixture,
        data=("mixture", "eight-gaussians", "moons", "checkerboard"),
        goals=(Goal("excess_nats", at_most=0.03, at_least=-0.03), Goal("modes_covered", at_least=4)),
        minutes=0.25,
        batch_size=8000,
    ),
    "ppca": Recipe(
        EMOfPPCA,
        data=("digits", "mnist"),
        goals=(Goal("below_closed_form_nats", at_most=0.01),),
        minutes=0.25,
        batch_size=8000,
    ),
    "vae": Recipe(
        lambda data: _minimise(_vae(data), _negative_bound),
        data=PICTURES,
        goals=(Goal("excess_nats", at_most=0.8, at_least=-0.1),),
    ),
    "elbo-surgery": Recipe(
        lambda data: _minimise(_vae(data), _negative_bound, _surgery_metrics),
        data=DIGITS,
        goals=(
            Goal("nelbo_nats", at_most=19),
            Goal("information_nats", at_most=math.log(500) + 0.01),
            Goal("amortisation_gap_nats", at_least=0.0),
        ),
    ),
    "iwae": Recipe(
        lambda data: _minimise(IWAE(_vae(data), 8), _own_loss),
        data=PICTURES,
        goals=(Goal("excess_nats", at_most=0.5, at_least=-0.1),),
    ),
    "beta-vae": Recipe(
        Annealed, data=DIGITS, goals=(Goal("rate_nats", at_least=11, at_most=13), Goal("nelbo_nats", at_most=23))
    ),
    "dip-vae": Recipe(_dip(), data=DIGITS, goals=(Goal("off_diagonal", at_most=0.1), Goal("nelbo_nats", at_most=19))),
    "posterior-collapse": Recipe(
        Guarded,
        data=("bars", "digits-binary"),
        goals=(
            Goal("excess_nats", at_most=0.8, at_least=-0.1),
            Goal("rate_nats", at_least=3.0),
            Goal("unguarded_rate_nats", at_most=1.0),
        ),
    ),
    "hierarchical-vae": Recipe(_hierarchy, data=("bars", *DIGITS), goals=(Goal("excess_nats", at_most=0.8),)),
    "vq-vae": Recipe(
        _vqvae,
        data=("digits", "digits-binary", "mnist"),
        goals=(Goal("frechet_digits", at_most=13), Goal("perplexity", at_least=20)),
    ),
    "vq-vae-2": Recipe(
        _vqvae2,
        data=("digits", "digits-binary", "mnist"),
        goals=(Goal("frechet_digits", at_most=13), Goal("perplexity", at_least=10)),
    ),
}
