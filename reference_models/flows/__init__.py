"""Normalizing flows: densities made of invertible maps.

A flow is a `Transform` (z, log|det ∂z/∂x| = forward(x); x, log|det ∂x/∂z| = inverse(z)) inside a `FlowDensity`, which
adds the base and with it log_prob and sample; both stand in change_of_variables.py and nowhere else. One file a
family; multi_scale.py holds the squeeze and the factoring-out that image flows share.
"""

from reference_models.catalogue import Family, Paper

FAMILIES: tuple[Family, ...] = (
    Family(
        name="change-of-variables",
        title="Change of variables",
        paper=Paper(
            "Papamakarios, Nalisnick, Rezende, Mohamed, Lakshminarayanan",
            2021,
            "Normalizing Flows for Probabilistic Modeling and Inference",
            "https://arxiv.org/abs/1912.02762",
        ),
        module="reference_models.flows.change_of_variables",
        programmes="MSAPK",
        homework=2,
        verified_against="autograd Jacobian; torch.distributions; integral of the density",
    ),
    Family(
        name="realnvp",
        title="RealNVP",
        paper=Paper(
            "Dinh, Sohl-Dickstein, Bengio",
            2017,
            "Density Estimation Using Real NVP",
            "https://arxiv.org/abs/1605.08803",
        ),
        module="reference_models.flows.realnvp",
        programmes="MSAP",
        homework=2,
        verified_against="autograd Jacobian; exact inverse; integral of the density; parameter count",
    ),
    Family(
        name="maf",
        title="Masked autoregressive flow",
        paper=Paper(
            "Papamakarios, Pavlakou, Murray",
            2017,
            "Masked Autoregressive Flow for Density Estimation",
            "https://arxiv.org/abs/1705.07057",
        ),
        module="reference_models.flows.maf",
        programmes="MAP",
        homework=2,
        verified_against="autograd Jacobian; product of torch.distributions conditionals; zuko",
    ),
    Family(
        name="iaf",
        title="Inverse autoregressive flow and its duality with MAF",
        paper=Paper(
            "Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling",
            2016,
            "Improving Variational Inference with Inverse Autoregressive Flow",
            "https://arxiv.org/abs/1606.04934",
        ),
        module="reference_models.flows.iaf",
        programmes="MP",
        homework=2,
        verified_against="autograd Jacobian; MAF with the same network; zuko",
    ),
)
