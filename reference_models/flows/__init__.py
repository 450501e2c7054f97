"""Normalizing flows: densities made of invertible maps.

A flow is a `Transform` (z, log|det ∂z/∂x| = forward(x); x, log|det ∂x/∂z| = inverse(z)) inside a `FlowDensity`, which
adds the base and with it log_prob and sample; both stand in change_of_variables.py and nowhere else. One file a
family; bases.py has the base distributions, multi_scale.py the squeeze and the factoring-out that image flows share.
"""

from reference_models.catalogue import Family, Paper

REZENDE = Paper(
    "Rezende, Mohamed",
    2015,
    "Variational Inference with Normalizing Flows",
    "https://arxiv.org/abs/1505.05770",
)
SYLVESTER = Paper(
    "van den Berg, Hasenclever, Tomczak, Welling",
    2018,
    "Sylvester Normalizing Flows for Variational Inference",
    "https://arxiv.org/abs/1803.05649",
)
GLOW = Paper(
    "Kingma, Dhariwal",
    2018,
    "Glow: Generative Flow with Invertible 1×1 Convolutions",
    "https://arxiv.org/abs/1807.03039",
)
NICE = Paper(
    "Dinh, Krueger, Bengio",
    2015,
    "NICE: Non-linear Independent Components Estimation",
    "https://arxiv.org/abs/1410.8516",
)
REALNVP = Paper(
    "Dinh, Sohl-Dickstein, Bengio",
    2017,
    "Density Estimation Using Real NVP",
    "https://arxiv.org/abs/1605.08803",
)
MAF = Paper(
    "Papamakarios, Pavlakou, Murray",
    2017,
    "Masked Autoregressive Flow for Density Estimation",
    "https://arxiv.org/abs/1705.07057",
)
IAF = Paper(
    "Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling",
    2016,
    "Improving Variational Inference with Inverse Autoregressive Flow",
    "https://arxiv.org/abs/1606.04934",
)
THEIS = Paper(
    "Theis, van den Oord, Bethge",
    2016,
    "A Note on the Evaluation of Generative Models",
    "https://arxiv.org/abs/1511.01844",
)
FLOWPP = Paper(
    "Ho, Chen, Srinivas, Duan, Abbeel",
    2019,
    "Flow++: Improving Flow-Based Generative Models with Variational Dequantization and Architecture Design",
    "https://arxiv.org/abs/1902.00275",
)
NSF = Paper(
    "Durkan, Bekasov, Murray, Papamakarios",
    2019,
    "Neural Spline Flows",
    "https://arxiv.org/abs/1906.04032",
)
NODE = Paper(
    "Chen, Rubanova, Bettencourt, Duvenaud",
    2018,
    "Neural Ordinary Differential Equations",
    "https://arxiv.org/abs/1806.07366",
)
FFJORD = Paper(
    "Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud",
    2019,
    "FFJORD: Free-Form Continuous Dynamics for Scalable Reversible Generative Models",
    "https://arxiv.org/abs/1810.01367",
)
REVIEW = Paper(
    "Papamakarios, Nalisnick, Rezende, Mohamed, Lakshminarayanan",
    2021,
    "Normalizing Flows for Probabilistic Modeling and Inference",
    "https://arxiv.org/abs/1912.02762",
)

