"""Flow matching: the velocity from noise to data, learnt by regression.

A path of laws from noise (t = 0) to data (t = 1) is fixed first; a network learns the velocity that moves one into the
next, and an ODE solver draws samples. Conventions of the folder: x_0 is noise, x_1 data; v(x, t) or v(x, t, y) with t
of shape (N,) or (); losses are means over batch and dimensions; guidance weight 1 is the plain conditional flow.
"""

from reference_models.catalogue import Family, Paper

_LIPMAN = Paper(
    authors="Lipman, Chen, Ben-Hamu, Nickel, Le",
    year=2023,
    title="Flow Matching for Generative Modeling",
    url="https://arxiv.org/abs/2210.02747",
)

FAMILIES: tuple[Family, ...] = (
    Family(
        name="gaussian-paths",
        title="Conical Gaussian paths, linear interpolation, link to diffusion and score",
        paper=_LIPMAN,
        module="reference_models.flow_matching.paths",
        programmes="A",
        homework=6,
        verified_against="autograd derivatives; Gaussian conditioning by hand; mixture score; VP probability flow",
    ),
    Family(
        name="cfm",
        title="Conditional flow matching",
        paper=_LIPMAN,
        module="reference_models.flow_matching.conditional",
        programmes="SA",
        homework=6,
        verified_against="Gaussian velocity and Euler recursion by hand; torchdiffeq; orthogonality of the residual",
    ),
    Family(
        name="ot-cfm",
        title="Minibatch optimal-transport coupling",
        paper=Paper(
            authors="Tong et al.",
            year=2024,
            title="Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal Transport",
            url="https://arxiv.org/abs/2302.00482",
        ),
        module="reference_models.flow_matching.ot_coupling",
        programmes="S",
        homework=6,
        verified_against="POT (exact and Sinkhorn); all permutations; sorting in one dimension",
    ),
    Family(
        name="rectified-flow",
        title="Rectified flow, reflow and straightness",
        paper=Paper(
            authors="Liu, Gong, Liu",
            year=2023,
            title="Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow",
            url="https://arxiv.org/abs/2209.03003",
        ),
        module="reference_models.flow_matching.rectified_flow",
        programmes="S",
        homework=6,
        verified_against="closed-form Gaussian flow, its cost, its straightness and its reflow",
    ),
    Family(
        name="fm-likelihood",
        title="Likelihood of the learnt ODE",
        paper=_LIPMAN,
        module="reference_models.flow_matching.likelihood",
        programmes="",
        homework=6,
        verified_against="exact mixture density; autograd Jacobian of the solver; torchdiffeq; integral over a grid",
    ),
    Family(
        name="guided-flow",
        title="Guidance of flows: classifier-free and by a classifier",
        paper=Paper(
            authors="Zheng et al.",
            year=2023,
            title="Guided Flows for Generative Modeling and Decision Making",
            url="https://arxiv.org/abs/2311.13443",
        ),
        module="reference_models.flow_matching.guidance",
        programmes="",
        homework=6,
        verified_against="exact conditional velocities of a mixture; binomial law of dropped labels",
    ),
    Family(
        name="latent-flow-matching",
        title="Latent flow matching",
        paper=Paper(
            authors="Dao, Phung, Nguyen, Tran",
            year=2023,
            title="Flow Matching in Latent Space",
            url="https://arxiv.org/abs/2307.08698",
        ),
        module="reference_models.flow_matching.latent",
        programmes="A",
        homework=None,
        verified_against="linear autoencoder whose latent law and samples are known in closed form",
    ),
)
