"""The training recipes of the folder.

Flows of vectors learn densities of the plane by maximum likelihood, where the excess over the exact entropy is known;
flows of images learn dequantised digits, where bits per dimension are compared. Linear flows have a closed-form best
answer, the Gaussian with the data's moments: `above_gaussian_nats` is the distance from it, on held-out data.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Generator, Tensor

from reference_models.data import DataSet
from reference_models.evaluation.mode_coverage import mode_coverage
from reference_models.flows.change_of_variables import Composed, FlowDensity, Transform
from reference_models.flows.dequantisation import Dequantisation, UniformDequantisation
from reference_models.flows.ffjord import FFJORD, ConcatSquashField
from reference_models.flows.glow import ActNorm, Glow
from reference_models.flows.iaf import IAF
from reference_models.flows.linear import InvertibleLinear, LinearFlow
from reference_models.flows.logit_transform import Logit
from reference_models.flows.maf import MAF
from reference_models.flows.multi_scale import Flatten, Squeeze
from reference_models.flows.neural_ode import CNF
from reference_models.flows.nice import NICE
from reference_models.flows.planar import PlanarFlow
from reference_models.flows.radial import RadialFlow
from reference_models.flows.realnvp import RealNVP
from reference_models.flows.spline import NSF
from reference_models.flows.sylvester import SylvesterFlow
from reference_models.flows.variational_dequantisation import VariationalDequantisation, conditional_noise
from reference_models.parts.networks import TimeMLP
from reference_models.recipes import Figure, Goal, Images, Learner, Minimise, Points, Recipe

PLANE = ("mixture", "eight-gaussians", "moons", "checkerboard")
IMAGES = ("digits", "mnist", "cifar10")
LEVELS = {"digits": 17, "mnist": 256, "cifar10": 256}
Loss = Callable[[Any, Tensor, Tensor | None, Generator], Tensor]


# --- densities of the plane


def negative_log_likelihood(flow: FlowDensity, x: Tensor, y: Tensor | None, generator: Generator) -> Tensor:
    """-log p(x), nats, the mean over the batch."""
    return -flow.log_prob(x).mean()


def hutchinson_log_likelihood(flow: FFJORD, x: Tensor, y: Tensor | None, generator: Generator) -> Tensor:
    """The same with one probe an example in place of the trace."""
    return -flow.log_prob(x, probes=flow.probes(x, generator=generator)).mean()


@torch.no_grad()
def plane_metrics(flow: FlowDensity, data: DataSet, generator: Generator) -> dict[str, float]:
    """nll_nats, excess_nats where the entropy is known, within_4_sigma and modes_covered where the modes are."""
    metrics = {"nll_nats": -flow.log_prob(data.held_out).mean().item()}
    if data.entropy is not None:
        metrics["excess_nats"] = metrics["nll_nats"] - data.entropy
    if data.target is not None:
        coverage = mode_coverage(flow.sample(4000, generator=generator), data.target)
        metrics["within_4_sigma"] = coverage.within_4_sigma
        metrics["modes_covered"] = float(coverage.modes_covered)
    return metrics


def plane_figure(flow: FlowDensity, data: DataSet, generator: Generator) -> Figure:
    """2000 samples beside 2000 points of the data."""
    return Points(flow.sample(2000, generator=generator), data.held_out[:2000])


def solved_finely(flow: CNF) -> CNF:
    """The same field with an adaptive solver: training's few steps would flatter, or spoil, the numbers."""
    return CNF(flow.transform.field, flow.event_shape, steps=1, method="dopri5", tolerance=1e-4)


def continuous_metrics(flow: CNF, data: DataSet, generator: Generator) -> dict[str, float]:
    """plane_metrics of the finely solved flow, with the exact trace."""
    return plane_metrics(solved_finely(flow), data, generator)


def continuous_figure(flow: CNF, data: DataSet, generator: Generator) -> Figure:
    """plane_figure of the finely solved flow."""
    return plane_figure(solved_finely(flow), data, generator)


def continuous(build: Callable[[], CNF], loss: Loss, *, lr: float) -> Recipe:
    """A continuous flow of the plane: four steps of RK4 in training, an adaptive solver to measure with."""

    def learner(data: DataSet) -> Learner:
        return Minimise(
            build(), loss=loss, metrics=continuous_metrics, figure=continuous_figure, lr=lr, clip=5.0, decay=True
        )

    goals = (Goal("excess_nats", at_most=0.3), Goal("within_4_sigma", at_least=0.9), Goal("modes_covered", at_least=4))
    return Recipe(learner, PLANE, goals, minutes=1.0, batch_size=256)


