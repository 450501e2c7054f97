"""What a recipe says of its model beyond its numbers: a code compresses, a network grows, a part matters."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from reference_models.adversarial.recipes import RECIPES
from reference_models.data import DataSet, load
from reference_models.diffusion.recipes_images import PIXELS, compressing
from reference_models.latent.recipes_codes import top_grid_pays
from reference_models.latent.vqvae2 import VQVAE2

SHAPES = {"drawn-16": (1, 16, 16), "digits": (1, 8, 8), "drawn": (1, 28, 28), "mnist": (1, 28, 28)}
SHAPES["cifar10"] = (3, 32, 32)


@pytest.mark.parametrize("name", PIXELS)
def test_the_code_of_latent_models_is_four_times_smaller_than_the_picture(name):
    x = torch.rand(2, *SHAPES[name])
    data = DataSet(name, x, x, None, None, SHAPES[name], levels=17)
    autoencoder, shape = compressing(data)
    code = autoencoder.encode(x).mean
    assert code.shape == (2, *shape)
    assert 4 * math.prod(shape) <= math.prod(SHAPES[name])


def test_stylegan_grows_through_three_levels():
    data = load("drawn-16", size=20)
    few = replace(data, held_out=data.held_out[:20], held_out_labels=data.held_out_labels[:20])
    learner = RECIPES["stylegan"].build(few)
    gan, levels = learner.gan, set()
    for _ in range(5):
        levels.add(gan.stage.level)
        gan.after_discriminator_step(gan.images_per_phase)
    assert levels == {0, 1, 2}
    assert gan.stage.alpha == 1.0
    assert 4 << gan.stage.level == 16


def test_other_top_codes_cost_what_the_top_grid_says():
    """Nothing where the decoder does not look at it; the recipe's goal asks for two nats an image."""
    torch.manual_seed(0)
    model = VQVAE2((1, 8, 8), 16, 4, hidden=8, inner=4).eval()
    x = (torch.rand(30, 1, 8, 8) < 0.5).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    assert abs(top_grid_pays(model, x)) > 1e-3
    with torch.no_grad():
        model.raise_top.weight.zero_()
        model.raise_top.bias.zero_()
    assert top_grid_pays(model, x) == pytest.approx(0.0, abs=1e-9)
