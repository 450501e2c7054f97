"""How the flow-matching families are trained here, and what they reach.

Metrics of this folder beside the common ones: `excess_velocity`, the squared distance of the learnt velocity from the
exact one, averaged over dimensions, data and t in (0, 1), zero at best; `straightness` as in `rectified_flow`;
`within_4_sigma_in_N_steps` with N Euler steps; `right_class`, the share of guided samples nearest to the mode of
their label.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from reference_models.data import DataSet
from reference_models.diffusion.recipes_images import PIXELS, Averaged, InLatentSpace, compressing, signed
from reference_models.evaluation.held_out import modes_found
from reference_models.flow_matching.conditional import FlowMatching
from reference_models.flow_matching.exact import ExactVelocity
from reference_models.flow_matching.guidance import GuidedFlowMatching
from reference_models.flow_matching.latent import LatentFlowMatching
from reference_models.flow_matching.likelihood import FlowMatchingDensity
from reference_models.flow_matching.ot_coupling import OTFlowMatching
from reference_models.flow_matching.paths import Trigonometric
from reference_models.flow_matching.rectified_flow import Pairs, RectifiedFlow
from reference_models.parts.descent import descend
from reference_models.parts.networks import TimeMLP
from reference_models.parts.training import evaluating
from reference_models.parts.unet import UNet
from reference_models.recipes import OF_DIGITS, Figure, Goal, Learner, Minimise, Recipe, cosine, shadow

PLANE = ("corners", "mixture", "eight-gaussians", "moons", "checkerboard")


def _network(data: DataSet, num_classes: int | None = None) -> TimeMLP:
    dim = data.event_shape[0]
    return TimeMLP(dim, [128, 128, 128], dim, num_classes=num_classes)


def _excess_velocity(model: FlowMatching, data: DataSet, generator: Generator) -> float:
    """At the middles of fifty intervals of time, each of which sees its share of the held-out data."""
    assert data.target is not None
    exact, total = ExactVelocity(data.target, model.path), 0.0
    with evaluating(model):
        for k in range(50):
            x_1 = data.held_out[k::50]
            x_0 = torch.randn(x_1.shape, generator=generator, device=x_1.device, dtype=x_1.dtype)
            t = torch.tensor((k + 0.5) / 50, device=x_1.device, dtype=x_1.dtype)
            x_t = model.path.interpolate(x_0, x_1, t).x_t
            total += float(((model.velocity(x_t, t) - exact(x_t, t)) ** 2).mean()) / 50
    return total


def _plane_metrics(model: FlowMatching, data: DataSet, generator: Generator) -> dict[str, float]:
    found = modes_found(model.sample(2000, generator=generator), data)
    return found if data.target is None else {"excess_velocity": _excess_velocity(model, data, generator), **found}


def _plane_figure(model: FlowMatching, data: DataSet, generator: Generator) -> Figure:
    return shadow(model.sample(2000, generator=generator), data)


def _midpoint(model: FlowMatching, n: int, generator: Generator) -> Tensor:
    return model.sample(n, steps=25, method="midpoint", generator=generator)


def _digits(data: DataSet) -> Learner:
    channels = data.event_shape[0]
    network = UNet(channels, channels, base=24, multipliers=(1, 2), attention_at=(1,), time_scale=1000.0)
    return Averaged(FlowMatching(network, data.event_shape), _midpoint)


def _minimise(
    model: FlowMatching,
    metrics: Callable[[Any, DataSet, Generator], dict[str, float]] = _plane_metrics,
    figure: Callable[[Any, DataSet, Generator], Figure] = _plane_figure,
    labels: bool = False,
) -> Learner:
    return Minimise(
        model,
        loss=lambda model, x, y, generator: model.loss(x, y if labels else None, generator=generator),
        metrics=metrics,
        figure=figure,
        lr=2e-3,
        decay=True,
    )


def _cfm(data: DataSet) -> Learner:
    if len(data.event_shape) == 3:
        return _digits(data)
    return _minimise(FlowMatching(_network(data), data.event_shape))


def _few_steps(model: FlowMatching, data: DataSet, generator: Generator) -> dict[str, float]:
    """How well four Euler steps do, and how straight the paths are: what a coupling buys."""
    found = modes_found(model.sample(2000, steps=4, generator=generator), data, "_in_4_steps")
    x_0 = torch.randn(1000, *data.event_shape, generator=generator, device=data.train.device, dtype=data.train.dtype)
    return {"straightness": float(_straight(model).straightness(x_0).mean()), **found}


def _straight(model: FlowMatching) -> RectifiedFlow:
    return RectifiedFlow(model.velocity, model.event_shape)


def _likelihood(model: FlowMatchingDensity, data: DataSet, generator: Generator) -> dict[str, float]:
    with evaluating(model):
        nll = -float(model.log_prob(data.held_out).mean())
    return {"nll_nats": nll} | ({} if data.entropy is None else {"excess_nats": nll - data.entropy})


def _guided(model: GuidedFlowMatching, data: DataSet, generator: Generator) -> dict[str, float]:
    """2000 samples with labels in turn, along the velocities of weights 1 and 2."""
    assert data.target is not None
    y = torch.arange(2000, device=data.train.device) % model.num_classes
    found = modes_found(model.sample(2000, condition=y, generator=generator), data)
    x = model.sample_guided(2000, condition=y, weight=2.0, generator=generator)
    modes = len(data.target.weights) // model.num_classes  # of a class, side by side
    right = torch.cdist(x, data.target.means).argmin(1) // modes == y
    return {**found, "right_class": float(right.to(x.dtype).mean())}


def _guided_figure(model: GuidedFlowMatching, data: DataSet, generator: Generator) -> Figure:
    y = torch.arange(2000, device=data.train.device) % model.num_classes
    return shadow(model.sample_guided(2000, condition=y, weight=2.0, generator=generator), data)


def _classes(data: DataSet) -> Learner:
    assert data.train_labels is not None
    classes = int(data.train_labels.max()) + 1
    model = GuidedFlowMatching(_network(data, classes), data.event_shape, classes)
    return _minimise(model, _guided, _guided_figure, labels=True)


class Reflow(Learner):
    """Half of the time a first flow, then a second one on the pairs of the first."""

    def __init__(self, data: DataSet, pairs: int = 20000) -> None:
        super().__init__()
        self.count = pairs
        self.first = RectifiedFlow(_network(data), data.event_shape)
        self.second = copy.deepcopy(self.first)
        self.pairs: Pairs | None = None
        self.optimiser = torch.optim.Adam(self.first.parameters(), lr=2e-3)

    def trained(self) -> Any:
        return self.second

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        if self.progress < 0.5:
            loss = self.first.loss(x, generator=generator)
            descend(self.optimiser, loss, cosine(2 * self.progress))
            return {"first": loss.item()}
        if self.pairs is None:
            self.pairs = self.first.pairs(self.count, steps=30, method="rk4", generator=generator)
            self.second.load_state_dict(self.first.state_dict())
            self.optimiser = torch.optim.Adam(self.second.parameters(), lr=2e-3)
        loss = self.second.reflow_loss(self.pairs.batch(len(x), generator), generator=generator)
        descend(self.optimiser, loss, cosine(2 * self.progress - 1))
        return {"second": loss.item()}

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        x_0 = torch.randn(
            1000, *data.event_shape, generator=generator, device=data.train.device, dtype=data.train.dtype
        )
        return {
            "straightness_before": float(self.first.straightness(x_0).mean()),
            "straightness": float(self.second.straightness(x_0).mean()),
            **modes_found(self.first.sample(2000, steps=1, generator=generator), data, "_in_1_step_before"),
            **modes_found(self.second.sample(2000, steps=1, generator=generator), data, "_in_1_step"),
        }

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        samples = self.second.sample(2000, steps=1, generator=generator)
        return shadow(samples, data)


def _latent(data: DataSet) -> Learner:
    """The labels of the digits guide nothing."""
    autoencoder, shape = compressing(data)
    network = UNet(shape[0], shape[0], base=24, multipliers=(1, 2), attention_at=(), time_scale=1000.0)
    flow = FlowMatching(network, shape)
    model = LatentFlowMatching(autoencoder, flow)
    return InLatentSpace(model, autoencoder, flow, lambda: model.calibrate(signed(data.train)), _midpoint)


RECIPES: dict[str, Recipe] = {
    "gaussian-paths": Recipe(
        build=lambda data: _minimise(FlowMatching(_network(data), data.event_shape, Trigonometric())),
        data=PLANE,
        goals=(Goal("excess_velocity", at_most=0.05), Goal("within_4_sigma", at_least=0.65)),
        minutes=0.5,
        batch_size=256,
    ),
    "cfm": Recipe(
        build=_cfm,
        data=(*PLANE, *PIXELS),
        goals=(Goal("excess_velocity", at_most=0.05), Goal("within_4_sigma", at_least=0.65)),
        minutes=0.5,
        batch_size=256,
    ),
    "ot-cfm": Recipe(
        build=lambda data: _minimise(OTFlowMatching(_network(data), data.event_shape), _few_steps),
        data=PLANE,
        goals=(Goal("within_4_sigma_in_4_steps", at_least=0.6), Goal("straightness", at_most=0.2)),
        minutes=0.8,
        batch_size=256,
    ),
    "rectified-flow": Recipe(
        build=Reflow,
        data=PLANE,
        goals=(Goal("straightness", at_most=0.05), Goal("within_4_sigma_in_1_step", at_least=0.6)),
        minutes=0.8,
        batch_size=256,
    ),
    "fm-likelihood": Recipe(
        build=lambda data: _minimise(FlowMatchingDensity(_network(data), data.event_shape), _likelihood),
        data=PLANE,
        goals=(Goal("excess_nats", at_most=1.2),),
        minutes=0.5,
        batch_size=256,
    ),
    "guided-flow": Recipe(
        build=_classes,
        data=("corners", "eight-gaussians", "mixture"),
        goals=(Goal("within_4_sigma", at_least=0.65), Goal("right_class", at_least=0.97)),
        minutes=0.5,
        batch_size=256,
    ),
    "latent-flow-matching": Recipe(
        build=_latent,
        data=PIXELS,
        goals=OF_DIGITS,
        minutes=8.0,
        batch_size=64,
    ),
}
