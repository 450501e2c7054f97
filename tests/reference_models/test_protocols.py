"""The interfaces across families: what a class of a kind must offer, asked of all classes of the library."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module

import pytest
import torch
from torch import nn

from reference_models.catalogue import families
from reference_models.diffusion.ddpm import DDPM
from reference_models.diffusion.schedule import Schedule
from reference_models.parts.networks import TimeMLP
from reference_models.protocols import (
    Density,
    Diffusion,
    Flow,
    ForwardProcess,
    Implicit,
    LatentVariableModel,
    NoiseSchedule,
    NormalLaw,
    Parametrisation,
    Velocity,
)

# family: the protocols its model keeps; a class name where the module has several models
KEPT = {
    Density: """nade made wavenet row-lstm diagonal-bilstm pixelcnn gated-pixelcnn conditional-pixelcnn pixelcnn-pp
        image-gpt gaussian-mixture ppca planar radial sylvester linear-flow nice realnvp glow maf iaf neural-spline
        neural-ode ffjord ebm rbm boltzmann-machine fm-likelihood""",
    LatentVariableModel: """gaussian-mixture ppca vae iwae beta-vae dip-vae hierarchical-vae vq-vae vq-vae-2 pixelvae
        gumbel-vae avb ddpm d3pm-uniform""",
    Implicit: """gan dcgan lsgan f-gan conditional-gan constrained-gan wgan wgan-gp sagan biggan progressive-gan
        stylegan ddpm cfm ot-cfm rectified-flow guided-flow latent-flow-matching latent-diffusion""",
    Flow: "planar radial sylvester nice realnvp maf iaf neural-spline neural-ode change-of-variables fm-likelihood",
}
MODULES = {family.name: family.module for family in families()}


def models(module_name: str) -> Iterator[type[nn.Module]]:
    """The public networks of a file."""
    for found in defined_in(module_name):
        if inspect.isclass(found) and issubclass(found, nn.Module):
            yield found


def defined_in(module_name: str) -> Iterator[object]:
    """What a file itself defines and does not hide."""
    for name, found in vars(import_module(module_name)).items():
        if not name.startswith("_") and getattr(found, "__module__", None) == module_name:
            yield found


@pytest.mark.parametrize(
    ("protocol", "family"), [(kept, family) for kept, names in KEPT.items() for family in names.split()]
)
def test_a_family_keeps_its_protocol(protocol, family):
    assert any(issubclass(model, protocol) for model in models(MODULES[family]))


@pytest.mark.parametrize("module", sorted(set(MODULES.values())))
def test_randomness_enters_by_argument(module):
    """Whatever draws n examples takes a generator, and everything but n by keyword."""
    for model in models(module):
        if not hasattr(model, "sample"):
            continue
        parameters = list(inspect.signature(model.sample).parameters.values())[1:]
        if parameters[0].name == "n":
            assert any(p.name == "generator" and p.default is None for p in parameters), model
            assert all(p.kind is p.KEYWORD_ONLY or p.kind is p.VAR_KEYWORD for p in parameters[1:]), model


@pytest.mark.parametrize("module", sorted(set(MODULES.values())))
def test_public_functions_are_described(module):
    """Every public class and function of a family says what it does."""
    for thing in defined_in(module):
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), thing


def test_a_diffusion_has_a_schedule_a_process_and_a_parametrisation():
    model = DDPM(TimeMLP(2, [4], 2, time_scale=1.0), Schedule.scaled_linear(30), (2,))
    assert isinstance(model, Implicit)
    assert {name for name in vars(Diffusion) if not name.startswith("_")} == {"schedule", "process", "predict"}
    assert isinstance(model.schedule, NoiseSchedule)
    assert isinstance(model.process, ForwardProcess)
    x, t = torch.randn(3, 2), torch.tensor([0, 5, 29])
    assert isinstance(model.process.marginal(x, t), NormalLaw)
    assert isinstance(model.predict(x, t), Parametrisation)


def test_a_network_that_knows_time_is_a_velocity():
    assert isinstance(TimeMLP(2, [4], 2), Velocity)