FAMILIES: tuple[Family, ...] = (
    Family(
        name="change-of-variables",
        title="Change of variables",
        paper=REVIEW,
        module="reference_models.flows.change_of_variables",
        programmes="",
        homework=2,
        verified_against="autograd Jacobian; torch.distributions; SciPy; integral of the density",
    ),
    Family(
        name="planar",
        title="Planar flow",
        paper=REZENDE,
        module="reference_models.flows.planar",
        programmes="AP",
        homework=2,
        verified_against="autograd Jacobian; SciPy root finding; finite differences",
    ),
    Family(
        name="radial",
        title="Radial flow",
        paper=REZENDE,
        module="reference_models.flows.radial",
        programmes="AP",
        homework=None,
        verified_against="autograd Jacobian; SciPy root finding; formula by NumPy",
    ),
    Family(
        name="sylvester",
        title="Sylvester flow",
        paper=SYLVESTER,
        module="reference_models.flows.sylvester",
        programmes="",
        homework=None,
        verified_against="autograd Jacobian; dense determinant; planar map as its case M = 1",
    ),
    Family(
        name="linear-flow",
        title="Linear flow",
        paper=GLOW,
        module="reference_models.flows.linear",
        programmes="MAP",
        homework=None,
        verified_against="torch.distributions.MultivariateNormal; scipy.linalg.lu; autograd Jacobian",
    ),
    Family(
        name="invertible-1x1",
        title="Invertible 1×1 convolution",
        paper=GLOW,
        module="reference_models.flows.linear",
        programmes="MAP",
        homework=2,
        verified_against="torch's conv2d; log|det| of the whole image by autograd; scipy.linalg.lu",
    ),
    Family(
        name="nice",
        title="NICE",
        paper=NICE,
        module="reference_models.flows.nice",
        programmes="P",
        homework=None,
        verified_against="autograd Jacobian; torch.distributions logistic base; parameter count by hand",
    ),
    Family(
        name="realnvp",
        title="RealNVP",
        paper=REALNVP,
        module="reference_models.flows.realnvp",
        programmes="MSAP",
        homework=2,
        verified_against="autograd Jacobian; masks by hand; torch's batch normalisation; pixel_unshuffle",
    ),
    Family(
        name="glow",
        title="Glow",
        paper=GLOW,
        module="reference_models.flows.glow",
        programmes="MP",
        homework=2,
        verified_against="autograd Jacobian; torch.distributions; 44.0 million parameters at CIFAR-10 size",
    ),
    Family(
        name="maf",
        title="Masked autoregressive flow",
        paper=MAF,
        module="reference_models.flows.maf",
        programmes="MAP",
        homework=2,
        verified_against="product of torch.distributions conditionals; zuko; autograd Jacobian",
    ),
    Family(
        name="iaf",
        title="Inverse autoregressive flow and its duality with MAF",
        paper=IAF,
        module="reference_models.flows.iaf",
        programmes="MP",
        homework=2,
        verified_against="autograd Jacobian; MAF on the same network; closed-form KL",
    ),
    Family(
        name="uniform-dequantisation",
        title="Uniform dequantisation",
        paper=THEIS,
        module="reference_models.flows.dequantisation",
        programmes="MP",
        homework=2,
        verified_against="probabilities of the levels by SciPy quadrature; closed form",
    ),
    Family(
        name="variational-dequantisation",
        title="Variational dequantisation of Flow++",
        paper=FLOWPP,
        module="reference_models.flows.variational_dequantisation",
        programmes="MP",
        homework=None,
        verified_against="closed form with the best noise; probabilities of the levels by SciPy quadrature",
    ),
    Family(
        name="neural-spline",
        title="Neural spline flow",
        paper=NSF,
        module="reference_models.flows.spline",
        programmes="",
        homework=None,
        verified_against="zuko; autograd Jacobian",
    ),
    Family(
        name="neural-ode",
        title="Neural ODE with the adjoint method, continuous flow",
        paper=NODE,
        module="reference_models.flows.neural_ode",
        programmes="MAP",
        homework=6,
        verified_against="torchdiffeq; zuko; matrix exponential; backpropagation through the solver",
    ),
    Family(
        name="ffjord",
        title="FFJORD with Hutchinson's trace",
        paper=FFJORD,
        module="reference_models.flows.ffjord",
        programmes="MSAP",
        homework=6,
        verified_against="known mean and variance of the estimator; exact trace along a basis; closed form",
    ),
    Family(
        name="logit-transform",
        title="Logit transform",
        paper=MAF,
        module="reference_models.flows.logit_transform",
        programmes="",
        homework=2,
        verified_against="scipy.special.logit; torch.distributions; autograd Jacobian",
    ),
)
