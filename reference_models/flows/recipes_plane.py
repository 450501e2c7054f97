"""Recipes of densities of vectors, by maximum likelihood: the excess over the exact entropy is known.

Linear flows have a closed-form best answer, the Gaussian with the data's moments: `above_gaussian_nats` is the distance
from it, on held-out data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from reference_models.data import DataSet
from reference_models.evaluation.mode_coverage import mode_coverage
from reference_models.flows.change_of_variables import FlowDensity
from reference_models.flows.ffjord import FFJORD, ConcatSquashField
from reference_models.flows.iaf import IAF
from reference_models.flows.linear import LinearFlow
from reference_models.flows.maf import MAF
from reference_models.flows.neural_ode import CNF
from reference_models.flows.nice import NICE
from reference_models.flows.planar import PlanarFlow
from reference_models.flows.radial import RadialFlow
from reference_models.flows.spline import NSF
from reference_models.flows.sylvester import SylvesterFlow
from reference_models.parts.networks import TimeMLP
from reference_models.recipes import Figure, Goal, Learner, Minimise, Recipe, shadow

PLANE = ("corners", "mixture", "eight-gaussians", "moons", "checkerboard")
Loss = Callable[[Any, Tensor, Tensor | None, Generator], Tensor]


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
    return shadow(flow.sample(2000, generator=generator), data)


def solved_finely(flow: CNF) -> CNF:
    """The same field with an adaptive solver: training's few steps would flatter, or spoil, the numbers."""
    return CNF(flow.transform.field, flow.event_shape, steps=1, method="dopri5", tolerance=1e-4)


def continuous_metrics(flow: CNF, data: DataSet, generator: Generator) -> dict[str, float]:
    """plane_metrics of the finely solved flow, with the exact trace."""
    return plane_metrics(solved_finely(flow), data, generator)


def continuous_figure(flow: CNF, data: DataSet, generator: Generator) -> Figure:
    """plane_figure of the finely solved flow."""
    return plane_figure(solved_finely(flow), data, generator)


BEYOND = (Goal("excess_nats", at_most=1.4), Goal("within_4_sigma", at_least=0.6))  # 128 Gaussians: 1.6 and 0.54


def continuous(build: Callable[[int], CNF], loss: Loss, *, lr: float) -> Recipe:
    """A continuous flow: four steps of RK4 in training, an adaptive solver to measure with."""

    def learner(data: DataSet) -> Learner:
        return Minimise(
            build(data.event_shape[0]),
            loss=loss,
            metrics=continuous_metrics,
            figure=continuous_figure,
            lr=lr,
            clip=5.0,
            decay=True,
        )

    return Recipe(learner, PLANE, BEYOND, minutes=1.5, batch_size=256)


def plane_learner(flow: FlowDensity, *, lr: float) -> Learner:
    """A flow of vectors, fitted by its likelihood."""
    return Minimise(
        flow, loss=negative_log_likelihood, metrics=plane_metrics, figure=plane_figure, lr=lr, clip=5.0, decay=True
    )


def plane(build: Callable[[int], FlowDensity], *, lr: float = 5e-3, minutes: float = 0.8) -> Recipe:
    """The recipe of such a flow."""

    def learner(data: DataSet) -> Learner:
        return plane_learner(build(data.event_shape[0]), lr=lr)

    return Recipe(learner, PLANE, BEYOND, minutes=minutes, batch_size=256)


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


def in_the_plane(
    build: Callable[[int], FlowDensity], excess: float, within: float, *, lr: float, apart: str, minutes: float = 0.5
) -> Recipe:
    """The recipe of a flow that stays in the plane, where the mixture is the law; apart: why it does."""

    def learner(data: DataSet) -> Learner:
        return plane_learner(build(data.event_shape[0]), lr=lr)

    goals = (Goal("excess_nats", at_most=excess), Goal("within_4_sigma", at_least=within), ALL_FOUR)
    return Recipe(learner, PLANE[1:], goals, minutes=minutes, batch_size=256, apart=apart)


ALL_FOUR = Goal("modes_covered", at_least=4)

PLANE_RECIPES: dict[str, Recipe] = {
    "planar": plane(lambda dim: PlanarFlow(dim, 4 * dim), lr=1e-2, minutes=1.5),
    "radial": in_the_plane(
        lambda dim: RadialFlow(dim, 16),
        0.6,
        0.8,
        lr=1e-2,
        apart="a layer moves one ball of the space, which takes few dimensions",
    ),
    "sylvester": plane(lambda dim: SylvesterFlow(dim, 16), lr=1e-2),
    "linear-flow": Recipe(
        _linear,
        PLANE[1:],
        (Goal("above_gaussian_nats", at_most=0.01),),
        minutes=0.5,
        batch_size=512,
        apart="the Gaussian is its closed form",
    ),
    "nice": in_the_plane(
        lambda dim: NICE(dim, 8, (64, 64)), 0.3, 0.88, lr=5e-3, apart="keeping volumes, it stays at 2.4 nats on corners"
    ),
    "maf": plane(lambda dim: MAF(dim, 6, (128, 128), bound=5.0), lr=3e-3),
    "iaf": in_the_plane(
        lambda dim: IAF(dim, 6, (64, 64)),
        0.5,
        0.88,
        lr=3e-3,
        minutes=1.5,
        apart="its likelihood inverts variable by variable, which overflows on corners",
    ),
    "neural-spline": plane(lambda dim: NSF(dim, 4, (64, 64))),
    "neural-ode": continuous(
        lambda dim: CNF(TimeMLP(dim, (64, 64), dim, embedding=16, time_scale=6.0), (dim,), steps=4),
        negative_log_likelihood,
        lr=1e-2,
    ),
    "ffjord": continuous(
        lambda dim: FFJORD(ConcatSquashField(dim, (64, 64)), (dim,), law="rademacher", steps=4),
        hutchinson_log_likelihood,
        lr=2e-2,
    ),
}