def plane(
    build: Callable[[], FlowDensity],
    excess: float,
    within: float | None = None,
    *,
    lr: float = 5e-3,
    minutes: float = 0.5,
) -> Recipe:
    """A flow of the plane, fitted by its likelihood: at most `excess` nats above the mixture's entropy."""

    def learner(data: DataSet) -> Learner:
        return Minimise(
            build(),
            loss=negative_log_likelihood,
            metrics=plane_metrics,
            figure=plane_figure,
            lr=lr,
            clip=5.0,
            decay=True,
        )

    goals = [Goal("excess_nats", at_most=excess)]
    if within is not None:
        goals += [Goal("within_4_sigma", at_least=within), Goal("modes_covered", at_least=4)]
    return Recipe(learner, PLANE, tuple(goals), minutes=minutes, batch_size=256)


# --- images


def levels_of(x: Tensor, num_levels: int) -> Tensor:
    """Pixels k/(K - 1) as whole numbers k."""
    return (x * (num_levels - 1)).round()


def bound_loss(model: Dequantisation, x: Tensor, y: Tensor | None, generator: Generator) -> Tensor:
    """Minus the one-draw bound of log P(x), nats a dimension, the mean over the batch."""
    return -model.bound(levels_of(x, model.num_levels), generator=generator).mean() / model.dims


@torch.no_grad()
def image_metrics(model: Dequantisation, data: DataSet, generator: Generator) -> dict[str, float]:
    """nelbo_nats with one draw of the noise, bits_per_dim from it, and bits_per_dim_16 with sixteen draws."""
    levels = levels_of(data.held_out[:1000], model.num_levels)
    single = model.bits_per_dim(levels, samples=1, generator=generator).mean().item()
    many = model.bits_per_dim(levels, samples=16, generator=generator).mean().item()
    nats = single * model.dims * torch.log(torch.tensor(2.0)).item()
    return {"nelbo_nats": nats, "bits_per_dim": single, "bits_per_dim_16": many}


def image_figure(model: Dequantisation, data: DataSet, generator: Generator) -> Figure:
    """64 samples of levels as pixels."""
    return Images(model.sample(64, generator=generator).to(data.train.dtype) / (model.num_levels - 1))


def on_the_cube(flow: FlowDensity) -> FlowDensity:
    """The flow behind a logit transform: a density of pixels in [0, 1]."""
    return FlowDensity(Composed([Logit(flow.event_shape), flow.transform]), flow.base)


def images(
    build: Callable[[DataSet], Dequantisation], bits: float, *, lr: float = 2e-3, minutes: float = 1.0
) -> Recipe:
    """A model of digits by its dequantised bound: at most `bits` per dimension."""
    return Recipe(partial(_image_learner, build, lr), IMAGES, (Goal("bits_per_dim", at_most=bits),), minutes=minutes)


def _image_learner(build: Callable[[DataSet], Dequantisation], lr: float, data: DataSet) -> Learner:
    return Minimise(
        build(data), loss=bound_loss, metrics=image_metrics, figure=image_figure, lr=lr, clip=5.0, decay=True
    )


def _uniform(flow: Callable[[tuple[int, ...]], FlowDensity]) -> Callable[[DataSet], Dequantisation]:
    return lambda data: UniformDequantisation(on_the_cube(flow(data.event_shape)), LEVELS[data.name])


def _small_realnvp(shape: tuple[int, ...]) -> FlowDensity:
    return RealNVP(shape, scales=2, width=16, blocks=1)


def _small_glow(shape: tuple[int, ...]) -> FlowDensity:
    return Glow(shape, levels=2, steps=4, hidden=48)


def _with_learned_noise(data: DataSet) -> Dequantisation:
    noise = conditional_noise(data.event_shape, couplings=4, width=16)
    return VariationalDequantisation(on_the_cube(_small_realnvp(data.event_shape)), LEVELS[data.name], noise)


def _realnvp(data: DataSet) -> Learner:
    """Vectors by likelihood, images by the dequantised bound."""
    if len(data.event_shape) == 3:
        return _image_learner(_uniform(_small_realnvp), 2e-3, data)
    flow = RealNVP(data.event_shape, couplings=8, hidden=(64, 64))
    return Minimise(
        flow, loss=negative_log_likelihood, metrics=plane_metrics, figure=plane_figure, lr=3e-3, clip=5.0, decay=True
    )


# --- linear flows and the Gaussian they can at best become


