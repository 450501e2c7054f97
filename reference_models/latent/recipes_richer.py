"""How richer decoders, priors and posteriors, and implicit posteriors are trained, and what they reach.

Metrics beside those of `recipes_bounds`: `nll_nats` of adversarial variational Bayes, exact −log p(x) by quadrature
over a code of two variables; `cluster_accuracy`, the share of digits whose component's commonest digit is theirs.

Adversarial variational Bayes has a goal of 0.8 on "bars", as the VAE: its prior is fixed as well, its bound is only as
good as the discriminator, and all 30 patterns have to find room in a plane.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from reference_models.data import DataSet
from reference_models.latent.autoregressive_prior import AutoregressivePrior
from reference_models.latent.avb import AVB
from reference_models.latent.flow_posterior import IAFVAE
from reference_models.latent.flow_prior import FlowPrior
from reference_models.latent.mixture_prior import VaDE
from reference_models.latent.pixelvae import PixelVAE
from reference_models.latent.recipes_bounds import (
    HIDDEN,
    LATENT_DIM,
    PICTURES,
    TRIALS,
    bound_metrics,
    levels,
    minimise,
    samples_of,
)
from reference_models.latent.vae import mlp_vae
from reference_models.latent.vampprior import VampVAE
from reference_models.parts.descent import descend
from reference_models.protocols import Density
from reference_models.recipes import Figure, Goal, Learner, Recipe, cosine


def _with_prior(prior: Callable[[], Density]) -> Callable[[DataSet], Learner]:
    return lambda data: minimise(mlp_vae(data.event_shape, LATENT_DIM, HIDDEN, likelihood=levels(data), prior=prior()))


def _pixelvae(data: DataSet) -> Learner:
    model = PixelVAE(data.event_shape, TRIALS[data.name] + 1, LATENT_DIM, (256,), maps=8, features=16, layers=2)
    return minimise(model, metrics=lambda model, data, generator: bound_metrics(model, data, generator, samples=50))


def _vamp(data: DataSet) -> Learner:
    K = 64
    start = data.train[:K]
    return minimise(VampVAE(data.event_shape, LATENT_DIM, HIDDEN, K, likelihood=levels(data), pseudo_inputs=start))


def _iaf(data: DataSet) -> Learner:
    return minimise(
        IAFVAE(data.event_shape, LATENT_DIM, HIDDEN, steps=2, flow_hidden=(64,), context=32, likelihood=levels(data))
    )


def _vade(data: DataSet) -> Learner:
    components = 32 if data.name == "bars" else 10
    return minimise(
        VaDE(data.event_shape, LATENT_DIM, HIDDEN, components, likelihood=levels(data)), metrics=_cluster_metrics
    )


def _cluster_metrics(model: VaDE, data: DataSet, generator: Generator) -> dict[str, float]:
    found = bound_metrics(model, data, generator)
    if data.held_out_labels is not None and data.name != "bars":
        clusters, labels = model.cluster(data.held_out), data.held_out_labels
        table = torch.bincount(clusters * 10 + labels, minlength=10 * len(model.prior.logits)).view(-1, 10)
        found["cluster_accuracy"] = table.amax(1).sum().item() / len(labels)
    return found


class Adversaries(Learner):
    """Adversarial variational Bayes on a code of two variables: four steps of the discriminator to one of the model."""

    def __init__(self, data: DataSet) -> None:
        super().__init__()
        self.model = AVB(data.event_shape, latent_dim=2, noise_dim=8, hidden=(128, 128))
        self._model = torch.optim.Adam(self.model.model_parameters(), lr=2e-3, betas=(0.5, 0.99))
        self._discriminator = torch.optim.Adam(self.model.discriminator.parameters(), lr=4e-3, betas=(0.5, 0.99))

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        for _ in range(4):
            contrast = self.model.discriminator_loss(x, generator=generator)
            descend(self._discriminator, contrast, cosine(self.progress))
        loss = self.model.loss(x, generator=generator)
        descend(self._model, loss, cosine(self.progress))
        return {"bound": loss.item(), "discriminator": contrast.item()}

    @torch.no_grad()
    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        nll = -planar_evidence(self.model, data.held_out[:2000]).mean().item()
        found = {
            "nelbo_nats": -self.model.elbo(data.held_out, generator=generator).value.mean().item(),
            "nll_nats": nll,
        }
        return found if data.entropy is None else found | {"excess_nats": nll - data.entropy}

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        return samples_of(self.model, data, generator)


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
    "flow-posterior": Recipe(
        _iaf, data=PICTURES, goals=(Goal("excess_nats", at_most=0.5, at_least=-0.1),), minutes=1.0
    ),
    "mixture-prior": Recipe(_vade, data=PICTURES, goals=(Goal("excess_nats", at_most=0.5, at_least=-0.1),)),
    "avb": Recipe(Adversaries, data=("bars", "digits-binary"), goals=(Goal("excess_nats", at_most=0.8),), minutes=1.0),
}
