"""How the energy models are trained here, and what they reach.

Exact likelihoods wherever the space allows: a grid over the plane for the network's energy, all 2^16 images of the
glass for the general Boltzmann machine, all 2^16 states of its hidden units for the restricted one. The two chains
state `csl_nll_nats`, an estimate that is too high on average; their goals are of samples, under the law of the data.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from reference_models.data import DataSet
from reference_models.energy import boltzmann, ebm, rbm
from reference_models.energy.gsn import GSN
from reference_models.energy.markov_chain import BernoulliReconstruction, BitFlip, DenoisingChain
from reference_models.energy.persistent import PersistentChains
from reference_models.evaluation.held_out import copying_found, law_found
from reference_models.recipes import Figure, Goal, Learner, Minimise, Points, Recipe, beside_data, cosine

BOX = 4.0  # the planar data lie within [-4, 4]²


class ContrastiveEBM(Learner):
    """An energy network against persistent Langevin chains."""

    def __init__(self, data: DataSet, steps: int = 20, step_size: float = 0.02, lr: float = 5e-4) -> None:
        super().__init__()
        self.planar = len(data.event_shape) == 1
        self.low, self.high = (-BOX, BOX) if self.planar else (0.0, 1.0)
        self.steps, self.step_size, self.lr = steps, step_size if self.planar else 1e-3, lr
        self.model = (
            ebm.EBM.of_vectors(2, (128, 128), ebm.Support.box(-BOX, BOX, cells=200))
            if self.planar
            else ebm.EBM.of_images(data.event_shape, features=32)
        )
        self.chains = PersistentChains(self._noise, capacity=2000, restart=0.01)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=lr, betas=(0.5, 0.9))

    def _noise(self, n: int, generator: Generator | None = None) -> Tensor:
        like = next(self.model.parameters())
        return ebm.uniform_noise(n, self.model.event_shape, like, self.low, self.high, generator)

    def _walk(self, x: Tensor, generator: Generator) -> Tensor:
        bounds = (self.low, self.high)
        return ebm.langevin(self.model, x, self.steps, self.step_size, clamp=bounds, generator=generator)

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * cosine(self.progress)
        x_model = self.chains.advance(len(x), lambda state: self._walk(state, generator), generator=generator)
        loss = ebm.contrastive_loss(self.model, x, x_model, penalty=0.0 if self.planar else 1e-3)
        self.optimiser.zero_grad(set_to_none=True)
        loss.value.backward()
        self.optimiser.step()
        return {"energy_data": loss.energy_data.item(), "energy_model": loss.energy_model.item()}

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        if not self.planar:
            gap = self.model.energy(data.held_out).mean() - self.model.energy(self.chains.states).mean()
            return {"energy_gap": gap.item()}
        with torch.no_grad():
            nll = -self.model.log_prob(data.held_out).mean().item()
        return {"nll_nats": nll} | _excess(nll, data)

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        if self.planar:
            return Points(self._walk(self.chains.states, generator), data.held_out)
        return beside_data(self.chains.states[:64], data)


class PCD(Learner):
    """A restricted machine with persistent Gibbs chains."""

    def __init__(self, data: DataSet, hidden: int = 16, lr: float = 2e-2, chains: int = 500, k: int = 5) -> None:
        super().__init__()
        self.shape, self.lr, self.k = data.event_shape, lr, k
        self.model = rbm.RBM(data.train[0].numel(), hidden, init_std=0.1)
        self.chains = PersistentChains(self._coins, capacity=chains, restart=0.0)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=lr)

    def _coins(self, n: int, generator: Generator | None = None) -> Tensor:
        return torch.bernoulli(torch.full_like(self.model.a, 0.5).expand(n, -1), generator=generator)

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * cosine(self.progress)
        v_model = self.chains.advance(
            len(self.chains.states), lambda v: self.model.gibbs(v, self.k, generator=generator), generator=generator
        )
        loss = rbm.contrastive_loss(self.model, x.flatten(1), v_model)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return {"free_energy_gap": loss.item()}

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        with torch.no_grad():
            F = self.model.free_energy(data.held_out.flatten(1)).mean().item()
            if min(self.model.visible, self.model.hidden) > 16:
                estimate = rbm.annealed_log_partition(self.model, chains=100, temperatures=1000, generator=generator)
                return {"ais_nll_nats": F + estimate.value.item()}
            nll = F + self.model.log_partition().item()
        return {"nll_nats": nll} | _excess(nll, data)

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        return beside_data(self.model.sample(64, generator=generator).reshape(64, *self.shape), data)


class Clamping(Learner):
    """A general machine: clamped sweeps for the positive phase, persistent free chains for the negative one."""

    def __init__(self, data: DataSet, hidden: int = 4, lr: float = 1e-2, chains: int = 256) -> None:
        super().__init__()
        self.shape, self.lr = data.event_shape, lr
        self.model = boltzmann.BoltzmannMachine(data.train[0].numel(), hidden, init_std=0.1)
        self.chains = PersistentChains(self._coins, capacity=chains, restart=0.0)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=lr)

    def _coins(self, n: int, generator: Generator | None = None) -> Tensor:
        return torch.bernoulli(torch.full_like(self.model.b, 0.5).expand(n, -1), generator=generator)

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * cosine(self.progress)
        clamped = self.model.clamped(x.flatten(1), sweeps=3, generator=generator)
        free = self.chains.advance(
            len(self.chains.states), lambda s: self.model.run(s, 2, generator=generator), generator=generator
        )
        loss = boltzmann.contrastive_loss(self.model, clamped, free)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return {"energy_gap": loss.item()}

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        with torch.no_grad():
            nll = -self.model.log_prob(data.held_out.flatten(1)).mean().item()
        return {"nll_nats": nll} | _excess(nll, data)

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        free = self.model.run(self.chains.states[:64], 20, generator=generator)
        return beside_data(free[:, : self.model.visible].reshape(64, *self.shape), data)


def _excess(nll: float, data: DataSet) -> dict[str, float]:
    return {} if data.entropy is None else {"excess_nats": nll - data.entropy}


def _csl(model: DenoisingChain | GSN, data: DataSet, generator: Generator) -> dict[str, float]:
    """Conservative bounds of 500 held-out images with 5000 chains, and 1000 samples under the law of the data."""
    x = data.held_out[:500].flatten(1)
    nll = -torch.cat(
        [model.log_prob(part, samples=5000, steps=100, generator=generator) for part in torch.split(x, 100)]
    ).mean()
    metrics = {"csl_nll_nats": nll.item()}
    drawn = model.sample(1000, generator=generator).reshape(1000, *data.event_shape)
    return metrics | law_found(drawn, data) | copying_found(drawn, data)


def _images(model: DenoisingChain | GSN, data: DataSet, generator: Generator) -> Figure:
    return beside_data(model.sample(64, generator=generator).reshape(64, *data.event_shape), data)


def _denoising(data: DataSet) -> Learner:
    dim = data.train[0].numel()
    return Minimise(
        DenoisingChain(dim, BernoulliReconstruction(dim, (128, 128)), BitFlip(0.05)),
        loss=lambda model, x, y, generator: model.loss(x.flatten(1), walkback=2, generator=generator),
        metrics=_csl,
        figure=_images,
        lr=3e-3,
        decay=True,
    )


def _gsn(data: DataSet) -> Learner:
    return Minimise(
        GSN(data.train[0].numel(), (64, 64), flip=0.05, noise_std=0.2),
        loss=lambda model, x, y, generator: model.loss(x.flatten(1), steps=4, generator=generator),
        metrics=_csl,
        figure=_images,
        lr=3e-3,
        decay=True,
    )


DRAWS = (
    Goal("law_excess_nats", at_least=-3.0, at_most=4.0),
    Goal("copying", at_most=0.75),
)
RECIPES: dict[str, Recipe] = {
    "ebm": Recipe(
        build=ContrastiveEBM,
        data=("mixture", "eight-gaussians", "moons", "checkerboard", "digits"),
        goals=(Goal("excess_nats", at_most=0.15),),
        minutes=0.4,
        batch_size=256,
        apart="its exact likelihood needs a grid, so a plane, where 128 Gaussians fit anything",
    ),
    "rbm": Recipe(
        build=PCD,
        data=("crossed-bars", "bars", "glass", "drawn-binary", "digits-binary"),
        goals=(Goal("excess_nats", at_least=-0.1, at_most=8.0),),
        minutes=0.7,
        batch_size=256,
    ),
    "boltzmann-machine": Recipe(
        build=Clamping,
        data=("glass", "bars"),
        goals=(Goal("excess_nats", at_least=-0.06, at_most=0.06),),
        minutes=0.7,
        batch_size=256,
    ),
    "markov-chain-density": Recipe(
        build=_denoising,
        data=("crossed-bars", "bars", "drawn-binary", "digits-binary"),
        goals=DRAWS,
        minutes=0.5,
    ),
    "gsn": Recipe(
        build=_gsn,
        data=("crossed-bars", "bars", "drawn-binary", "digits-binary"),
        goals=DRAWS,
        minutes=0.5,
    ),
}