def gaussian_nll(train: Tensor, held_out: Tensor) -> float:
    """-log of the normal density with the training data's mean and covariance, at held-out data; (N, D) each."""
    gaussian = torch.distributions.MultivariateNormal(train.mean(0), torch.cov(train.T, correction=0))
    return float(-gaussian.log_prob(held_out).mean())


@torch.no_grad()
def linear_metrics(flow: LinearFlow, data: DataSet, generator: Generator) -> dict[str, float]:
    """plane_metrics, and above_gaussian_nats."""
    metrics = plane_metrics(flow, data, generator)
    return metrics | {"above_gaussian_nats": metrics["nll_nats"] - gaussian_nll(data.train, data.held_out)}


def _linear(data: DataSet) -> Learner:
    return Minimise(
        LinearFlow(data.event_shape[0]),
        loss=negative_log_likelihood,
        metrics=linear_metrics,
        figure=plane_figure,
        lr=2e-2,
        decay=True,
    )


def channels_only(shape: tuple[int, ...]) -> FlowDensity:
    """Squeezed until all pixels are channels, so that one 1×1 convolution mixes them all; ActNorm before and after."""
    steps: list[Transform] = []
    while shape[1] % 2 == 0 and shape[2] % 2 == 0:
        steps.append(Squeeze(shape))
        shape = steps[-1].latent_shape
    return FlowDensity(
        Composed([*steps, ActNorm(shape), InvertibleLinear(shape, "lu"), ActNorm(shape), Flatten(shape)])
    )


@torch.no_grad()
def convolution_metrics(model: Dequantisation, data: DataSet, generator: Generator) -> dict[str, float]:
    """image_metrics, and above_gaussian_nats in logit space, with noise on training and held-out images alike."""
    logit, linear = cast(tuple[Transform, Transform], tuple(cast(Composed, model.density.transform).transforms))

    def at(x: Tensor) -> Tensor:
        levels = levels_of(x, model.num_levels)
        return logit.forward((levels + model.noise(levels, generator=generator).u) / model.num_levels)[0]

    train, held_out = at(data.train.repeat(8, 1, 1, 1)), at(data.held_out)
    nll = -FlowDensity(linear, model.density.base).log_prob(held_out).mean().item()
    best = gaussian_nll(train.flatten(1), held_out.flatten(1))
    return image_metrics(model, data, generator) | {"above_gaussian_nats": nll - best}


def _convolution(data: DataSet) -> Learner:
    return Minimise(
        _uniform(channels_only)(data),
        loss=bound_loss,
        metrics=convolution_metrics,
        figure=image_figure,
        lr=1e-2,
        decay=True,
    )


RECIPES: dict[str, Recipe] = {
    "planar": plane(lambda: PlanarFlow(2, 16), 0.2, 0.9, lr=1e-2),
    "radial": plane(lambda: RadialFlow(2, 16), 0.6, 0.8, lr=1e-2),
    "sylvester": plane(lambda: SylvesterFlow(2, 16), 0.2, 0.9, lr=1e-2),
    "linear-flow": Recipe(_linear, PLANE, (Goal("above_gaussian_nats", at_most=0.01),), minutes=0.5, batch_size=512),
    "invertible-1x1": Recipe(_convolution, IMAGES, (Goal("above_gaussian_nats", at_most=1.0),), minutes=0.5),
    "nice": plane(lambda: NICE(2, 8, (64, 64)), 0.3, 0.88),
    "realnvp": Recipe(
        _realnvp,
        (*PLANE, *IMAGES),
        (Goal("excess_nats", at_most=0.3), Goal("within_4_sigma", at_least=0.88), Goal("modes_covered", at_least=4)),
        minutes=0.5,
        batch_size=256,
    ),
    "glow": images(_uniform(_small_glow), 2.5),
    "maf": plane(lambda: MAF(2, 6, (64, 64)), 0.3, 0.88),
    "iaf": plane(lambda: IAF(2, 6, (64, 64)), 0.6, 0.8, lr=3e-3),
    "uniform-dequantisation": images(_uniform(_small_realnvp), 2.4),
    "variational-dequantisation": images(_with_learned_noise, 2.3),
    "neural-spline": plane(lambda: NSF(2, 4, (64, 64)), 0.1, 0.95),
    "neural-ode": continuous(
        lambda: CNF(TimeMLP(2, (48, 48), 2, embedding=16, time_scale=6.0), (2,), steps=4),
        negative_log_likelihood,
        lr=1e-2,
    ),
    "ffjord": continuous(
        lambda: FFJORD(ConcatSquashField(2, (64, 64)), (2,), law="rademacher", steps=4),
        hutchinson_log_likelihood,
        lr=2e-2,
    ),
}
