"""How a mixture of Gaussians and probabilistic PCA are fitted: by EM, on full batches, beside what must come out.

Metrics: `apart_nats`, between the mixture by EM and the one by gradient; `below_closed_form_nats`, how much less likely
the training data are under pPCA by EM than under its closed form.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from reference_models.data import DataSet
from reference_models.evaluation.held_out import modes_found
from reference_models.latent.gaussian_mixture import MixtureOfGaussians, em_step, spread_start
from reference_models.latent.ppca import PPCA
from reference_models.parts.descent import descend
from reference_models.recipes import Figure, Goal, Learner, Points, Recipe, beside_data


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
        descend(self._optimiser, loss)
        return {"EM": by_em, "gradient": loss.item()}

    def trained(self) -> Any:
        return self.em

    @torch.no_grad()
    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        found = {"nll_nats": -self.em.log_prob(data.held_out).mean().item()}
        found["apart_nats"] = abs(found["nll_nats"] + self.gradient.log_prob(data.held_out).mean().item())
        if data.entropy is not None:
            found["excess_nats"] = found["nll_nats"] - data.entropy
        return found | modes_found(self.em.sample(4000, generator=generator), data)

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
        return beside_data(samples.reshape(-1, *self.event_shape).clamp(0, 1), data)


MIXTURES: dict[str, Recipe] = {
    "gaussian-mixture": Recipe(
        _mixture,
        data=("mixture", "eight-gaussians", "moons", "checkerboard"),
        goals=(
            Goal("excess_nats", at_most=0.03, at_least=-0.03),
            Goal("apart_nats", at_most=0.01),
            Goal("modes_covered", at_least=4),
        ),
        minutes=0.25,
        batch_size=8000,
        apart="it is the trivial model",
    ),
    "ppca": Recipe(
        EMOfPPCA,
        data=("digits", "mnist"),
        goals=(Goal("below_closed_form_nats", at_most=0.01),),
        minutes=0.25,
        batch_size=8000,
        apart="its closed form is its goal",
    ),
}
