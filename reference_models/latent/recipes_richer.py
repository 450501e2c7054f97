"""How richer decoders, priors and posteriors, discrete and implicit codes are trained, and what they reach.

Metrics as in `recipes_plain`; beside them `nll_nats`, exact -log p(x), by the sum over all codes (Gumbel-softmax) or by
quadrature over a code of two variables (adversarial variational Bayes), `cluster_accuracy`, the share of digits whose
component's commonest digit is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from reference_models.data import DataSet
from reference_models.latent.autoregressive_prior import AutoregressivePrior
from reference_models.latent.avb import AVB
from reference_models.latent.flow_posterior import IAFVAE
from reference_models.latent.flow_prior import FlowPrior
from reference_models.latent.gumbel_vae import GumbelVAE, annealed_temperature
from reference_models.latent.mixture_prior import VaDE
from reference_models.latent.pixelvae import PixelVAE
from reference_models.latent.recipes_plain import PICTURES, TRIALS, bound_metrics
from reference_models.latent.vae import VAE
from reference_models.latent.vampprior import VampVAE
from reference_models.parts.likelihoods import Binomial, Likelihood
from reference_models.protocols import Density
from reference_models.recipes import Figure, Goal, Images, Learner, Minimise, Recipe, cosine

LATENT_DIM, HIDDEN = 8, (256, 256)


def _pixels(data: DataSet) -> Likelihood:
    return Binomial(TRIALS[data.name])


def _images(model: Any, data: DataSet, generator: Generator) -> Figure:
    return Images(model.sample(64, generator=generator).clamp(0, 1))


def _on_the_bound(
    model: VAE, metrics: Callable[[Any, DataSet, Generator], dict[str, float]] = bound_metrics, lr: float = 2e-3
) -> Learner:
    return Minimise(
        model,
        loss=lambda model, x, y, generator: -model.elbo(x, generator=generator).value.mean(),
        metrics=metrics,
        figure=_images,
        lr=lr,
        decay=True,
    )


def _with_prior(prior: Callable[[], Density]) -> Callable[[DataSet], Learner]:
    return lambda data: _on_the_bound(
        VAE.mlp(data.event_shape, LATENT_DIM, HIDDEN, likelihood=_pixels(data), prior=prior())
    )


def _pixelvae(data: DataSet) -> Learner:
    model = PixelVAE(data.event_shape, TRIALS[data.name] + 1, LATENT_DIM, (256,), maps=8, features=16, layers=2)
    return _on_the_bound(model, lambda model, data, generator: bound_metrics(model, data, generator, samples=50))


def _vamp(data: DataSet) -> Learner:
    K = 64
    start = data.train[:K]
    return _on_the_bound(
        VampVAE(data.event_shape, LATENT_DIM, HIDDEN, K, likelihood=_pixels(data), pseudo_inputs=start)
    )


def _iaf(data: DataSet) -> Learner:
    return _on_the_bound(
        IAFVAE(data.event_shape, LATENT_DIM, HIDDEN, steps=2, flow_hidden=(64,), context=32, likelihood=_pixels(data))
    )


def _vade(data: DataSet) -> Learner:
    components = 32 if data.name == "bars" else 10
    return _on_the_bound(
        VaDE(data.event_shape, LATENT_DIM, HIDDEN, components, likelihood=_pixels(data)), _cluster_metrics
    )


def _cluster_metrics(model: VaDE, data: DataSet, generator: Generator) -> dict[str, float]:
    found = bound_metrics(model, data, generator)
    if data.held_out_labels is not None and data.name != "bars":
        clusters, labels = model.cluster(data.held_out), data.held_out_labels
        table = torch.bincount(clusters * 10 + labels, minlength=10 * len(model.prior.logits)).view(-1, 10)
        found["cluster_accuracy"] = table.amax(1).sum().item() / len(labels)
    return found


class Annealing(Minimise):
    """A straight-through Gumbel-softmax VAE, the temperature falling from 1 to 1/2.

    Decoding the relaxed codes themselves lets the decoder read more from them than one-hot codes can tell: the longer
    it trains, the worse the discrete model it leaves.
    """

    def __init__(self, data: DataSet, variables: int = 4, classes: int = 8) -> None:
        def loss(model: GumbelVAE, x: Tensor, y: Tensor | None, generator: Generator) -> Tensor:
            temperature = annealed_temperature(int(1000 * self.progress), rate=1e-3)
            return -model.elbo(x, temperature=temperature, hard=True, generator=generator).value.mean()

        model = GumbelVAE(data.event_shape, variables, classes, HIDDEN, likelihood=_pixels(data))
        super().__init__(model, loss=loss, metrics=_discrete_metrics, figure=_images, lr=2e-3, decay=True)


@torch.no_grad()
def _discrete_metrics(model: GumbelVAE, data: DataSet, generator: Generator) -> dict[str, float]:
    """The exact bound and likelihood, on at most 500 examples."""
    chunks = data.held_out[:500].split(50)
    found = {
        "nelbo_nats": -torch.cat([model.exact_elbo(x) for x in chunks]).mean().item(),
        "nll_nats": -torch.cat([model.log_prob(x) for x in chunks]).mean().item(),
    }
    return found if data.entropy is None else found | {"excess_nats": found["nll_nats"] - data.entropy}


class Adversaries(Learner):
    """Adversarial variational Bayes on a code of two variables: two steps of the discriminator to one of the model."""

    def __init__(self, data: DataSet) -> None:
        super().__init__()
        self.model = AVB(data.event_shape, latent_dim=2, noise_dim=8, hidden=(128, 128))
        self._model = torch.optim.Adam(self.model.model_parameters(), lr=2e-3, betas=(0.5, 0.99))
        self._discriminator = torch.optim.Adam(self.model.discriminator.parameters(), lr=4e-3, betas=(0.5, 0.99))

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        for _ in range(2):
            contrast = self.model.discriminator_loss(x, generator=generator)
            self._update(self._discriminator, contrast)
        loss = self.model.loss(x, generator=generator)
        self._update(self._model, loss)
        return {"bound": loss.item(), "discriminator": contrast.item()}

    def _update(self, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        for group in optimiser.param_groups:
            group["lr"] = optimiser.defaults["lr"] * cosine(self.progress)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    @torch.no_grad()
    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        nll = -planar_evidence(self.model, data.held_out[:2000]).mean().item()
        found = {
            "nelbo_nats": -self.model.elbo(data.held_out, generator=generator).value.mean().item(),
            "nll_nats": nll,
        }
        return found if data.entropy is None else found | {"excess_nats": nll - data.entropy}

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        return _images(self.model, data, generator)


@torch.no_grad()
def planar_evidence(model: AVB, x: Tensor, reach: float = 5.0, cells: int = 200) -> Tensor:
    """log p(x) of binary images in nats by the midpoint rule over a code of two variables; (N, *event) to (N,)."""
    width = 2 * reach / cells
    axis = width * (torch.arange(cells, device=x.device, dtype=x.dtype) + 0.5) - reach
    z = torch.cartesian_prod(axis, axis)  # (cells², 2)
    h = model.decoder(z).flatten(1)
    log_prior = model.prior.log_prob(z) + 2 * math.log(width)
    pixels = x.flatten(1)
    return torch.cat(
        [
            torch.logsumexp(part @ F.logsigmoid(h).T + (1 - part) @ F.logsigmoid(-h).T + log_prior, dim=1)
            for part in pixels.split(100)
        ]
    )


RICHER: dict[str, Recipe] = {
    "pixelvae": Recipe(_pixelvae, data=PICTURES, goals=(Goal("excess_nats", at_most=0.5, at_least=-0.1),)),
    "vampprior": Recipe(_vamp, data=PICTURES, goals=(Goal("excess_nats", at_most=0.5, at_least=-0.1),)),
    "autoregressive-prior": Recipe(
        _with_prior(lambda: AutoregressivePrior(LATENT_DIM)),
        data=PICTURES,
        goals=(Goal("excess_nats", at_most=0.5, at_least=-0.1),),
    ),
    "flow-prior": Recipe(
        _with_prior(lambda: FlowPrior.realnvp(LATENT_DIM)),
        data=PICTURES,
        goals=(Goal("excess_nats", at_most=0.5, at_least=-0.1),),
    ),
    "flow-posterior": Recipe(_iaf, data=PICTURES, goals=(Goal("excess_nats", at_most=0.8, at_least=-0.1),)),
    "mixture-prior": Recipe(_vade, data=PICTURES, goals=(Goal("excess_nats", at_most=0.5, at_least=-0.1),)),
    "gumbel-vae": Recipe(Annealing, data=PICTURES, goals=(Goal("excess_nats", at_most=0.4, at_least=-0.1),)),
    "avb": Recipe(Adversaries, data=("bars", "digits-binary"), goals=(Goal("excess_nats", at_most=2.4),)),
}
