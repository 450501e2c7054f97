"""How to call what stands in `reference_models/energy`."""

from __future__ import annotations

import torch

from reference_models.energy import boltzmann, ebm, gsn, markov_chain, persistent, rbm
from tests.reference_models.every_callable.rows import Row, With, bits, built, fixed, gen


def machine(visible: int = 3, hidden: int = 2, **k):
    return built(boltzmann.BoltzmannMachine, visible, hidden, scale=1.0, **k)


def restricted(visible: int = 4, hidden: int = 3, **k):
    return built(rbm.RBM, visible, hidden, scale=1.0, **k)


def vectors(**k):
    return built(ebm.EBM.of_vectors, 2, **{"hidden": (5,)} | k)


def images(**k):
    return built(ebm.EBM.of_images, (1, 4, 4), **k)


def stochastic(**k):
    return built(gsn.GSN, 4, **{"hidden": (5, 3)} | k)


def denoising(**k):
    return built(markov_chain.DenoisingChain, 4, **k)


def chains(generator=None, *, draws: int = 3, **k):
    made = persistent.PersistentChains(
        lambda n, generator=None: torch.randn(n, 2, generator=generator), **{"capacity": 6} | k, generator=generator
    )
    return made, [made.advance(4, lambda s: s + 1, generator=gen(5)) for _ in range(draws)]


