"""Recipes of dequantised digits: bits per dimension, from above, are compared.

The 1×1 convolution alone, with every pixel made a channel, has a closed-form best answer, the Gaussian with the data's
moments: `above_gaussian_nats` is the distance from it, on held-out data.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Generator, Tensor

from reference_models.data import DataSet
from reference_models.evaluation.bits_per_dim import bits_per_dim
from reference_models.flows.change_of_variables import Composed, FlowDensity, Transform
from reference_models.flows.dequantisation import Dequantisation, UniformDequantisation
from reference_models.flows.glow import ActNorm, Glow
from reference_models.flows.linear import InvertibleLinear
from reference_models.flows.logit_transform import Logit
from reference_models.flows.multi_scale import Flatten, Squeeze
from reference_models.flows.realnvp import RealNVP
from reference_models.flows.recipes_plane import gaussian_nll
from reference_models.flows.variational_dequantisation import VariationalDequantisation, conditional_noise
from reference_models.recipes import Figure, Goal, Learner, Minimise, Recipe, beside_data

IMAGES = ("drawn-16", "digits", "drawn", "mnist", "cifar10")


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
    nats, closer = (-model.importance_bound(levels, samples=S, generator=generator).mean() for S in (1, 16))
    bits, bits_16 = (float(bits_per_dim(bound, model.dims)) for bound in (nats, closer))
    return {"nelbo_nats": float(nats), "bits_per_dim": bits, "bits_per_dim_16": bits_16}


def image_figure(model: Dequantisation, data: DataSet, generator: Generator) -> Figure:
    """64 samples of levels as pixels, beside data."""
    return beside_data(model.sample(64, generator=generator).to(data.train.dtype) / (model.num_levels - 1), data)


def on_the_cube(flow: FlowDensity) -> FlowDensity:
    """The flow behind a logit transform: a density of pixels in [0, 1]."""
    return FlowDensity(Composed([Logit(flow.event_shape), flow.transform]), flow.base)


def image_learner(build: Callable[[DataSet], Dequantisation], data: DataSet) -> Learner:
    """A model of the levels, fitted by its dequantised bound."""
    return Minimise(
        build(data), loss=bound_loss, metrics=image_metrics, figure=image_figure, lr=2e-3, clip=5.0, decay=True
    )


def images(build: Callable[[DataSet], Dequantisation], bits: float) -> Recipe:
    """The recipe of such a model: at most `bits` per dimension."""
    return Recipe(partial(image_learner, build), IMAGES, (Goal("bits_per_dim", at_most=bits),), minutes=2.5)


def uniform(flow: Callable[[tuple[int, ...]], FlowDensity]) -> Callable[[DataSet], Dequantisation]:
    """A `build` for `images`: a flow of the data's shape on the cube, with uniform noise."""
    return lambda data: UniformDequantisation(on_the_cube(flow(data.event_shape)), data.grades)


def small_realnvp(shape: tuple[int, ...]) -> FlowDensity:
    """Two scales, for images of 8×8."""
    return RealNVP(shape, scales=2, width=16, blocks=1)


def _small_glow(shape: tuple[int, ...]) -> FlowDensity:
    return Glow(shape, levels=2, steps=4, hidden=48)


def _with_learned_noise(data: DataSet) -> Dequantisation:
    noise = conditional_noise(data.event_shape, couplings=4, width=16)
    return VariationalDequantisation(on_the_cube(small_realnvp(data.event_shape)), data.grades, noise)


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
        uniform(channels_only)(data),
        loss=bound_loss,
        metrics=convolution_metrics,
        figure=image_figure,
        lr=1e-2,
        decay=True,
    )


IMAGE_RECIPES: dict[str, Recipe] = {
    "invertible-1x1": Recipe(
        _convolution,
        IMAGES,
        (Goal("above_gaussian_nats", at_most=1.0),),
        minutes=0.5,
        apart="the Gaussian is its closed form",
    ),
    "glow": images(uniform(_small_glow), 1.9),
    "uniform-dequantisation": images(uniform(small_realnvp), 1.9),
    "variational-dequantisation": images(_with_learned_noise, 1.9),
}
