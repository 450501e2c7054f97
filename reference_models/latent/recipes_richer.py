"""How richer decoders, priors and posteriors, and implicit posteriors are trained, and what they reach.

Metrics beside those of `recipes_bounds`: `cluster_accuracy`, the share of digits whose component's commonest digit is
theirs. The posterior of adversarial variational Bayes has no density; its `iw_nll_nats` takes Gaussians fitted to each
example afterwards for the importance samples.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from reference_models.data import DataSet
from reference_models.latent.autoregressive_prior import AutoregressivePrior
from reference_models.latent.avb import AVB
from reference_models.latent.elbo_surgery import fit_posterior
from reference_models.latent.flow_posterior import IAFVAE
from reference_models.latent.flow_prior import FlowPrior
from reference_models.latent.iwae import importance_bound
from reference_models.latent.mixture_prior import VaDE
from reference_models.latent.pixelvae import PixelVAE
from reference_models.latent.recipes_bounds import (
    EXCESS,
    HIDDEN,
    LATENT_DIM,
    PICTURES,
    bound_metrics,
    levels,
    minimise,
    samples_of,
)
from reference_models.latent.vae import VAE, GaussianPosterior, mlp_vae
from reference_models.latent.vampprior import VampVAE
from reference_models.parts.descent import descend
from reference_models.protocols import Density
from reference_models.recipes import Figure, Goal, Learner, Recipe, cosine


def _with_prior(prior: Callable[[], Density]) -> Callable[[DataSet], Learner]:
    return lambda data: minimise(mlp_vae(data.event_shape, LATENT_DIM, HIDDEN, likelihood=levels(data), prior=prior()))


def _pixelvae(data: DataSet) -> Learner:
    model = PixelVAE(data.event_shape, data.grades, LATENT_DIM, (256,), maps=8, features=16, layers=2)
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
    components = 64 if "bars" in data.name else 10
    return minimise(
        VaDE(data.event_shape, LATENT_DIM, HIDDEN, components, likelihood=levels(data)), metrics=_cluster_metrics
    )


def _cluster_metrics(model: VaDE, data: DataSet, generator: Generator) -> dict[str, float]:
    found = bound_metrics(model, data, generator)
    if data.held_out_labels is not None and "bars" not in data.name:
        clusters, labels = model.cluster(data.held_out), data.held_out_labels
        table = torch.bincount(clusters * 10 + labels, minlength=10 * len(model.prior.logits)).view(-1, 10)
        found["cluster_accuracy"] = table.amax(1).sum().item() / len(labels)
    return found


class Adversaries(Learner):
    """Adversarial variational Bayes: four steps of the discriminator to one of the model."""

    def __init__(self, data: DataSet) -> None:
        super().__init__()
        self.model = AVB(data.event_shape, latent_dim=LATENT_DIM, noise_dim=LATENT_DIM, hidden=HIDDEN)
        self._model = torch.optim.Adam(self.model.model_parameters(), lr=2e-3, betas=(0.5, 0.99))
        self._discriminator = torch.optim.Adam(self.model.discriminator.parameters(), lr=4e-3, betas=(0.5, 0.99))

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        for _ in range(4):
            contrast = self.model.discriminator_loss(x, generator=generator)
            descend(self._discriminator, contrast, cosine(self.progress))
        loss = self.model.loss(x, generator=generator)
        descend(self._model, loss, cosine(self.progress))
        return {"bound": loss.item(), "discriminator": contrast.item()}

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        x = data.held_out[:1000]
        nll = -implicit_evidence(self.model, x, generator=generator).mean().item()
        with torch.no_grad():
            nelbo = -self.model.elbo(x, generator=generator).value.mean().item()
        found = {"nelbo_nats": nelbo, "iw_nll_nats": nll}
        return found if data.entropy is None else found | {"excess_nats": nll - data.entropy}

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        return samples_of(self.model, data, generator)


def implicit_evidence(model: AVB, x: Tensor, *, steps: int = 100, generator: Generator) -> Tensor:
    """log p(x), nats, from below, though q(z | x) has no density: by importance samples from the best Gaussian.

    x: (N, *event) to (N,). That Gaussian is fitted to each x from the moments of the encoder's draws, in `steps` steps.
    """

    def moments(x: Tensor) -> GaussianPosterior:
        z = model.encoder.draw(x, 64, generator=generator).detach()  # (64, N, d)
        return GaussianPosterior(z.mean(0), z.std(0).clamp(min=1e-2).log())

    def with_posterior(encoder: Callable[[Tensor], GaussianPosterior]) -> VAE:
        return VAE(encoder, model.decoder, model.prior, model.likelihood, event_shape=model.event_shape)

    q = fit_posterior(with_posterior(moments), x, steps=steps, generator=generator)
    bounds = []
    with torch.no_grad():
        for i in range(0, len(x), 100):
            part = GaussianPosterior(q.mean[i : i + 100], q.log_std[i : i + 100])
            vae = with_posterior(lambda _, part=part: part)  # type: ignore[misc]
            bounds.append(importance_bound(vae.log_weights(x[i : i + 100], 500, generator=generator)))
    return torch.cat(bounds)


RICHER: dict[str, Recipe] = {
    "pixelvae": Recipe(_pixelvae, data=PICTURES, goals=(EXCESS,), minutes=0.5),
    "vampprior": Recipe(_vamp, data=PICTURES, goals=(EXCESS,), minutes=0.5),
    "autoregressive-prior": Recipe(
        _with_prior(lambda: AutoregressivePrior(LATENT_DIM)),
        data=PICTURES,
        goals=(EXCESS,),
        minutes=0.5,
    ),
    "flow-prior": Recipe(
        _with_prior(lambda: FlowPrior.realnvp(LATENT_DIM)),
        data=PICTURES,
        goals=(EXCESS,),
        minutes=0.5,
    ),
    "flow-posterior": Recipe(_iaf, data=PICTURES, goals=(EXCESS,), minutes=1.0),
    "mixture-prior": Recipe(_vade, data=PICTURES, goals=(EXCESS,), minutes=0.5),
    "avb": Recipe(
        Adversaries,
        data=("crossed-bars", "bars", "drawn-binary", "digits-binary"),
        goals=(Goal("excess_nats", at_most=10.5),),
        minutes=1.0,
    ),
}