X = bits(5, 4)
ROWS = [
    Row(
        "energy.boltzmann.BoltzmannMachine",
        lambda **k: built(boltzmann.BoltzmannMachine, 3, **k),
        hidden=2,
        init_std=0.5,
    ),
    Row("energy.boltzmann.BoltzmannMachine.sweep", lambda **k: machine().sweep(bits(4, 5), [0, 2, 4], **k)),
    Row(
        "energy.boltzmann.BoltzmannMachine.statistics",
        lambda **k: machine().statistics(bits(4, 5), **k),
        weights=torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64),
    ),
    Row("energy.boltzmann.BoltzmannMachine.clamped", lambda **k: machine().clamped(bits(6, 3), **k), sweeps=11),
    Row("energy.boltzmann.BoltzmannMachine.run", lambda **k: machine().run(bits(6, 5), **k), sweeps=2),
    Row(
        "energy.boltzmann.BoltzmannMachine.sample",
        lambda **k: machine(30, 5).sample(7, **{"burn_in": 5} | k),
        burn_in=6,
    ),
    Row("energy.ebm.Support.box", lambda **k: ebm.Support.box(-1.0, 1.0, **{"cells": 6} | k), dim=1, cells=8),
    Row(
        "energy.ebm.EBM",
        lambda **k: built(
            ebm.EBM, torch.nn.Sequential(built(torch.nn.Linear, 2, 1), torch.nn.Flatten(0)), (2,), **k
        ).log_prob(fixed(3, 2) / 9),
        support=With(ebm.Support.box(-1.0, 1.0, cells=6), support=ebm.Support.box(-2.0, 2.0, cells=6)),
    ),
    Row("energy.ebm.EBM.of_vectors", lambda **k: built(ebm.EBM.of_vectors, 2, **k), hidden=(5,)),
    Row(
        "energy.ebm.EBM.of_vectors",
        lambda **k: built(ebm.EBM.of_vectors, 2, **k).log_prob(fixed(3, 2) / 9),
        support=With(ebm.Support.box(-1.0, 1.0, cells=6), support=ebm.Support.box(-2.0, 2.0, cells=6)),
    ),
    Row("energy.ebm.EBM.of_images", images, features=4),
    Row(
        "energy.ebm.EBM.sample",
        lambda **k: vectors().sample(4, **{"steps": 3} | k),
        steps=4,
        step_size=0.1,
        low=-2.0,
        high=0.5,
    ),
    Row(
        "energy.ebm.contrastive_loss",
        lambda **k: ebm.contrastive_loss(vectors(), fixed(4, 2), fixed(4, 2, seed=1), **k).value,
        penalty=0.5,
    ),
    Row(
        "energy.ebm.langevin",
        lambda **k: ebm.langevin(vectors(), fixed(4, 2), 3, 0.1, **k),
        noise_std=0.0,
        clamp=(-0.5, 0.5),
    ),
    Row("energy.ebm.uniform_noise", lambda **k: ebm.uniform_noise(4, (2,), fixed(1), -1.0, 1.0, **k)),
    Row("energy.ebm.ConvEnergy", lambda **k: built(ebm.ConvEnergy, (1, 4, 4), **k), features=4),
    Row("energy.gsn.GSN", lambda **k: built(gsn.GSN, 4, **k), hidden=(5,)),
    Row(
        "energy.gsn.GSN",
        lambda **k: stochastic(**k).sample(8, steps=3, generator=gen()),
        flip=0.4,
        noise_std=2.0,
        noisy_first=False,
    ),
    Row("energy.gsn.GSN.step", lambda **k: stochastic().step(X, (fixed(5, 5), fixed(5, 3)), **k)),
    Row("energy.gsn.GSN.walkback", lambda **k: stochastic().walkback(X, 2, **k)),
    Row("energy.gsn.GSN.loss", lambda **k: stochastic().loss(X, **k), steps=3),
    Row("energy.gsn.GSN.chain", lambda **k: stochastic().chain(6, 2, **k)),
    Row("energy.gsn.GSN.sample", lambda **k: stochastic().sample(9, **{"steps": 3} | k), steps=4),
    Row(
        "energy.gsn.GSN.log_prob",
        lambda **k: stochastic().log_prob(X, **{"steps": 3, "samples": 9} | k),
        steps=4,
        samples=8,
    ),
    Row(
        "energy.markov_chain.BitFlip",
        lambda **k: markov_chain.BitFlip(**k).sample(bits(20, 4), generator=gen()),
        flip=0.5,
    ),
    Row("energy.markov_chain.BitFlip.sample", lambda **k: markov_chain.BitFlip(0.5).sample(X, **k)),
    Row(
        "energy.markov_chain.BernoulliReconstruction",
        lambda **k: built(markov_chain.BernoulliReconstruction, 4, **k),
        hidden=(5,),
    ),
    Row(
        "energy.markov_chain.BernoulliReconstruction.sample",
        lambda **k: built(markov_chain.BernoulliReconstruction, 4).sample(X, **k),
    ),
    Row("energy.markov_chain.DenoisingChain", denoising, reconstruction=markov_chain.BernoulliReconstruction(4, (5,))),
    Row(
        "energy.markov_chain.DenoisingChain",
        lambda **k: denoising(**k).sample(9, generator=gen(), steps=3),
        corruption=markov_chain.BitFlip(0.01),
    ),
    Row("energy.markov_chain.DenoisingChain.loss", lambda **k: denoising().loss(X, **k), walkback=3),
    Row("energy.markov_chain.DenoisingChain.step", lambda **k: denoising().step(X, **k)),
    Row("energy.markov_chain.DenoisingChain.sample", lambda **k: denoising().sample(9, **{"steps": 3} | k), steps=4),
    Row(
        "energy.markov_chain.DenoisingChain.log_prob",
        lambda **k: denoising().log_prob(X, **{"steps": 3, "samples": 9} | k),
        steps=4,
        samples=8,
    ),
    Row("energy.persistent.PersistentChains", lambda **k: chains(**k)[0].states, capacity=5),
    Row("energy.persistent.PersistentChains", lambda **k: chains(**k)[1], restart=1.0),
    Row(
        "energy.persistent.PersistentChains.advance",
        lambda **k: chains(gen(), draws=0)[0].advance(4, lambda s: s + 1, **k),
    ),
    Row("energy.rbm.RBM", lambda **k: built(rbm.RBM, 4, 3, **k), init_std=0.5),
    Row("energy.rbm.RBM.gibbs", lambda **k: restricted().gibbs(bits(9, 4), **k), steps=2),
    Row("energy.rbm.RBM.sample", lambda **k: restricted().sample(9, **k)),
    Row("energy.rbm.RBM.sample", lambda **k: restricted(40, 30).sample(9, **{"burn_in": 3} | k), burn_in=4),
    Row(
        "energy.rbm.contrastive_divergence", lambda **k: rbm.contrastive_divergence(restricted(), bits(9, 4), **k), k=2
    ),
    Row(
        "energy.rbm.annealed_log_partition",
        lambda **k: rbm.annealed_log_partition(restricted(), **{"chains": 5, "temperatures": 6} | k),
        chains=6,
        temperatures=7,
    ),
]
APART = {}
