"""How models with discrete codes are trained: vector quantisation in two stages, Gumbel-softmax in one.

Metrics beside those of `recipes_bounds`: `perplexity`, of the least used codebook; `distortion_nats`, the
reconstruction part of the bound; `nll_nats` of the Gumbel-softmax VAE, exact −log p(x) by the sum over all codes.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from reference_models.data import DataSet
from reference_models.latent.gumbel_vae import GumbelVAE, annealed_temperature
from reference_models.latent.recipes_bounds import EXCESS, HIDDEN, PICTURES, frechet, levels, samples_of
from reference_models.latent.vector_quantiser import VectorQuantiser, perplexity
from reference_models.latent.vqvae import VQVAE
from reference_models.latent.vqvae2 import VQVAE2
from reference_models.parts.descent import descend
from reference_models.recipes import OF_DIGITS, Figure, Goal, Learner, Minimise, Recipe, cosine


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
            descend(self._autoencoder, loss.value, cosine(self.progress / self.first))
            self._move(x)
            self._restart(x, 0.05, generator)
            return {"reconstruction": loss.nll.item(), "commitment": loss.commitment.item()}
        nll = self.model.prior_loss(x)
        descend(self._prior, nll, cosine((self.progress - self.first) / (1 - self.first)))
        return {"prior": nll.item()}

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
        if isinstance(self.model, VQVAE2):
            found["top_nats"] = top_grid_pays(self.model, x)
        return found | frechet(self.model, data, generator)

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        return samples_of(self.model, data, generator)


@torch.no_grad()
def top_grid_pays(model: VQVAE2, x: Tensor) -> float:
    """How many nats an image's reconstruction loses when the top codes are another image's: x (N, *event)."""
    found = model.quantise(x)
    own, other = (
        model.likelihood.log_prob(x, model.decode(top, found.bottom.z_q))
        for top in (found.top.z_q, found.top.z_q.roll(1, 0))
    )
    return float((own - other).mean())


def _vqvae(data: DataSet) -> Learner:
    model = VQVAE.conv(data.event_shape, 64, 8, hidden=32, halvings=2, likelihood=levels(data), ema_decay=0.95)
    return TwoStages(model)


def _vqvae2(data: DataSet) -> Learner:
    return TwoStages(VQVAE2(data.event_shape, 64, 8, hidden=32, likelihood=levels(data), ema_decay=0.95))


class Annealing(Minimise):
    """A straight-through Gumbel-softmax VAE, the temperature falling from 1 to 1/2.

    Decoding the relaxed codes themselves lets the decoder read more from them than one-hot codes can tell: the longer
    it trains, the worse the discrete model it leaves.
    """

    def __init__(self, data: DataSet, variables: int = 4, classes: int = 8) -> None:
        def loss(model: GumbelVAE, x: Tensor, y: Tensor | None, generator: Generator) -> Tensor:
            temperature = annealed_temperature(int(1000 * self.progress), rate=1e-3)
            return -model.elbo(x, temperature=temperature, hard=True, generator=generator).value.mean()

        model = GumbelVAE(data.event_shape, variables, classes, HIDDEN, likelihood=levels(data))
        super().__init__(model, loss=loss, metrics=_discrete_metrics, figure=samples_of, lr=2e-3, decay=True)


@torch.no_grad()
def _discrete_metrics(model: GumbelVAE, data: DataSet, generator: Generator) -> dict[str, float]:
    """The exact bound and likelihood, on at most 1000 examples."""
    chunks = data.held_out[:1000].split(50)
    found = {
        "nelbo_nats": -torch.cat([model.exact_elbo(x) for x in chunks]).mean().item(),
        "nll_nats": -torch.cat([model.log_prob(x) for x in chunks]).mean().item(),
    }
    return found if data.entropy is None else found | {"excess_nats": found["nll_nats"] - data.entropy}


GREY = ("drawn-16", "digits", "digits-binary", "drawn", "mnist")

CODES: dict[str, Recipe] = {
    "vq-vae": Recipe(
        _vqvae,
        data=GREY,
        goals=(*OF_DIGITS, Goal("perplexity", at_least=20)),
        minutes=6.0,
    ),
    "vq-vae-2": Recipe(
        _vqvae2,
        data=GREY,
        goals=(*OF_DIGITS, Goal("perplexity", at_least=10), Goal("top_nats", at_least=2.0)),
        minutes=10.0,
    ),
    "gumbel-vae": Recipe(Annealing, data=PICTURES, goals=(EXCESS,), minutes=0.6),
}
