"""A PixelVAE against the enumeration of all small images and quadrature over its code."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from reference_models.autoregressive.gated_pixelcnn import GatedPixelCNN
from reference_models.latent.pixelvae import PixelCNNLikelihood, PixelVAE
from tests.reference_models.energy.oracles import law_p_value
from tests.reference_models.helpers import binary_states, close, numpy, perturb, standard_errors


def model(side: int = 2, d: int = 1, scale: float = 0.5, layers: int = 2) -> PixelVAE:
    return perturb(PixelVAE((1, side, side), 2, d, (6,), maps=3, features=4, layers=layers), scale=scale)


def all_images(side: int) -> Tensor:
    return binary_states(side * side).view(-1, 1, side, side)


def evidence(vae: PixelVAE, x: Tensor) -> Tensor:
    """log p(x) by the trapezoidal rule over one code variable."""
    z = torch.linspace(-8, 8, 401)[:, None, None]
    log_joint = vae.log_likelihood(x, z.expand(-1, len(x), 1)) - 0.5 * z.square()[..., 0] - 0.5 * math.log(2 * math.pi)
    return torch.logsumexp(log_joint, 0).detach() + math.log(16 / 400)


def test_the_images_given_a_code_have_total_probability_one() -> None:
    vae, x = model(3, 2), all_images(3)
    for z in torch.randn(3, 2):
        log_p = vae.log_likelihood(x, z.expand(1, 512, 2))
        assert close(log_p.exp().sum(), 1.0, atol=1e-9)


def test_a_pixel_depends_on_pixels_before_it_on_none_after_and_always_on_the_code() -> None:
    vae = model(3, 2, layers=3)
    net, s = vae.likelihood.net, vae.decoder(torch.randn(1, 2))
    x = (torch.rand(1, 1, 3, 3) > 0.5).double()
    logits = net.logits(x, s).reshape(2, 9)
    for j in range(9):
        flipped = x.clone().view(9)
        flipped[j] = 1 - flipped[j]
        change = (net.logits(flipped.view(1, 1, 3, 3), s).reshape(2, 9) - logits).abs().amax(0)
        assert bool((change[: j + 1] == 0).all())
        assert j == 8 or bool((change[j + 1 :] > 0).all())
    z = torch.randn(1, 2)
    slopes = torch.autograd.functional.jacobian(lambda z: net.logits(x, vae.decoder(z)).reshape(2, 9), z)
    assert bool((slopes.abs().amax((0, 2, 3)) > 1e-9).all())


def test_the_likelihood_is_the_chain_of_conditionals_that_generate() -> None:
    vae = model(2, 2)
    x, s = all_images(2), vae.decoder(torch.randn(1, 2)).expand(16, -1, -1, -1)
    logits, total = numpy(vae.likelihood.net.logits(x, s)), np.zeros(16)
    for i in range(2):
        for j in range(2):
            pair = logits[:, :, 0, i, j]
            chosen = pair[np.arange(16), numpy(x[:, 0, i, j]).astype(int)]
            total += chosen - np.log(np.exp(pair).sum(1))
    assert np.allclose(numpy(vae.likelihood.log_prob(x, s)), total, atol=1e-10)


def test_images_drawn_for_a_map_have_the_law_of_the_likelihood(generator: torch.Generator) -> None:
    """20 000 images of 2×2 with strong weights; false failure below 1e-6 by Pearson's test."""
    vae = model(2, 2, scale=1.0)
    s = vae.decoder(torch.randn(1, 2)).detach()
    law = numpy(vae.likelihood.log_prob(all_images(2), s.expand(16, -1, -1, -1)).exp())
    drawn = vae.likelihood.sample(s.expand(20_000, -1, -1, -1), generator=generator)
    assert law_p_value(drawn.view(-1, 4), law) > 1e-6


def test_each_image_is_drawn_from_its_own_map(generator: torch.Generator) -> None:
    """Two maps in turn, 20 000 images: each half has the law of its map; below 1e-6 by Pearson's test."""
    vae = model(2, 2, scale=1.0)
    s = vae.decoder(torch.tensor([[4.0, -4.0], [-4.0, 4.0]])).detach()
    drawn = vae.likelihood.sample(s.repeat(10_000, 1, 1, 1), generator=generator).view(-1, 2, 4)
    for k in range(2):
        law = numpy(vae.likelihood.log_prob(all_images(2), s[k].expand(16, -1, -1, -1)).exp())
        assert law_p_value(drawn[:, k], law) > 1e-6


