"""How to call what stands in `reference_models/flows`."""

from __future__ import annotations

import torch
from torch import nn

from reference_models.flows import (
    CNF,
    FFJORD,
    IAF,
    MAF,
    NICE,
    NSF,
    Glow,
    LinearFlow,
    PlanarFlow,
    RadialFlow,
    RealNVP,
    SylvesterFlow,
    UniformDequantisation,
    VariationalDequantisation,
    bases,
    change_of_variables,
    ffjord,
    glow,
    iaf,
    linear,
    maf,
    multi_scale,
    neural_ode,
    nice,
    planar,
    realnvp,
    spline,
    sylvester,
    variational_dequantisation,
)
from reference_models.flows.logit_transform import Logit
from reference_models.parts.networks import TimeMLP
from tests.reference_models.every_callable.rows import Row, With, built, fixed, gen

X, X3 = fixed(4, 2), fixed(4, 3)
T = torch.linspace(0, 1, 3, dtype=torch.float64)
LEVELS = torch.randint(0, 4, (5, 2), generator=gen(3))
SMALL = {"hidden": (4,)}
SOLVER = {"steps": 3, "method": "euler"}
CONDITION = {"condition": fixed(4, 2, seed=5)}


def field():
    return built(TimeMLP, 2, (6,), 2, time_scale=1.0)


def density(family, *arguments, x=X, **k):
    return built(family, *arguments, **k).log_prob(x)


def transform(family, *arguments, x=X3, **k):
    return built(family, *arguments, **k)(x)


def conditional():
    return built(MAF, 2, 2, (4,), condition_dim=2)


def uniform():
    return UniformDequantisation(built(MAF, 2, 1, (4,)), 4)


def variational():
    noise = built(variational_dequantisation.conditional_noise, (2,), 2, hidden=(4,))
    return VariationalDequantisation(built(MAF, 2, 1, (4,)), 4, noise)


def cnf(family=CNF, **k):
    return family(field(), (2,), **{"steps": 2, "method": "rk4"} | k)


def gradient(family=CNF, **k):
    """The slope of log p, which the adjoint method and backpropagation give with other errors."""
    x = X.clone().requires_grad_()
    return torch.autograd.grad(cnf(family, **{"steps": 1} | k).log_prob(x).sum(), x)[0]


def solved(**k):
    return neural_ode.odeint_adjoint(field(), X, T, **k)


def states(**k):
    module = field()
    return neural_ode.solve_states_adjoint(lambda s, t: (module(s[0], t),), (X,), T, (), **k)


def made(dim=3, **k):
    return built(maf.AffineAutoregressive, dim, **k)


def trained_norm(**k):
    norm = built(realnvp.InvertibleBatchNorm, (3,), **k).train()
    norm(X3)
    return norm, norm.eval()(X3)


MASK = torch.tensor([1, 0, 1])


def coupling(mask=MASK, **k):
    return built(realnvp.AffineCoupling, mask, **k)


