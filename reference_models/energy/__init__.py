"""Energy models: a density known up to its normaliser, and Markov chains in its place.

The first three define p(x) ∝ exp(-E(x)) and learn by the same rule: lower the energy of data, raise that of the model's
own samples. They differ in how samples come: Langevin dynamics for a network's energy, swaps of whole layers for the
restricted Boltzmann machine, unit after unit for the general one. The last two have no energy at all: a chain that
corrupts and restores is learned directly, and the density is where it settles.

Conventions: energies and log-probabilities in nats; binary units are zeros and ones in floating tensors, never ±1;
`sample` starts its chains anew unless its docstring says that the draw is exact.
"""

from reference_models.catalogue import Family, Paper

FAMILIES: tuple[Family, ...] = (
    Family(
        name="ebm",
        title="Energy-based model, contrastive gradient and persistent chains",
        paper=Paper(
            authors="Du, Mordatch",
            year=2019,
            title="Implicit Generation and Modeling with Energy-Based Models",
            url="https://arxiv.org/abs/1903.08689",
        ),
        module="reference_models.energy.ebm",
        programmes="S",
        homework=5,
        verified_against="exact NLL gradient on 2^5 states; torch.distributions; exact law of discretised Langevin",
    ),
    Family(
        name="rbm",
        title="Restricted Boltzmann machine: CD-k, PCD, exact, annealed importance sampling",
        paper=Paper(
            authors="Hinton",
            year=2002,
            title="Training Products of Experts by Minimizing Contrastive Divergence",
            url="https://www.cs.toronto.edu/~hinton/absps/nccd.pdf",
        ),
        module="reference_models.energy.rbm",
        programmes="K",
        homework=None,
        verified_against="enumeration of the joint; exact Gibbs kernel; autograd of the exact likelihood",
    ),
    Family(
        name="boltzmann-machine",
        title="General Boltzmann machine",
        paper=Paper(
            authors="Ackley, Hinton, Sejnowski",
            year=1985,
            title="A Learning Algorithm for Boltzmann Machines",
            url="https://www.cs.toronto.edu/~hinton/absps/cogscibm.pdf",
        ),
        module="reference_models.energy.boltzmann",
        programmes="K",
        homework=None,
        verified_against="enumeration of 2^6 states; exact kernel of a sweep; autograd; the RBM as a special case",
    ),
    Family(
        name="markov-chain-density",
        title="Markov-chain density model: the law in which a denoising chain settles",
        paper=Paper(
            authors="Bengio, Yao, Alain, Vincent",
            year=2013,
            title="Generalized Denoising Auto-Encoders as Generative Models",
            url="https://arxiv.org/abs/1305.6663",
        ),
        module="reference_models.energy.markov_chain",
        programmes="K",
        homework=None,
        verified_against="πT = π for the exact posterior; eigenvector of NumPy; enumeration of walkback chains",
    ),
    Family(
        name="gsn",
        title="Generative stochastic network",
        paper=Paper(
            authors="Bengio, Thibodeau-Laufer, Alain, Yosinski",
            year=2014,
            title="Deep Generative Stochastic Networks Trainable by Backprop",
            url="https://arxiv.org/abs/1306.1091",
        ),
        module="reference_models.energy.gsn",
        programmes="K",
        homework=None,
        verified_against="layers by hand in NumPy; exact kernel on 2^3 states; quadrature; finite differences",
    ),
)