def test_all_images_have_total_evidence_one_and_samples_follow_it(generator: torch.Generator) -> None:
    """Evidence by quadrature; 10 000 samples, below 1e-6 by Pearson's test."""
    vae = model(scale=0.8)
    law = numpy(evidence(vae, all_images(2)).exp())
    assert abs(law.sum() - 1) < 1e-8
    assert law_p_value(vae.sample(10_000, generator=generator).view(-1, 4), law) > 1e-6


def test_the_bound_lies_below_the_evidence_and_its_weights_average_to_it() -> None:
    """4000 weights, 5 standard errors."""
    vae, x = model(scale=0.3), all_images(2)[[0, 5, 14]]
    noise, log_p = torch.randn(4000, 3, 1), evidence(vae, x)
    log_w = vae.log_weights(x, 4000, noise=noise).detach()
    assert standard_errors((log_w - log_p).exp(), 1.0) < 5
    bound = vae.elbo(x, samples=4000, noise=noise, form="sampled")
    assert close(bound.value, log_w.mean(0), atol=1e-9)
    assert bool((bound.value < log_p).all())


def test_colours_and_levels_beyond_two_work_too(generator: torch.Generator) -> None:
    vae = perturb(PixelVAE((3, 2, 2), 4, 2, (5,), maps=2, features=6))
    x = torch.randint(4, (5, 3, 2, 2)) / 3
    assert vae.elbo(x, generator=generator).value.shape == (5,)
    assert vae.elbo(x[0], generator=generator).value.shape == ()
    drawn = vae.sample(4, generator=generator)
    assert drawn.shape == (4, 3, 2, 2)
    assert close(3 * drawn, (3 * drawn).round(), atol=1e-9)


def test_the_mode_of_training_is_restored_by_sampling(generator: torch.Generator) -> None:
    vae = model().train()
    vae.likelihood.sample(torch.zeros(2, 3, 2, 2), generator=generator)
    assert all(part.training for part in vae.modules())


def test_the_mnist_model_has_the_size_of_its_layers() -> None:
    """Convolutions of 32, 64, 64 maps and their mirror, then one gated layer of 7×7 and four of 5×5, by hand."""
    with torch.device("meta"):
        vae = PixelVAE.mnist()
    count = sum(p.numel() for p in vae.likelihood.parameters())

    def layer(maps_in: int, rows: int, columns: int) -> int:
        vertical, horizontal = maps_in * 64 * rows * columns + 64, maps_in * 64 * rows + 64
        return vertical + horizontal + (64 * 64 + 64) + (32 * 32 + 32) + 32 * 128

    head = (32 * 32 + 32) + (32 * 2 + 2)
    assert count == layer(1, 4, 7) + 4 * layer(32, 3, 5) + head
    encoder = (9 * 32 + 32) + (16 * 32 * 64 + 64) + (16 * 64 * 64 + 64) + (64 * 49 * 128 + 128)
    assert sum(p.numel() for p in vae.encoder.parameters()) == encoder
    assert vae.event_shape == (1, 28, 28)


def test_single_precision_stays_single(generator: torch.Generator) -> None:
    vae = model().float()
    assert vae.elbo(all_images(2).float(), generator=generator).value.dtype == torch.float32
    assert vae.sample(3, generator=generator).dtype == torch.float32


def test_bad_input_is_refused_with_the_value_in_hand() -> None:
    with pytest.raises(ValueError, match="condition_features of the PixelCNN must be at least 1, got 0"):
        PixelCNNLikelihood(GatedPixelCNN((1, 2, 2)))
    with pytest.raises(ValueError, match=r"\(3, 2, 2\)"):
        model().likelihood.log_prob(all_images(2), torch.zeros(16, 4, 2, 2))
    with pytest.raises(ValueError, match="one of 2 levels"):
        model().elbo(torch.full((1, 1, 2, 2), 0.5))