NETWORK = torch.nn.Linear(3, 6).double()
LOGISTIC = bases.StandardLogistic((2,))
ROWS = [
    Row("flows.bases.StandardNormal.sample", lambda **k: bases.StandardNormal((2,)).sample(3, **k)),
    Row("flows.bases.StandardLogistic.sample", lambda **k: LOGISTIC.sample(3, **k)),
    Row("flows.change_of_variables.Transform", lambda **k: vars(Logit((2, 2))) | vars(multi_scale.Flatten((2, 2)))),
    Row(
        "flows.change_of_variables.FlowDensity",
        lambda **k: change_of_variables.FlowDensity(made(2, hidden=(4,)), **k).log_prob(X),
        base=LOGISTIC,
    ),
    Row(
        "flows.change_of_variables.FlowDensity.forward",
        lambda **k: conditional().forward(X, **CONDITION | k),
        condition=X,
    ),
    Row(
        "flows.change_of_variables.FlowDensity.inverse",
        lambda **k: conditional().inverse(X, **CONDITION | k),
        condition=X,
    ),
    Row(
        "flows.change_of_variables.FlowDensity.log_prob",
        lambda **k: conditional().log_prob(X, **CONDITION | k),
        condition=X,
    ),
    Row(
        "flows.change_of_variables.FlowDensity.sample",
        lambda **k: conditional().sample(4, **CONDITION | k),
        condition=X,
    ),
    Row("flows.change_of_variables.FlowDensity.draw", lambda **k: conditional().draw(X, **CONDITION | k), condition=X),
    Row(
        "flows.change_of_variables.Transform.forward",
        lambda **k: made(2, condition_dim=2)(X, **CONDITION | k),
        condition=X,
    ),
    Row(
        "flows.change_of_variables.Transform.inverse",
        lambda **k: made(2, condition_dim=2).inverse(X, **CONDITION | k),
        condition=X,
    ),
    Row("flows.dequantisation.Dequantisation.bound", lambda **k: uniform().bound(LEVELS, **k)),
    Row(
        "flows.dequantisation.Dequantisation.importance_bound",
        lambda **k: uniform().importance_bound(LEVELS, samples=3, **k),
    ),
    Row("flows.dequantisation.Dequantisation.sample", lambda **k: uniform().sample(9, **k)),
    Row("flows.dequantisation.UniformDequantisation.noise", lambda **k: uniform().noise(LEVELS.double(), **k)),
    Row("flows.ffjord.probes_like", lambda **k: ffjord.probes_like(X, "rademacher", **k)),
    Row("flows.ffjord.probes_like", lambda **k: ffjord.probes_like(X, **k), law="rademacher"),
    Row("flows.ffjord.ConcatSquashField", lambda **k: built(ffjord.ConcatSquashField, 2, **k), hidden=(4,)),
    Row(
        "flows.ffjord.FFJORD",
        lambda **k: cnf(FFJORD, **k).log_prob(X),
        steps=3,
        method="euler",
        base=LOGISTIC,
        tolerance=With(1.0, method="dopri5", steps=1),
    ),
    Row("flows.ffjord.FFJORD", lambda **k: gradient(FFJORD, **k), adjoint=False),
    Row("flows.ffjord.FFJORD", lambda **k: cnf(FFJORD, **k).probes(X, generator=gen()), law="rademacher"),
    Row("flows.ffjord.FFJORD.probes", lambda **k: cnf(FFJORD).probes(X, **k)),
    Row("flows.ffjord.FFJORD.log_prob", lambda **k: cnf(FFJORD).log_prob(X, **k), probes=fixed(4, 2, seed=4)),
    Row(
        "flows.glow.GlowCoupling",
        lambda **k: built(glow.GlowCoupling, (2, 2, 2), **k),
        hidden=4,
        net=nn.Conv2d(1, 2, 1),
    ),
    Row(
        "flows.glow.GlowCoupling",
        lambda **k: built(glow.GlowCoupling, (2, 2, 2), 4, **k)(fixed(3, 2, 2, 2)),
        gated=False,
    ),
    Row(
        "flows.glow.Glow",
        lambda **k: built(Glow, (1, 4, 4), **{"levels": 1, "steps": 1, "hidden": 4} | k),
        levels=2,
        steps=2,
        hidden=5,
        form="dense",
    ),
    Row(
        "flows.iaf.GatedAutoregressive",
        lambda **k: built(iaf.GatedAutoregressive, 3, **k),
        hidden=(4,),
        condition_dim=2,
        net=NETWORK,
    ),
    Row(
        "flows.iaf.GatedAutoregressive",
        lambda **k: transform(iaf.GatedAutoregressive, 3, **k),
        order=[2, 0, 1],
        forget_bias=0.5,
    ),
    Row("flows.iaf.InitialAffine", lambda **k: built(iaf.InitialAffine, 3, **k), condition_dim=2, log_std=0.5),
    Row("flows.iaf.IAF", lambda **k: built(IAF, 3, **k), layers=2, hidden=(4,), condition_dim=2),
    Row("flows.linear.InvertibleLinear", lambda **k: built(linear.InvertibleLinear, (2,), **k), form="lu"),
    Row("flows.linear.LinearFlow", lambda **k: built(LinearFlow, 2, **k), form="dense"),
    Row("flows.logit_transform.Logit", lambda **k: Logit((2,), **k)(torch.sigmoid(X)), alpha=0.1),
    Row("flows.maf.AffineAutoregressive", made, hidden=(4,), condition_dim=2, net=NETWORK),
    Row("flows.maf.AffineAutoregressive", lambda **k: made(**k)(X3), order=[2, 0, 1], bound=0.1),
    Row(
        "flows.maf.MAF",
        lambda **k: built(MAF, 3, **{"layers": 1} | k),
        layers=2,
        hidden=(4,),
        condition_dim=2,
        batch_norm=True,
    ),
    Row("flows.maf.MAF", lambda **k: density(MAF, 3, 2, x=X3, **k), bound=0.1),
    Row(
        "flows.multi_scale.MultiScale",
        lambda **k: built(
            multi_scale.MultiScale, (1, 4, 4), [multi_scale.Squeeze((1, 4, 4)), multi_scale.Squeeze((2, 2, 2))], **k
        ),
        finish=glow.ConditionalGaussian,
    ),
    Row("flows.neural_ode.solve_states_adjoint", states, method="euler", tolerance=With(1e-12, method="dopri5")),
    Row("flows.neural_ode.odeint_adjoint", solved, method="euler", tolerance=With(1e-12, method="dopri5")),
    Row("flows.neural_ode.odeint_adjoint", lambda **k: solved(**k).requires_grad, parameters=()),
    Row(
        "flows.neural_ode.ContinuousTransform",
        lambda **k: neural_ode.ContinuousTransform(field(), (2,), **{"steps": 2} | k)(X),
        steps=3,
        method="euler",
        tolerance=With(1.0, method="dopri5", steps=1),
    ),
    Row("flows.neural_ode.ContinuousTransform", lambda **k: gradient(**k), adjoint=False),
    Row(
        "flows.neural_ode.ContinuousTransform.solve",
        lambda **k: cnf().transform.solve(X, 1.0, 0.0, **k),
        trace=lambda f, x, t: (f(x, t), x[:, 0]),
    ),
    Row(
        "flows.neural_ode.CNF",
        lambda **k: cnf(**k).log_prob(X),
        steps=3,
        method="euler",
        base=LOGISTIC,
        tolerance=With(1.0, method="dopri5", steps=1),
    ),
    Row(
        "flows.neural_ode.CNF",
        lambda **k: cnf(**k).sample(3, generator=gen()),
        steps=3,
        method="euler",
        base=LOGISTIC,
        tolerance=With(1.0, method="dopri5", steps=1),
    ),
    Row("flows.neural_ode.CNF", lambda **k: gradient(**k), adjoint=False),
    Row("flows.neural_ode.CNF.sample", lambda **k: cnf().sample(3, **k)),
    Row("flows.nice.AdditiveCoupling", lambda **k: built(nice.AdditiveCoupling, 3, 0, **k), hidden=(4,), net=NETWORK),
    Row("flows.nice.NICE", lambda **k: built(NICE, 3, **k), couplings=3, hidden=(4,)),
    Row("flows.nice.NICE", lambda **k: density(NICE, 3, x=X3, **k), logistic=False),
    Row("flows.planar.Planar", lambda **k: built(planar.Planar, 3, **k), condition_dim=2),
    Row(
        "flows.planar.PlanarFlow",
        lambda **k: density(PlanarFlow, 3, x=X3, **{"layers": 2} | k),
        layers=3,
        closed_form="sampling",
    ),
    Row("flows.planar.PlanarFlow", lambda **k: built(PlanarFlow, 3, **k), condition_dim=2),
    Row(
        "flows.radial.RadialFlow",
        lambda **k: density(RadialFlow, 3, x=X3, **{"layers": 2} | k),
        layers=3,
        closed_form="sampling",
    ),
    Row("flows.realnvp.AffineCoupling", coupling, hidden=(4,), condition_shape=(2,), net=NETWORK, bounded=True),
    Row(
        "flows.realnvp.AffineCoupling",
        lambda **k: coupling(realnvp.checkerboard_mask((1, 2, 2), 0), **k),
        width=4,
        blocks=2,
    ),
    Row("flows.realnvp.InvertibleBatchNorm", trained_norm, momentum=0.5, eps=0.1),
    Row(
        "flows.realnvp.RealNVP",
        lambda **k: built(RealNVP, **k),
        event_shape=(3,),
        couplings=2,
        hidden=(4,),
        batch_norm=True,
        condition_dim=2,
    ),
    Row(
        "flows.realnvp.RealNVP", lambda **k: built(RealNVP, (1, 4, 4), **{"width": 4} | k), scales=1, width=5, blocks=2
    ),
    Row(
        "flows.spline.SplineCoupling",
        lambda **k: built(spline.SplineCoupling, 3, 0, **k),
        hidden=(4,),
        bins=4,
        net=NETWORK,
    ),
    Row("flows.spline.SplineCoupling", lambda **k: transform(spline.SplineCoupling, 3, 0, **k), bound=2.0),
    Row("flows.spline.NSF", lambda **k: built(NSF, 3, **k), couplings=2, hidden=(4,), bins=4),
    Row("flows.spline.NSF", lambda **k: density(NSF, 3, x=X3, **k), bound=2.0),
    Row("flows.sylvester.Sylvester", lambda **k: transform(sylvester.Sylvester, 3, 3, **k), orthogonal="householder"),
    Row(
        "flows.sylvester.Sylvester",
        lambda **k: transform(sylvester.Sylvester, 3, 3, **{"orthogonal": "permutation"} | k),
        reverse=True,
    ),
    Row(
        "flows.sylvester.SylvesterFlow",
        lambda **k: density(SylvesterFlow, 3, x=X3, **{"layers": 2} | k),
        layers=3,
        rank=2,
        orthogonal="householder",
        closed_form="sampling",
    ),
    Row(
        "flows.variational_dequantisation.conditional_noise",
        lambda **k: built(variational_dequantisation.conditional_noise, (2,), **k),
        couplings=2,
        hidden=(4,),
    ),
    Row(
        "flows.variational_dequantisation.conditional_noise",
        lambda **k: built(variational_dequantisation.conditional_noise, (1, 2, 2), **k),
        width=4,
    ),
    Row(
        "flows.variational_dequantisation.VariationalDequantisation",
        lambda **k: built(VariationalDequantisation, built(MAF, 2, 1, (4,)), 4, **k),
        q=variational_dequantisation.conditional_noise((2,), 2, hidden=(4,)),
    ),
    Row(
        "flows.variational_dequantisation.VariationalDequantisation.noise", lambda **k: variational().noise(LEVELS, **k)
    ),
]
EVERY = (
    "flows/test_every_flow.py",
    "test_the_log_determinants_are_those_of_the_jacobians_and_each_direction_undoes_the_other",
)
REFUSED = ("flows/test_every_flow.py", "test_shapes_that_do_not_fit_are_refused")
APART = {
    "flows.change_of_variables.Transform.latent_shape": EVERY,
    "flows.change_of_variables.Transform.condition_shape": EVERY,
    "flows.ffjord.FFJORD.log_prob.condition": REFUSED,
    "flows.neural_ode.CNF.sample.condition": REFUSED,
}
