"""Energy models: a density known up to its normaliser, and Markov chains in its place.

The first three define p(x) ∝ exp(-E(x)) and learn by the same rule: lower the energy of data, raise that of the model's
own samples. They differ in how samples come: Langevin dynamics for a network's energy, swaps of whole layers for the
restricted Boltzmann machine, unit after unit for the general one. The last two have no energy at all: a chain that
corrupts and restores is learned directly, and the density is where it settles.

Conventions: energies and log-probabilities in nats; binary units are zeros and ones in floating tensors, never ±1;
`sample` starts its chains anew unless its docstring says that the draw is exact.
"""

from reference_models.energy.boltzmann import BoltzmannMachine, Statistics
from reference_models.energy.ebm import EBM, ContrastiveLoss, ConvEnergy, Support
from reference_models.energy.gsn import GSN, GSNStep
from reference_models.energy.markov_chain import BernoulliReconstruction, BitFlip, DenoisingChain, Reconstruction
from reference_models.energy.persistent import PersistentChains
from reference_models.energy.rbm import RBM, LogPartition, Phase

__all__ = [
    "EBM",
    "GSN",
    "RBM",
    "BernoulliReconstruction",
    "BitFlip",
    "BoltzmannMachine",
    "ContrastiveLoss",
    "ConvEnergy",
    "DenoisingChain",
    "GSNStep",
    "LogPartition",
    "PersistentChains",
    "Phase",
    "Reconstruction",
    "Statistics",
    "Support",
]
